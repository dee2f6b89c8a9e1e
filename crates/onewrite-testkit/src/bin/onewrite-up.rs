//! `./x up NAME...`: starts servers on free ports of 127.0.0.1, says where they are and how a relay reaches them, and ends them
//! and their data with itself.

use std::process::ExitCode;

use onewrite_testkit::servers::{
    ActiveMq, Artemis, ArtemisSettings, Kafka, Mosquitto, Nats, NatsCluster, Postgres, Qpid, RabbitMq, Redis,
    SchemaRegistry,
};

/// A server that can be started: its name, and what starts it.
struct Known {
    name: &'static str,
    about: &'static str,
}

/// A server that runs, and what a person needs to know of it.
struct Running {
    /// Keeps it alive.
    _server: Box<dyn std::any::Any>,
    /// A section of a relay's configuration that reaches it.
    section: String,
}

const KNOWN: &[Known] = &[
    known("postgres", "PostgreSQL 18 with an empty database"),
    known("kafka", "Apache Kafka with a topic \"shop.orders\""),
    known("rabbitmq", "RabbitMQ with a quorum queue \"shop.orders\""),
    known("nats", "NATS with a stream that takes \"shop.>\""),
    known("nats-cluster", "three NATS servers with such a stream, replicated"),
    known("artemis", "ActiveMQ Artemis by AMQP 1.0"),
    known("activemq", "ActiveMQ Classic by AMQP 1.0"),
    known("qpid", "Apache Qpid Broker-J with a queue \"shop.orders\", by AMQP 1.0"),
    known("redis", "Redis"),
    known("mosquitto", "Mosquitto with a subscriber to \"shop.orders\", by MQTT 5"),
    known("registry", "a schema registry that speaks Confluent's API"),
];

const fn known(name: &'static str, about: &'static str) -> Known {
    Known { name, about }
}

#[tokio::main]
async fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = names
        .iter()
        .find(|name| !KNOWN.iter().any(|known| known.name == **name))
    {
        eprintln!("There is no server {unknown:?} to start. There are:");
        for Known { name, about } in KNOWN {
            eprintln!("  {name:<13} {about}");
        }
        return ExitCode::from(2);
    }
    let mut running = Vec::new();
    for name in &names {
        eprintln!("starting {name}");
        let server = start(name).await;
        println!("{}\n", server.section);
        running.push(server);
    }
    eprintln!("Ctrl-C ends what was started, with its data.");
    match tokio::signal::ctrl_c().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot wait for Ctrl-C: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The topic for which every broker is ready.
const TOPIC: &str = "shop.orders";

async fn start(name: &str) -> Running {
    match name {
        "postgres" => {
            let server = Postgres::start(18, &[]).await;
            let url = server.database().await.url;
            running(server, format!("[source]\ntype = \"postgres\"\nurl = {url:?}"))
        }
        "registry" => {
            let server = SchemaRegistry::start().await;
            let url = server.url();
            running(server, format!("[formats.wire]\ntype = \"avro\"\nregistry = [{url:?}]"))
        }
        "kafka" => {
            let server = Kafka::start(&[]).await;
            server.create_topic(TOPIC, 3, &[]).await;
            let brokers = server.bootstrap();
            running(
                server,
                format!("[sinks.events]\ntype = \"kafka\"\nbrokers = [{brokers:?}]"),
            )
        }
        "rabbitmq" => {
            let server = RabbitMq::start(&[]).await;
            server.create_queue(TOPIC, "quorum").await;
            let section = sink("rabbitmq", &[server.url()], Some(("guest", "guest")));
            running(server, section)
        }
        "nats" => {
            let server = Nats::start("").await;
            server.create_stream("SHOP", &["shop.>"], serde_json::json!({})).await;
            let section = sink("nats", &[server.url()], None);
            running(server, section)
        }
        "nats-cluster" => {
            let servers = NatsCluster::start().await;
            servers.create_stream("SHOP", &["shop.>"]).await;
            let section = sink("nats", &servers.urls(), None);
            running(servers, section)
        }
        "redis" => {
            let server = Redis::start(&[]).await;
            let section = sink("redis", &[server.url()], None);
            running(server, section)
        }
        "mosquitto" => {
            let server = Mosquitto::start(&[], &[]).await;
            server.subscribe(TOPIC).await;
            let section = sink("mqtt", &[server.url()], None);
            running(server, section)
        }
        amqp => start_amqp(amqp).await,
    }
}

async fn start_amqp(name: &str) -> Running {
    const LOGIN: Option<(&str, &str)> = Some(("relay", "relay-secret"));
    match name {
        "artemis" => {
            let server = Artemis::start(&ArtemisSettings::default()).await;
            let section = sink("amqp1", &[server.url()], LOGIN);
            running(server, section)
        }
        "activemq" => {
            let server = ActiveMq::start("").await;
            let section = sink("amqp1", &[server.url()], LOGIN);
            running(server, section)
        }
        _ => {
            let server = Qpid::start().await;
            server.put(&format!("queue/{TOPIC}"), "{}").await;
            let section = sink("amqp1", &[server.url()], LOGIN);
            running(server, section)
        }
    }
}

fn sink(kind: &str, urls: &[String], login: Option<(&str, &str)>) -> String {
    let login = login.map(|(user, password)| format!("\nuser = {user:?}\npassword = {password:?}"));
    format!(
        "[sinks.events]\ntype = {kind:?}\nurls = {urls:?}{}",
        login.unwrap_or_default()
    )
}

fn running(server: impl std::any::Any, section: String) -> Running {
    Running {
        _server: Box::new(server),
        section,
    }
}
