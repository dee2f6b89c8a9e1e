//! What an attacker would try: names and events that are SQL, and secrets that find their way into something that is printed.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use onewrite_testkit::servers::{Database, Postgres};
use onewrite_testkit::wait::until_blocking;
use serde_json::Value;
use tokio_postgres::Client;

use crate::program::{Program, Said};

/// Texts that mean something else to a database, a shell, a log or an eye.
const HOSTILE: &[&str] = &[
    "x'; DROP SCHEMA onewrite CASCADE; --",
    "\"; DROP TABLE onewrite.outbox; --",
    "$1 $$ $x$; SELECT pg_sleep(600); $x$",
    "\\'; TRUNCATE onewrite.outbox; --",
    "') OR ('1'='1",
    "%_\\%*?[a-z]",
    "ordеrs",
    "\u{202e}sredro\u{200b}",
    "line\nonewrite-id: 1\r\n\r\nbody",
    "{topic}{{key}}$HOME",
    "a text that is longer than sixty-three bytes, which is all that PostgreSQL keeps of a name of its own",
];

/// Everything that the database would not survive: what there is, and whose.
const SCHEMA: &str = "\
    SELECT md5(string_agg(line, E'\\n' ORDER BY line)) FROM ( \
      SELECT format('%s %s %s %s', relnamespace::regnamespace, relname, relkind, relowner::regrole) AS line FROM pg_class \
       WHERE relnamespace::regnamespace::text NOT LIKE 'pg\\_toast%' \
      UNION ALL SELECT format('%s %s', oid::regprocedure, md5(prosrc)) FROM pg_proc WHERE pronamespace::regnamespace::text = 'onewrite' \
      UNION ALL SELECT format('%s %s', rolname, rolsuper) FROM pg_roles) AS all_of_it";

async fn schema(client: &Client) -> String {
    client.query_one(SCHEMA, &[]).await.expect("the schema").get(0)
}

/// A program for a database, with a relay and a route of this name, and a pattern.
fn program(database: &Database, feed: &str, name: &str, pattern: &str) -> Program {
    // Strings of JSON are strings of TOML.
    let text = |text: &str| serde_json::to_string(text).expect("a text");
    let program = Program::with(&format!(
        "name = {name}\n[source]\ntype = \"postgres\"\nurl = \"{}\"\nfeed = \"{feed}\"\n[sinks.events]\ntype = \"file\"\n\
         path = \"events.jsonl\"\n[[routes]]\nname = {name}\nmatch = {{ topic = {pattern}, type = {pattern} }}\nsink = \"events\"\n\
         [[routes]]\nname = \"rest\"\nsink = \"events\"\n",
        database.url,
        name = text(name),
        pattern = text(pattern),
    ));
    program.write("events.jsonl", "");
    program
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_events_that_are_sql_are_data() {
    let database = Postgres::shared(17).await.database().await;
    let owner = database.connect().await;
    Program::migrate(&database);
    let before = schema(&owner).await;
    for (number, text) in HOSTILE.iter().enumerate() {
        let feed = if number.is_multiple_of(2) { "poll" } else { "wal" };
        let named = program(&database, feed, text, "*").run(&["check"]);
        assert_eq!(named.code, 2, "no name of a relay or a route: {}", named.err);
        assert!(named.err.contains("onewrite.toml:1: name:"), "{}", named.err);
        let program = program(&database, feed, "shop", text);
        write(&owner, text).await;
        let running = program.start();
        until_blocking(&format!("the event {text:?} is delivered or set aside"), || {
            delivered(&program, text).or_else(|| set_aside(&program, text))
        });
        for arguments in [
            ["replay", "--route", "shop", "--topic", text, "--key", text].as_slice(),
            &["parked", "list", "--topic", text, "--key", text],
            &["status"],
        ] {
            let said = program.run(arguments);
            assert_eq!(said.code, 0, "{arguments:?}: {}", said.err);
        }
        for arguments in [
            ["pause", "--route", text],
            ["forget", "--relay", text],
            ["check", "-c", text],
        ] {
            let said = program.run(&arguments);
            assert!((1..=2).contains(&said.code), "{arguments:?}: {}", said.err);
        }
        assert_eq!(running.stop().code, 0, "{text:?}");
        assert_eq!(schema(&owner).await, before, "{text:?}");
    }
    let rows = owner.query_one("SELECT count(*) FROM onewrite.outbox", &[]).await;
    let rows: i64 = rows.expect("the outbox is there").get(0);
    assert_eq!(rows, HOSTILE.len() as i64);
}

impl Program {
    fn migrate(database: &Database) {
        program(database, "poll", "owner", "*").json(&["migrate", "--json"]);
    }
}

/// An event in which every text is this one.
async fn write(client: &Client, text: &str) {
    let headers = serde_json::json!({ "header": text });
    let payload = text.as_bytes();
    let sql = "INSERT INTO onewrite.outbox (topic, key, type, payload, content_type, headers) VALUES ($1, $1, $1, $2, 'text/plain', $3)";
    client
        .execute(sql, &[&text, &payload, &headers])
        .await
        .expect("it is only a row");
}

/// Whether the event has arrived, each of its texts as it was written.
fn delivered(program: &Program, text: &str) -> Option<()> {
    let lines = program.read("events.jsonl");
    let found = lines.split_inclusive('\n').find_map(|line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event["key"] == text).then_some(event)
    })?;
    assert_eq!(
        (&found["topic"], &found["type"]),
        (&Value::from(text), &Value::from(text))
    );
    assert_eq!(found["headers"]["header"], text);
    Some(())
}

