//! The servers, the configuration, the relay's process, and what the checker needs.

use std::time::{Duration, Instant};

use onewrite_chaos::broker::Broker;
use onewrite_chaos::judge;
use onewrite_chaos::limits::IN_FLIGHT;
use onewrite_chaos::process::Relay;
use onewrite_core::promise::{Found, Verdict};
use onewrite_testkit::servers::{Database, Kafka, Postgres};
use uuid::Uuid;

use crate::program::Program;

/// How long anything may take that must come to pass.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a world is made of.
pub struct Setup<'a> {
    /// PostgreSQL's major version.
    pub version: u32,
    /// How the relay finds new events.
    pub feed: &'static str,
    /// The topic in Kafka, and its settings.
    pub topic: &'static str,
    pub topic_settings: &'a [(&'a str, &'a str)],
    /// Settings of the broker.
    pub kafka: &'a [(&'a str, &'a str)],
    /// More keys of the route.
    pub route: &'a str,
    /// More sinks and routes, as the configuration has them.
    pub more: &'a str,
    /// Into how many groups of lanes the key space is cut.
    pub groups: u32,
    /// The lease's time.
    pub lease: &'a str,
}

impl Setup<'_> {
    pub fn new(version: u32, feed: &'static str, topic: &'static str) -> Self {
        Self {
            version,
            feed,
            topic,
            topic_settings: &[],
            kafka: &[],
            route: "",
            more: "",
            groups: 1,
            lease: "2s",
        }
    }
}

pub struct World<B = Kafka> {
    /// The server.
    pub postgres: Postgres,
    /// The shop's.
    pub database: Database,
    pub broker: B,
    pub topic: &'static str,
    program: Program,
}

impl World {
    /// A shop with its outbox, an empty topic in Kafka, and a configuration from one to the other.
    pub async fn start(setup: Setup<'_>) -> Self {
        let kafka = Kafka::start(setup.kafka).await;
        kafka.create_topic(setup.topic, 8, setup.topic_settings).await;
        Self::with(kafka, setup).await
    }
}

impl<B: Broker> World<B> {
    /// The same with a broker that has the topic.
    pub async fn with(broker: B, setup: Setup<'_>) -> Self {
        let postgres = Postgres::start(setup.version, &[]).await;
        let database = postgres.database().await;
        let program = Program::with(&format!(
            "name = \"shop\"\ngroups = {}\n[source]\ntype = \"postgres\"\nurl = \"{}\"\nfeed = \"{}\"\n\
             [sinks.events]\n{}\n\
             [[routes]]\nname = \"orders\"\nmatch = {{ topic = \"shop.*\" }}\nsink = \"events\"\nmax_in_flight_events = {IN_FLIGHT}\n{}\n\
             [lease]\nttl = \"{}\"\n{}",
            setup.groups,
            database.url,
            setup.feed,
            broker.sink(),
            setup.route,
            setup.lease,
            setup.more
        ));
        let migrated = program.run(&["migrate"]);
        assert_eq!(migrated.code, 0, "{}", migrated.err);
        Self {
            postgres,
            database,
            broker,
            topic: setup.topic,
            program,
        }
    }

    /// Starts the relay; what it logs goes to a file.
    pub fn start_relay(&self) -> Relay {
        Relay::start(&self.program)
    }

    /// Asks the relay to end by SIGTERM; it must end by itself, and well.
    pub async fn stop(&self, mut relay: Relay) {
        relay.terminate();
        let status = self.until("the relay ends after SIGTERM", async || relay.ended()).await;
        assert!(status.success(), "the relay ended with {status:?}:\n{}", self.log());
    }

    /// What the relay logged.
    pub fn log(&self) -> String {
        self.program.read("relay.log")
    }

    /// What `onewrite status` says of a route; `None` while the database does not answer.
    fn route(&self, name: &str) -> Option<serde_json::Value> {
        let said = self.program.run(&["status", "--json"]);
        let status: serde_json::Value = (said.code == 0).then(|| serde_json::from_str(&said.out).ok())??;
        status["routes"]
            .as_array()?
            .iter()
            .find(|route| route["route"] == name)
            .cloned()
    }

    /// Events delivered to Kafka, as far as the relay has reported.
    pub fn delivered(&self) -> u64 {
        self.delivered_by("orders")
    }

    /// Events delivered by a route, as far as the relay has reported.
    pub fn delivered_by(&self, route: &str) -> u64 {
        self.route(route)
            .and_then(|route| route["delivered"].as_u64())
            .unwrap_or_default()
    }

    /// Who holds the relay's lease; empty while nobody does.
    pub fn holder(&self) -> String {
        let said = self.program.run(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_str(&said.out).unwrap_or_default();
        status["relays"][0]["holder"].as_str().unwrap_or_default().to_owned()
    }

    /// The relay's replication slot, while a relay of feed "wal" reads from it.
    pub async fn followed_slot(&self) -> Option<String> {
        // A slot that is being made has a process as well, but that is no walsender.
        const FOLLOWED: &str = "SELECT relay.slot FROM onewrite.relay JOIN pg_replication_slots ON slot_name = relay.slot \
                                JOIN pg_stat_replication ON pid = active_pid WHERE relay.feed = 'wal'";
        let client = self.database.connect().await;
        let row = client.query_opt(FOLLOWED, &[]).await.expect("the relay's row");
        row.map(|row| row.get(0))
    }

    /// Waits until the relay reads from its slot, and returns the slot's name.
    pub async fn follows_log(&self) -> String {
        self.until("the relay follows the log", async || self.followed_slot().await)
            .await
    }

    /// Waits until nothing is unsettled.
    pub async fn drained(&self) {
        self.wait("everything is settled", || {
            self.route("orders").is_some_and(|route| route["unsettled"] == 0)
        })
        .await;
    }

    /// Waits for a fact.
    pub async fn wait(&self, what: &str, mut fact: impl FnMut() -> bool) {
        self.until(what, async || fact().then_some(())).await;
    }

    /// Waits for an answer.
    pub async fn until<T>(&self, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut look = tokio::time::interval(Duration::from_millis(100));
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            if Instant::now() > deadline {
                let log = self.log();
                let tail: Vec<&str> = log.lines().rev().take(30).collect();
                panic!(
                    "not within {PATIENCE:?}: {what}; status {:?}; the relay's last words:\n{}",
                    self.route("orders"),
                    tail.join("\n")
                );
            }
            look.tick().await;
        }
    }

    /// The checker's word: the ledger in the database against the broker's log.
    pub async fn judge(&self, rolled_back: &[Uuid]) -> Verdict {
        let parked = judge::parked(&self.database).await;
        let found = Found {
            deliveries: self.broker.delivered(self.topic).await,
            ever_parked: parked.clone(),
            parked,
            effects: None,
        };
        judge::judge(&self.database, rolled_back, &found).await
    }
}
