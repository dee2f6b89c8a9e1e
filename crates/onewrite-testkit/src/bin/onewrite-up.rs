//! `./x up NAME...`: starts servers on free ports of 127.0.0.1, says where they are and how a relay reaches them, and ends them
//! and their data with itself.

use std::process::ExitCode;

use onewrite_testkit::servers::{Kafka, Postgres};

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
            eprintln!("  {name:<10} {about}");
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

async fn start(name: &str) -> Running {
    match name {
        "postgres" => {
            let server = Postgres::start(18, &[]).await;
            let url = server.database().await.url;
            running(server, format!("[source]\ntype = \"postgres\"\nurl = {url:?}"))
        }
        _ => {
            let server = Kafka::start(&[]).await;
            server.create_topic("shop.orders", 3, &[]).await;
            let brokers = server.bootstrap();
            running(
                server,
                format!("[sinks.events]\ntype = \"kafka\"\nbrokers = [{brokers:?}]"),
            )
        }
    }
}

fn running(server: impl std::any::Any, section: String) -> Running {
    Running {
        _server: Box::new(server),
        section,
    }
}
