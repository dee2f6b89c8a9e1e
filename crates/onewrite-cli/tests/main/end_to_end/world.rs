//! The servers, the configuration, the relay's process, and what the checker needs.

use std::collections::HashSet;
use std::fs::File;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use onewrite_core::promise::{Found, Ledger, Verdict};
use onewrite_testkit::servers::{Database, Kafka, Postgres};
use rustix::process::{Pid, Signal, kill_process};
use uuid::Uuid;

use crate::program::Program;

/// How long anything may take that must come to pass.
const PATIENCE: Duration = Duration::from_secs(300);

/// The relay's limit of events between being read and being recorded as settled; duplicates after a kill stay below it.
pub const IN_FLIGHT: u64 = 5_000;

pub struct World {
    pub postgres: Postgres,
    pub database: Database,
    pub kafka: Kafka,
    pub topic: &'static str,
    program: Program,
}

/// A relay's process; dropping it kills it.
pub struct Relay(Child);

impl World {
    /// A shop with its outbox, an empty topic, and a configuration from one to the other.
    pub async fn start(version: u32, topic: &'static str) -> Self {
        let (postgres, kafka) = tokio::join!(Postgres::start(version, &[]), Kafka::start(&[]));
        kafka.create_topic(topic, 8, &[]).await;
        let database = postgres.database().await;
        let program = Program::with(&format!(
            "name = \"shop\"\n[source]\ntype = \"postgres\"\nurl = \"{}\"\n\
             [sinks.events]\ntype = \"kafka\"\nbrokers = [\"{}\"]\n\
             [[routes]]\nname = \"orders\"\nmatch = {{ topic = \"shop.*\" }}\nsink = \"events\"\nmax_in_flight_events = {IN_FLIGHT}\n\
             [lease]\nttl = \"2s\"\n",
            database.url,
            kafka.bootstrap()
        ));
        let migrated = program.run(&["migrate"]);
        assert_eq!(migrated.code, 0, "{}", migrated.err);
        Self {
            postgres,
            database,
            kafka,
            topic,
            program,
        }
    }

    /// Starts the relay; what it logs goes to a file.
    pub fn start_relay(&self) -> Relay {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.program.path("relay.log"))
            .expect("a log file");
        let mut command = self.program.command(&["run"]);
        Relay(
            command
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .expect("the program starts"),
        )
    }

    /// What the relay logged.
    pub fn log(&self) -> String {
        self.program.read("relay.log")
    }

    /// What `onewrite status` says of the route; `None` while the database does not answer.
    fn route(&self) -> Option<serde_json::Value> {
        let said = self.program.run(&["status", "--json"]);
        let status: serde_json::Value = (said.code == 0).then(|| serde_json::from_str(&said.out).ok())??;
        status["routes"]
            .as_array()?
            .iter()
            .find(|route| route["route"] == "orders")
            .cloned()
    }

    /// Events delivered, as far as the relay has reported.
    pub fn delivered(&self) -> u64 {
        self.route()
            .and_then(|route| route["delivered"].as_u64())
            .unwrap_or_default()
    }

    /// Who holds the relay's lease; empty while nobody does.
    pub fn holder(&self) -> String {
        let said = self.program.run(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_str(&said.out).unwrap_or_default();
        status["relays"][0]["holder"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until nothing is unsettled.
    pub async fn drained(&self) {
        self.wait("everything is settled", || {
            self.route().is_some_and(|route| route["unsettled"] == 0)
        })
        .await;
    }

    /// Waits for a fact.
    pub async fn wait(&self, what: &str, mut fact: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut look = tokio::time::interval(Duration::from_millis(100));
        while !fact() {
            if Instant::now() > deadline {
                let log = self.log();
                let tail: Vec<&str> = log.lines().rev().take(30).collect();
                panic!(
                    "not within {PATIENCE:?}: {what}; status {:?}; the relay's last words:\n{}",
                    self.route(),
                    tail.join("\n")
                );
            }
            look.tick().await;
        }
    }

    /// The checker's word: the ledger in the database against the broker's log.
    pub async fn judge(&self, rolled_back: &[Uuid]) -> Verdict {
        let client = self.database.connect().await;
        let rows = client
            .query("SELECT event_id::text, key, number FROM ledger", &[])
            .await
            .expect("the ledger");
        let mut ledger = Ledger::default();
        for row in rows {
            let number: i64 = row.get(2);
            ledger.committed(id(row.get(0)), Some((row.get(1), number.cast_unsigned())));
        }
        rolled_back.iter().for_each(|id| ledger.rolled_back(*id));
        let records = self.kafka.read_all(self.topic).await;
        // A key is in one partition, so partition by partition keeps each key's order.
        let deliveries = records
            .iter()
            .map(|record| id(record.header("onewrite-id").expect("every record has its id")));
        let parked = client
            .query("SELECT event_id::text FROM onewrite.parked_event", &[])
            .await
            .expect("parked events");
        let parked: HashSet<Uuid> = parked.iter().map(|row| id(row.get(0))).collect();
        ledger.judge(&Found {
            deliveries: deliveries.collect(),
            ever_parked: parked.clone(),
            parked,
            effects: None,
        })
    }
}

impl Relay {
    /// `kill -9`.
    pub fn kill(mut self) {
        self.0.kill().expect("the relay can be killed");
        self.0.wait().expect("the relay ends");
    }

    /// The number of the process.
    pub fn process(&self) -> u32 {
        self.0.id()
    }

    /// SIGSTOP: it stands still wherever it is.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM; it must end by itself, and well.
    pub async fn stop(mut self, world: &World) {
        self.signal(Signal::TERM);
        let mut status = None;
        world
            .wait("the relay ends after SIGTERM", || {
                status = self.0.try_wait().expect("the relay's status");
                status.is_some()
            })
            .await;
        assert!(
            status.is_some_and(|status| status.success()),
            "the relay ended with {status:?}:\n{}",
            world.log()
        );
    }
}

impl Relay {
    fn signal(&self, signal: Signal) {
        let process = Pid::from_raw(self.0.id().cast_signed()).expect("a process number");
        kill_process(process, signal).expect("the relay can be signalled");
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _it_may_have_ended = self.0.kill();
        let _it_may_have_ended = self.0.wait();
    }
}

fn id(text: &str) -> Uuid {
    text.parse().expect("an id is a UUID")
}
