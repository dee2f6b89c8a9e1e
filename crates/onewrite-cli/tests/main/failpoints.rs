//! The relay ends at every place between an acknowledgement and its record, and is started again: nothing is lost, invented
//! or out of order, and what comes twice was under way.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use onewrite_core::failpoint;
use onewrite_core::promise::{Found, Ledger};
use onewrite_testkit::servers::{Database, Postgres};
use onewrite_testkit::wait::until_blocking;
use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::program::Program;

/// Places that only the log as a feed comes to.
const OF_THE_LOG: [&str; 4] = ["tick.before", "tick.after", "slot.before", "slot.after"];

/// Places that the relay comes to when it looks for segments to empty, which it does twice a minute.
const OF_MAINTENANCE: [&str; 2] = ["truncate.before", "truncate.after"];

/// Cases side by side: they mostly wait.
const SIDE_BY_SIDE: usize = 4;

#[test]
fn a_crash_at_any_place_of_the_polling_relay_breaks_nothing() {
    let places = failpoint::ALL.iter().filter(|place| !OF_THE_LOG.contains(place));
    every(
        "poll",
        places
            .filter(|place| !OF_MAINTENANCE.contains(place))
            .copied()
            .collect(),
    );
}

#[test]
fn a_crash_at_any_place_of_the_relay_that_follows_the_log_breaks_nothing() {
    let places = failpoint::ALL.iter().filter(|place| !OF_MAINTENANCE.contains(place));
    every("wal", places.copied().collect());
}

#[test]
fn a_crash_while_a_segment_is_emptied_breaks_nothing() {
    every("poll", OF_MAINTENANCE.to_vec());
}

fn every(feed: &'static str, places: Vec<&'static str>) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                let runtime = tokio::runtime::Runtime::new().expect("a runtime");
                while let Some(place) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
                    crash(&runtime, feed, place);
                }
            });
        }
    });
}

fn crash(runtime: &tokio::runtime::Runtime, feed: &str, place: &'static str) {
    let database = runtime.block_on(async { Postgres::shared(17).await.database().await });
    let mut shop = Shop::new(runtime, &database, feed, place.starts_with("park"));
    shop.write(60);
    let relay = shop.relay.start_with(&[(failpoint::VARIABLE, place)]);
    match place {
        "release.before" | "release.after" => {
            shop.until_delivered();
            relay.signal("TERM");
        }
        "redelivery.settle.before" | "redelivery.settle.after" => {
            shop.until_delivered();
            shop.relay
                .json(&["replay", "--route", "all", "--key", "key-1", "--json"]);
        }
        "truncate.before" | "truncate.after" => {
            shop.until_delivered();
            // As if time had passed: the events are in the segment before the one that was written to, which is neither in use nor the
            // next one, also if the hour ends meanwhile.
            shop.turn();
        }
        _ => {}
    }
    relay.aborted();
    shop.write(10);
    let relay = shop.relay.start();
    shop.until_delivered();
    assert_eq!(relay.stop().code, 0, "{feed} {place}");
    shop.judge(feed, place);
}

/// An outbox, writers that also roll back, and a relay to a file.
struct Shop<'a> {
    runtime: &'a tokio::runtime::Runtime,
    client: Client,
    relay: Program,
    /// Whether it also writes events that no route takes.
    unrouted: bool,
    ledger: Ledger,
    numbers: HashMap<String, u64>,
    committed: usize,
}

impl<'a> Shop<'a> {
    fn new(runtime: &'a tokio::runtime::Runtime, database: &Database, feed: &str, unrouted: bool) -> Self {
        let relay = Program::with(&format!(
            "name = \"shop\"\n[source]\ntype = \"postgres\"\nurl = \"{}\"\nfeed = \"{feed}\"\nretention = \"0s\"\n[lease]\nttl = \"2s\"\n\
             [sinks.events]\ntype = \"file\"\npath = \"events.jsonl\"\n[[routes]]\nname = \"all\"\n\
             match = {{ topic = \"shop.*\" }}\nsink = \"events\"\n",
            database.url
        ));
        relay.json(&["migrate", "--json"]);
        Self {
            runtime,
            client: runtime.block_on(database.connect()),
            relay,
            unrouted,
            ledger: Ledger::default(),
            numbers: HashMap::new(),
            committed: 0,
        }
    }