/// Whether the event is parked, since no broker could carry it as it is.
fn set_aside(program: &Program, text: &str) -> Option<()> {
    let said = program.run(&["parked", "list", "--json"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let parked: Value = serde_json::from_str(&said.out).expect("JSON");
    let found = parked.as_array()?.iter().find(|event| event["key"] == text)?;
    let words = found["error"].as_str()?;
    assert!(text.contains('\n') && words.contains("control character"), "{words}");
    Some(())
}

const SECRET: &str = "hunter2-Zq9xVb7TkW";

/// Sections of sinks with every secret that they know; `{port}` is where somebody listens.
const SINKS: &[&str] = &[
    "type = \"kafka\"\nbrokers = [\"127.0.0.1:{port}\"]\nsasl_mechanism = \"PLAIN\"\nusername = \"relay\"\npassword = \"{secret}\"",
    "type = \"rabbitmq\"\nurls = [\"amqp://127.0.0.1:{port}\"]\nuser = \"relay\"\npassword = \"{secret}\"",
    "type = \"nats\"\nurls = [\"nats://127.0.0.1:{port}\"]\ntoken = \"{secret}\"",
    "type = \"nats\"\nurls = [\"nats://127.0.0.1:{port}\"]\nuser = \"relay\"\npassword = \"{secret}\"",
    "type = \"amqp1\"\nurls = [\"amqp://127.0.0.1:{port}\"]\nuser = \"relay\"\npassword = \"{secret}\"",
    "type = \"ibmmq\"\nurls = [\"http://127.0.0.1:{port}\"]\nqueue_manager = \"QM1\"\nuser = \"relay\"\npassword = \"{secret}\"",
    "type = \"redis\"\nurls = [\"redis://127.0.0.1:{port}\"]\npassword = \"{secret}\"",
    "type = \"mqtt\"\nurls = [\"mqtt://127.0.0.1:{port}\"]\nuser = \"relay\"\npassword = \"{secret}\"",
    "type = \"sqs\"\nqueue_url = \"http://127.0.0.1:{port}/1/q\"\nregion = \"eu-west-1\"\naccess_key_id = \"AKIA\"\n\
     secret_access_key = \"{secret}\"\nsession_token = \"{secret}\"",
    "type = \"sns\"\ntopic_arn = \"arn:aws:sns:eu-west-1:1:t\"\nendpoint_url = \"http://127.0.0.1:{port}\"\naccess_key_id = \"AKIA\"\n\
     secret_access_key = \"{secret}\"\nsession_token = \"{secret}\"",
    "type = \"http\"\nurl = \"http://127.0.0.1:{port}/\"\nbearer_token = \"{secret}\"\nhmac_secret = \"{secret}\"",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_in_nothing_that_a_run_prints() {
    let database = Postgres::shared(17).await.database().await;
    Program::migrate(&database);
    // The server asks for no password, so that any will do.
    let source = format!(
        "[source]\ntype = \"postgres\"\nurl = \"{}\"\npassword = \"{SECRET}\"\nfeed = \"poll\"",
        database.url
    );
    let owner = database.connect().await;
    write(&owner, "orders").await;
    for (number, sink) in SINKS.iter().enumerate() {
        // One broker that nobody is, and one that hears everything and hangs up.
        for port in [1, deaf()] {
            let sink = sink.replace("{port}", &port.to_string()).replace("{secret}", SECRET);
            let program = Program::with(&format!(
                "name = \"shop-{number}\"\n{source}\n[log]\nlevel = \"trace\"\n[sinks.events]\n{sink}\n[[routes]]\nname = \"all\"\n\
                 sink = \"events\"\n"
            ))
            .variable("RUST_LOG", "trace")
            .variable("RUST_BACKTRACE", "1");
            for arguments in [
                ["check"].as_slice(),
                &["check", "--json"],
                &["status"],
                &["migrate", "--print"],
            ] {
                clean(&sink, arguments, &program.run(arguments));
            }
            let running = program.start();
            until_blocking("the route has failed", || {
                let said = program.run(&["status", "--json"]);
                assert_eq!(said.code, 0, "{sink}: {} {}", said.err, running.log());
                let status: Value = serde_json::from_str(&said.out).expect("JSON");
                let mut routes = status["routes"].as_array()?.iter();
                routes.any(|route| route["last_error"].is_string()).then_some(())
            });
            assert!(!running.arguments().contains(SECRET), "in the arguments of {sink}");
            clean(&sink, &["run"], &running.stop());
            clean(&sink, &["status", "--json"], &program.run(&["status", "--json"]));
        }
    }
}

/// Listens, reads what is sent, and hangs up.
fn deaf() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || hear(stream));
        }
    });
    port
}

fn hear(stream: std::io::Result<TcpStream>) {
    let Ok(mut stream) = stream else { return };
    let _ = stream.set_read_timeout(Some(Duration::from_millis(300)));
    let mut heard = [0; 4096];
    while matches!(stream.read(&mut heard), Ok(1..)) {}
}

fn clean(sink: &str, arguments: &[&str], said: &Said) {
    // As basic authentication has it behind "relay:", but for the last letters, which depend on what follows.
    let encoded = STANDARD_NO_PAD.encode(SECRET);
    let encoded = &encoded[..encoded.len() - 2];
    for (what, text) in [("output", &said.out), ("log", &said.err)] {
        for secret in [SECRET, encoded] {
            let line = text.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "the secret is in the {what} of {arguments:?} with\n{sink}");
        }
    }
}
