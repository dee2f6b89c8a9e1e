//! What verify proves, and that it finds what is broken.

use std::fs;

use onewrite_testkit::servers::{
    Artemis, ArtemisSettings, ElasticMq, Kafka, Mosquitto, Nats, Postgres, RabbitMq, Redis,
};
use onewrite_testkit::wait::until_blocking;
use serde_json::{Value, json};

use super::{SHORT, faults, over, over_postgres, proves};
use crate::shop::Shop;

#[tokio::test(flavor = "multi_thread")]
async fn postgres_to_kafka_over_the_log_through_all_faults() {
    let kafka = Kafka::shared().await;
    let sink = format!("type = \"kafka\"\nbrokers = [\"{}\"]", kafka.bootstrap());
    // A server of its own: on a shared one the transactions of other tests may keep the slot waiting, and it polls meanwhile.
    let server = Postgres::start(17, &[]).await;
    let database = server.database().await;
    let program = over(&database, "wal", &sink);
    let run = proves(&program, SHORT);
    // After the kill it polls until the server has seen that the slot is free.
    assert_eq!((&run["feeds"][0], faults(&run)), (&json!("wal"), (1, 1)));
    assert!(
        run["verdict"]["rolled_back"].as_u64() > Some(0) && run["latency_with_faults"]["p99_ms"].is_f64(),
        "{run}"
    );
    assert!(run["relay_memory_bytes"].as_u64() > Some(0), "{run}");
    // Nothing is left: no row, no relay, no slot, no topic.
    let client = database.connect().await;
    let left = "SELECT (SELECT count(*) FROM onewrite.outbox) + (SELECT count(*) FROM onewrite.inbox) + \
                (SELECT count(*) FROM onewrite.relay) + (SELECT count(*) FROM onewrite.route) + \
                (SELECT count(*) FROM pg_replication_slots WHERE database = current_database())";
    assert_eq!(
        client.query_one(left, &[]).await.expect("an answer").get::<_, i64>(0),
        0
    );
    let topics = kafka.tool("org.apache.kafka.tools.TopicCommand", &["--list"]).await;
    assert!(!topics.contains(run["topic"].as_str().expect("a topic")), "{topics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_to_kafka_by_polling_through_kills() {
    let kafka = Kafka::shared().await;
    let sink = format!("type = \"kafka\"\nbrokers = [\"{}\"]", kafka.bootstrap());
    let (_database, program) = over_postgres("poll", &sink).await;
    let run = proves(
        &program,
        &[SHORT, &["--faults", "kills", "--transaction", "10"]].concat(),
    );
    assert_eq!((&run["feeds"], faults(&run)), (&json!(["poll"]), (1, 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_to_rabbitmq() {
    let rabbitmq = RabbitMq::shared().await;
    // The configured exchange is not there; verify keeps to a queue of its own.
    let sink = format!(
        "type = \"rabbitmq\"\nurls = [\"{}\"]\nuser = \"guest\"\npassword = \"guest\"\nexchange = \"missing\"",
        rabbitmq.url()
    );
    let (_database, program) = over_postgres("auto", &sink).await;
    let run = proves(&program, SHORT);
    assert_eq!(faults(&run), (1, 1));
    assert!(!rabbitmq.has_queue(run["topic"].as_str().expect("a topic")).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_to_nats() {
    let nats = Nats::shared().await;
    let sink = format!("type = \"nats\"\nurls = [\"{}\"]", nats.url());
    let (_database, program) = over_postgres("auto", &sink).await;
    let run = proves(&program, SHORT);
    assert_eq!(faults(&run), (1, 1));
    let streams = nats.api("STREAM.NAMES", json!({ "subject": run["topic"] })).await;
    assert_eq!(streams["total"], 0, "{streams}");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_to_artemis() {
    let artemis = Artemis::start(&ArtemisSettings::default()).await;
    let url = artemis.url();
    let sink = format!("type = \"amqp1\"\nurls = [\"{url}\"]\nuser = \"relay\"\npassword = \"relay-secret\"");
    let (_database, program) = over_postgres("auto", &sink).await;
    let run = proves(&program, SHORT);
    assert_eq!(faults(&run), (1, 1));
    // It is gone, or is made anew by whoever looks.
    assert_eq!(artemis.read_all(run["topic"].as_str().expect("a topic")).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_to_redis() {
    let redis = Redis::shared().await;
    // Three entries would not outlive their reading.
    let sink = format!(
        "type = \"redis\"\nurls = [\"{}\"]\nmax_entries = 3\ntrim = \"exact\"",
        redis.url()
    );
    let (_database, program) = over_postgres("auto", &sink).await;
    let run = proves(&program, SHORT);
    assert_eq!(faults(&run), (1, 1));
    assert_eq!(redis.read_all(run["topic"].as_str().expect("a topic")).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_to_mqtt() {
    let mosquitto = Mosquitto::shared().await;
    // The relay's own id is another's here: that one would be ended if verify's relay took it.
    let sink = format!(
        "type = \"mqtt\"\nurls = [\"{}\"]\nclient_id = \"relay\"\ntopic_separator = \"-\"\nretain = true\nmessage_expiry = \"1s\"",
        mosquitto.url()
    );
    let (_database, program) = over_postgres("auto", &sink).await;
    let run = proves(&program, SHORT);
    assert_eq!(faults(&run), (1, 1));
    let topic = run["topic"].as_str().expect("a topic").replace('.', "/");
    assert!(topic.starts_with("onewrite/verify/"), "{topic}");
    assert!(!mosquitto.is_subscribed(&topic).await, "no session is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_to_sqs() {
    let server = ElasticMq::start().await;
    // The configured queues are not there; verify makes one of the same kind.
    for (queue, order) in [("missing.fifo", json!(true)), ("{type}", Value::Null)] {
        let sink = format!(
            "type = \"sqs\"\nqueue_url = \"{}\"\nendpoint_url = \"http://{}\"\nregion = \"eu-west-1\"\n\
             access_key_id = \"AKIDEXAMPLE\"\nsecret_access_key = \"wJalrXUtnFEMI\"",
            server.queue_url(queue),
            server.address()
        );
        let (_database, program) = over_postgres("auto", &sink).await;
        // A server on Java that has just started is slow where there is much else to do.
        let run = proves(&program, &[SHORT, &["--within", "3m"]].concat());
        assert_eq!(
            (&run["promises"][2]["holds"], faults(&run)),
            (&order, (1, 1)),
            "{queue}"
        );
        assert_eq!(server.queues().await, Vec::<String>::new());
    }
}

#[test]
fn sqlite_to_a_file_beside_a_relay_that_passes_all_of_it_over() {
    let shop = Shop::new();
    let everything = shop
        .program
        .read("onewrite.toml")
        .replace("topic = \"shop.*\"", "topic = \"*\"");
    shop.program.write("onewrite.toml", &everything);
    let running = shop.program.start();
    shop.append("shop.orders", &["1"]);
    shop.until_delivered(1);
    let run = proves(&shop.program, SHORT);
    assert_eq!(run["sink_type"], "file");
    shop.append("shop.orders", &["2"]);
    shop.until_delivered(2);
    assert_eq!(
        shop.delivered().len(),
        2,
        "the relay delivers what applications write, and nothing else"
    );
    shop.until_route("orders", "counts no others", |route| {
        route["delivered"] == 2 && route["parked"] == 0 && route["unsettled"] == 0
    });
    let status = shop.program.json(&["status", "--json"]);
    assert_eq!(status["routes"].as_array().map(Vec::len), Some(1), "{status}");
    assert_eq!(running.stop().code, 0);
}

#[test]
fn what_a_broker_loses_is_told_with_the_ids() {
    let shop = Shop::new();
    let arguments = ["--duration", "4s", "--faults", "none", "--within", "6s"];
    let mut verify = shop.program.command(&[&["verify"], &arguments[..]].concat());
    let verify = verify
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null());
    let verify = verify.spawn().expect("the program starts");
    // The relay then begins a new file, whose beginning the reader takes for what it has read.
    let file = until_blocking("verify's own file", || {
        let mut files = fs::read_dir(shop.program.path("."))
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path()));
        let own = |path: &std::path::Path| path.to_string_lossy().contains("events.jsonl.onewrite.verify.");
        files.find(|path| own(path) && fs::metadata(path).is_ok_and(|file| file.len() > 50_000))
    });
    fs::remove_file(&file).expect("the file can be removed");
    let output = verify.wait_with_output().expect("its end");
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("✗  I1 no loss") && text.contains("I1 no loss, the first of them:"),
        "{text}"
    );
    assert!(text.contains("still behind 6.0s after the end"), "{text}");
    let examples = text.lines().filter_map(|line| line.trim().parse::<uuid::Uuid>().ok());
    assert_eq!(examples.count(), 5, "{text}");
    let gone: Value = shop.program.json(&["status", "--json"]);
    assert_eq!(gone["relays"], json!([]), "and all is removed all the same");
}
