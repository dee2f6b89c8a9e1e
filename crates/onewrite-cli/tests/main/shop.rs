//! An SQLite outbox, a file for what is delivered, and the program between them.

use onewrite::Event;
use onewrite_testkit::wait::until_blocking;
use serde_json::Value;

use crate::program::Program;

const CONFIGURATION: &str = r#"name = "shop"

[source]
type = "sqlite"
url = "shop.db"

[sinks.events]
type = "file"
path = "events.jsonl"

[[routes]]
name = "orders"
match = { topic = "shop.*" }
sink = "events"
"#;

/// The program with a migrated outbox.
pub struct Shop {
    pub program: Program,
}

impl Shop {
    pub fn new() -> Self {
        let program = Program::with(CONFIGURATION);
        program.json(&["migrate", "--json"]);
        Self { program }
    }

    /// Appends events of a topic, each with its payload, in one transaction.
    pub fn append(&self, topic: &str, payloads: &[&str]) {
        let mut connection = rusqlite::Connection::open(self.program.path("shop.db")).expect("the outbox");
        let transaction = connection.transaction().expect("a transaction");
        for payload in payloads {
            let event = Event::new(topic, payload.to_string()).key("k").header("tenant", "eu");
            onewrite::sqlite::append(&transaction, &event).expect("the event is appended");
        }
        transaction.commit().expect("the transaction is committed");
    }

    /// The topics and payloads in the sink's file.
    pub fn delivered(&self) -> Vec<(String, Value)> {
        let text = std::fs::read_to_string(self.program.path("events.jsonl")).unwrap_or_default();
        text.lines()
            .map(|line| {
                let event: Value = serde_json::from_str(line).expect("a line is JSON");
                (
                    event["topic"].as_str().expect("a topic").to_owned(),
                    event["payload"].clone(),
                )
            })
            .collect()
    }

    /// Waits until so many events are in the sink's file.
    pub fn until_delivered(&self, count: usize) {
        until_blocking(&format!("{count} delivered events"), || {
            (self.delivered().len() >= count).then_some(())
        });
    }

    /// Waits until the status of a route is as asked.
    pub fn until_route(&self, name: &str, what: &str, fits: impl Fn(&Value) -> bool) {
        until_blocking(&format!("the route {name} {what}"), || {
            let status = self.program.json(&["status", "--json"]);
            status["routes"]
                .as_array()?
                .iter()
                .any(|route| route["route"] == name && fits(route))
                .then_some(())
        });
    }
}