    /// Transactions of two events with keys, and perhaps one that is set aside. Every fourth rolls back.
    fn write(&mut self, transactions: u32) {
        for number in 0..transactions {
            let rolls_back = number % 4 == 3;
            let (first, second) = (format!("key-{}", number % 5), format!("key-{}", number % 7));
            let end = if rolls_back { "ROLLBACK" } else { "COMMIT" };
            let mut events = vec![("shop.orders", Some(first)), ("shop.orders", Some(second))];
            if self.unrouted {
                events.push(("nobody", None));
            }
            let ids = self.runtime.block_on(append(&self.client, &events, end));
            for ((_, key), id) in events.into_iter().zip(ids) {
                if rolls_back {
                    self.ledger.rolled_back(id);
                    continue;
                }
                self.committed += usize::from(key.is_some());
                let place = key.map(|key| self.next_of(key));
                self.ledger.committed(id, place);
            }
        }
    }

    fn next_of(&mut self, key: String) -> (String, u64) {
        let number = self.numbers.entry(key.clone()).or_default();
        *number += 1;
        (key, *number)
    }

    fn turn(&self) {
        const TURN: &str =
            "ALTER TABLE onewrite.outbox DISABLE TRIGGER USER; UPDATE onewrite.outbox SET segment = (segment + 3) % 4";
        self.runtime
            .block_on(self.client.batch_execute(TURN))
            .expect("the events are in another segment");
    }

    /// The ids in the file, in its order.
    fn delivered(&self) -> Vec<Uuid> {
        let text = std::fs::read_to_string(self.relay.path("events.jsonl")).unwrap_or_default();
        let id = |line: &str| {
            let event: Value = serde_json::from_str(line).expect("a line is JSON");
            event["id"].as_str().and_then(|id| id.parse().ok()).expect("an id")
        };
        // The last line may be in the making.
        text.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(id)
            .collect()
    }

    fn parked(&self) -> HashSet<Uuid> {
        let rows = self.client.query("SELECT event_id FROM onewrite.parked_event", &[]);
        let rows = self.runtime.block_on(rows).expect("parked events");
        rows.iter().map(|row| row.get(0)).collect()
    }

    fn until_delivered(&self) {
        until_blocking("everything is delivered or set aside", || {
            let delivered: HashSet<Uuid> = self.delivered().into_iter().collect();
            (delivered.len() >= self.committed && self.parked().len() + delivered.len() >= self.ledger.len())
                .then_some(())
        });
    }

    fn judge(&self, feed: &str, place: &str) {
        let found = Found {
            deliveries: self.delivered(),
            parked: self.parked(),
            ..Found::default()
        };
        let verdict = self.ledger.judge(&found);
        assert!(verdict.holds(), "{feed} {place}: {verdict}");
        // Delivered, and the process ended before that was written down: this is what comes twice, and nothing else does.
        if ["deliver.after", "settle.before"].contains(&place) {
            assert!(verdict.duplicates > 0, "{feed} {place}: {verdict}");
        }
    }
}

/// Appends events in one transaction that ends as asked; their ids.
async fn append(client: &Client, events: &[(&str, Option<String>)], end: &str) -> Vec<Uuid> {
    client.batch_execute("BEGIN").await.expect("a transaction");
    let mut ids = Vec::new();
    for (topic, key) in events {
        let row = client
            .query_one("SELECT onewrite.append($1, $2, '{}'::jsonb)", &[topic, key])
            .await
            .expect("the event is appended");
        ids.push(row.get(0));
    }
    client.batch_execute(end).await.expect("the transaction ends");
    ids
}
