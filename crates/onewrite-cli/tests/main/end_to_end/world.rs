//! The servers, the configuration, the relay's process, and what the checker needs.

use std::collections::HashSet;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use onewrite_core::promise::{Found, Ledger, Verdict};
use onewrite_testkit::faults::FaultProxy;
use onewrite_testkit::servers::{Database, Kafka, Postgres};
use rustix::process::{Pid, Signal, kill_process};
use uuid::Uuid;

use crate::end_to_end::broker::Broker;
use crate::program::Program;

/// How long anything may take that must come to pass.
const PATIENCE: Duration = Duration::from_secs(300);

/// The relay's limit of events between being read and being recorded as settled; duplicates after a kill stay below it.
pub const IN_FLIGHT: u64 = 5_000;

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
    /// Whether a synchronous standby can take over.
    pub standby: bool,
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
            standby: false,
            groups: 1,
            lease: "2s",
        }
    }
}

pub struct World<B = Kafka> {
    /// The primary.
    pub postgres: Postgres,
    standby: Option<Standby>,
    /// Where applications and the relay find it, whoever is the primary.
    pub database: Database,
    pub broker: B,
    pub topic: &'static str,
    program: Program,
}

/// What takes over when the primary is gone, and the one address of both.
struct Standby {
    server: Postgres,
    proxy: FaultProxy,
}

/// A relay's process; dropping it kills it.
pub struct Relay(Child);

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
        let mut database = postgres.database().await;
        let mut standby = None;
        if setup.standby {
            let taking_over = Standby::of(&postgres).await;
            database = database.through(taking_over.proxy.address().port());
            standby = Some(taking_over);
        }
        let program = Program::with(&format!(
            "name = \"shop\"\ngroups = {}\n[source]\ntype = \"postgres\"\nurl = \"{}\"\nfeed = \"{}\"\n\
             [sinks.events]\n{}\n\
             [[routes]]\nname = \"orders\"\nmatch = {{ topic = \"shop.*\" }}\nsink = \"events\"\nmax_in_flight_events = {IN_FLIGHT}\n{}\n\
             [lease]\nttl = \"{}\"\n{}",
            setup.groups,
            database.url,
            setup.feed,
            broker.sink(setup.topic),
            setup.route,
            setup.lease,
            setup.more
        ));
        let migrated = program.run(&["migrate"]);
        assert_eq!(migrated.code, 0, "{}", migrated.err);
        Self {
            postgres,
            standby,
            database,
            broker,
            topic: setup.topic,
            program,
        }
    }

    /// Kills the primary for good; the standby takes its place, under the same address.
    pub async fn fail_over(&mut self) {
        let standby = self.standby.as_ref().expect("a world with a standby");
        self.postgres.kill9().await;
        standby.server.promote().await;
        standby.proxy.forward_to(local(&standby.server));
        self.postgres = standby.server.clone();
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
        let deliveries = self.broker.delivered(self.topic).await;
        let parked = client
            .query("SELECT event_id::text FROM onewrite.parked_event", &[])
            .await
            .expect("parked events");
        let parked: HashSet<Uuid> = parked.iter().map(|row| id(row.get(0))).collect();
        ledger.judge(&Found {
            deliveries,
            ever_parked: parked.clone(),
            parked,
            effects: None,
        })
    }
}

impl Standby {
    async fn of(primary: &Postgres) -> Self {
        let server = primary.standby(&[]).await;
        primary.wait_for_standby().await;
        let proxy = FaultProxy::start(local(primary)).await.expect("a port");
        Self { server, proxy }
    }
}

fn local(server: &Postgres) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, server.port()).into()
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
    pub async fn stop<B: Broker>(mut self, world: &World<B>) {
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
