//! The world of a campaign: PostgreSQL with a synchronous standby, a broker, two relays of one name, and a proxy in every
//! connection that is to suffer.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use onewrite_testkit::faults::{FaultProxy, ProxyMode};
use onewrite_testkit::servers::{Artemis, ArtemisSettings, Database, Kafka, Postgres, Redis};
use serde_json::Value;
use tokio_postgres::{Client, NoTls, Row};
use uuid::Uuid;

use crate::authority::Authority;
use crate::broker::{Bound, Broker, KAFKA_TIMES, Stream, Subscribed};
use crate::disk::Disk;
use crate::limits::{IN_FLIGHT, LEASE, RETENTION, ROTATION, SUPERVISOR_PAUSE};
use crate::process::Relay;
use crate::program::Program;
use crate::receiver::Receiver;
use crate::setting::{CLOCK_LIBRARY, Setting, SinkType};

/// The topic of all events, and the destination's name at the broker.
pub const TOPIC: &str = "shop.accounts";

/// A running world.
pub struct World {
    /// What it was made of.
    pub setting: Setting,
    /// The primary.
    pub postgres: Postgres,
    standby: Postgres,
    /// Where applications and operators find it, whoever is the primary.
    pub database: Database,
    /// Between applications and database; it changes its server and does nothing else.
    way: FaultProxy,
    /// Who signs the database's certificate.
    pub authority: Authority,
    /// The two relays.
    pub members: [Member; 2],
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// Between relays and broker.
    pub broker_link: FaultProxy,
    /// What the database's tables are on.
    pub database_disk: Option<Disk>,
    /// What the broker's data is on.
    pub broker_disk: Option<Disk>,
    /// The most that was ever resident in a relay, in bytes.
    pub resident: u64,
    /// What relays said that ended by themselves.
    pub ended: Vec<String>,
    program: Program,
}

/// A relay and its own connections to the database.
pub struct Member {
    /// Between this relay and the database.
    pub link: FaultProxy,
    relay: Option<Relay>,
    /// How far its clock is wrong, as libfaketime takes it.
    clock: Option<&'static str>,
    /// When it is started again after it has ended by itself.
    due: Option<Instant>,
}

impl World {
    /// Starts everything but the relays.
    pub async fn start(setting: Setting) -> Self {
        let broker_link = FaultProxy::bind().await.expect("a port");
        let broker = broker(setting.sink, broker_link.address().port()).await;
        let broker_disk = match broker.data_directory() {
            Some(directory) if setting.small_disks => {
                broker.kill().await;
                let disk = Disk::under(&directory);
                broker.start_again().await;
                Some(disk)
            }
            _ => None,
        };
        broker_link.forward_to(local(broker.port()));
        let authority = Authority::new("the database's authority");
        let signed = authority.sign();
        let postgres = Postgres::start_with_files(setting.version, &[("ssl", "on")], &signed.files()).await;
        let own = postgres.database().await;
        let database_disk = small_disk(&setting, &postgres).await;
        let standby = standby(&postgres).await;
        let links = [proxy(&postgres).await, proxy(&postgres).await, proxy(&postgres).await];
        let [way, first, second] = links;
        let database = own.through(way.address().port());
        let program = Program::new(&setting.program);
        let world = Self {
            members: [Member::new(first), Member::new(second)],
            setting,
            postgres,
            standby,
            database,
            way,
            authority,
            broker,
            broker_link,
            database_disk,
            broker_disk,
            resident: 0,
            ended: Vec::new(),
            program,
        };
        world.configure();
        world
    }

    fn configure(&self) {
        self.program.write("ca.pem", self.authority.certificate());
        let configuration = format!(
            "name = \"shop\"\n\
             [source]\ntype = \"postgres\"\nurl = \"{}\"\nca_file = \"ca.pem\"\nfeed = \"{}\"\nretention = \"{RETENTION}\"\n\
             [sinks.events]\n{}\n\
             [[routes]]\nname = \"orders\"\nmatch = {{ topic = \"shop.*\" }}\nsink = \"events\"\n\
             max_in_flight_events = {IN_FLIGHT}\nbackoff_max = \"2s\"\ndelivery_timeout = \"20s\"\n\
             [lease]\nttl = \"{LEASE}\"\n",
            encrypted(&self.database),
            self.setting.source,
            self.broker.sink_at(self.broker_link.address().port()),
        );
        self.program.write("onewrite.toml", &configuration);
        let migrated = self.program.run(&["migrate", "--rotation", ROTATION]);
        assert_eq!(migrated.code, 0, "{}", migrated.err);
    }

    /// Starts a relay, unless it runs.
    pub fn start_relay(&mut self, number: usize) {
        let member = &mut self.members[number];
        if member.relay.is_some() {
            return;
        }
        let mut command = match &self.setting.mutant {
            Some((executable, bug)) => self.program.command_of(executable, &[bug]),
            None => self.program.command(&["run"]),
        };
        let database = self.database.through(member.link.address().port());
        command.env("ONEWRITE__SOURCE__URL", encrypted(&database));
        if let Some(clock) = member.clock {
            command.env("LD_PRELOAD", CLOCK_LIBRARY).env("FAKETIME", clock);
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        member.relay = Some(Relay::start_as(&self.program, command));
        member.due = None;
    }

    /// A relay that runs.
    pub fn relay(&self, number: usize) -> Option<&Relay> {
        self.members[number].relay.as_ref()
    }

    /// Kills a relay with SIGKILL.
    pub fn kill_relay(&mut self, number: usize) {
        self.note_memory();
        if let Some(relay) = self.members[number].relay.take() {
            relay.kill();
        }
    }

    /// Asks a relay to end, and starts it again when it has, with this clock.
    ///
    /// # Errors
    /// It did not end in time, or not well.
    pub async fn restart_relay(&mut self, number: usize, clock: Option<&'static str>) -> Result<(), String> {
        self.note_memory();
        let member = &mut self.members[number];
        member.clock = clock;
        let mut how = Ok(());
        if let Some(mut relay) = member.relay.take() {
            relay.terminate();
            let ended = eventually(|| relay.ended()).await;
            how = match ended {
                Some(status) if status.success() => Ok(()),
                Some(status) => Err(format!("after SIGTERM it ended with {status}: {}", self.last_words())),
                None => Err(format!("it did not end after SIGTERM: {}", self.last_words())),
            };
        }
        self.start_relay(number);
        how
    }

    /// What a supervisor does: a relay that ended by itself is started again after a pause.
    pub fn tend(&mut self) {
        self.note_memory();
        for number in 0..self.members.len() {
            let member = &mut self.members[number];
            if let Some(status) = member.relay.as_mut().and_then(Relay::ended) {
                member.relay = None;
                member.due = Some(Instant::now() + SUPERVISOR_PAUSE);
                self.ended.push(format!("{status}: {}", self.last_words()));
            } else if member.due.is_some_and(|due| due <= Instant::now()) {
                self.start_relay(number);
            }
        }
    }

    fn note_memory(&mut self) {
        let running = self
            .members
            .iter()
            .filter_map(|member| member.relay.as_ref()?.resident());
        self.resident = running.map(|resident| resident.peak).fold(self.resident, u64::max);
    }

    /// Makes the relays' connections to the database suffer.
    pub fn set_database_links(&self, mode: ProxyMode) {
        self.members.iter().for_each(|member| member.link.set(mode));
    }

    /// Which relay leads now, and under which epoch.
    pub async fn leader(&self) -> Option<(usize, i64)> {
        const HOLDER: &str = "SELECT holder, epoch FROM onewrite.relay WHERE expires_at > clock_timestamp()";
        let row = self.asked(HOLDER).await?;
        let (holder, epoch): (Option<String>, i64) = (row.get(0), row.get(1));
        let process = holder?.rsplit(':').next()?.parse::<u32>().ok()?;
        let number = (0..2).find(|number| self.relay(*number).is_some_and(|relay| relay.process() == process))?;
        Some((number, epoch))
    }

    /// The relay's slot, while it reads from it.
    pub async fn followed_slot(&self) -> Option<String> {
        const FOLLOWED: &str = "SELECT relay.slot FROM onewrite.relay JOIN pg_replication_slots ON slot_name = relay.slot \
                                JOIN pg_stat_replication ON pid = active_pid WHERE relay.feed = 'wal'";
        self.asked(FOLLOWED).await.map(|row| row.get(0))
    }

    /// A row, if the query has one and the database answers.
    pub async fn asked(&self, query: &str) -> Option<Row> {
        connect(&self.database.url).await?.query_opt(query, &[]).await.ok()?
    }

    /// Runs an operator's command.
    ///
    /// # Errors
    /// What it said, when it failed.
    pub fn operate(&self, arguments: &[&str]) -> Result<String, String> {
        let said = tokio::task::block_in_place(|| self.program.run(arguments));
        match said.code {
            0 => Ok(said.out),
            _ => Err(format!("onewrite {}: {}", arguments.join(" "), said.err.trim())),
        }
    }

    /// How many events are unsettled or on their way once more; `None` while the database does not answer.
    pub async fn open(&self) -> Option<i64> {
        let status: Value = serde_json::from_str(&self.operate(&["status", "--json"]).ok()?).ok()?;
        let routes = status["routes"].as_array()?;
        let unsettled: Option<i64> = routes.iter().map(|route| route["unsettled"].as_i64()).sum();
        const AGAIN: &str = "SELECT (SELECT count(*) FROM onewrite.parked_event WHERE state = 'retry') + \
                             (SELECT count(*) FROM onewrite.replay WHERE finished_at IS NULL)";
        let again: i64 = self.asked(AGAIN).await?.get(0);
        (!routes.is_empty()).then_some(unsettled? + again)
    }

    /// What is parked: numbers and the events' own ids.
    pub async fn parked(&self) -> Vec<(i64, Uuid)> {
        let client = self.database.connect().await;
        let rows = client
            .query("SELECT id, event_id::text FROM onewrite.parked_event", &[])
            .await;
        let rows = rows.expect("parked events");
        rows.iter()
            .map(|row| (row.get(0), crate::judge::id(row.get(1))))
            .collect()
    }

    /// Kills the primary for good; the standby takes its place under the same address, and gets a standby of its own.
    pub async fn promote(&mut self) {
        self.postgres.kill9().await;
        self.standby.promote().await;
        self.postgres = self.standby.clone();
        let primary = local(self.postgres.port());
        self.way.forward_to(primary);
        self.members.iter().for_each(|member| member.link.forward_to(primary));
        self.database_disk = small_disk(&self.setting, &self.postgres).await;
        self.standby = standby(&self.postgres).await;
    }

    /// Ends every session of the relays: those that are encrypted.
    pub async fn end_sessions(&self) {
        const END: &str =
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_ssl WHERE ssl AND pid <> pg_backend_pid()";
        self.asked(END).await;
    }

    /// The end of what the relays logged.
    pub fn last_words(&self) -> String {
        let log = self.program.read("relay.log");
        let mut lines: Vec<&str> = log.lines().rev().take(3).collect();
        lines.reverse();
        lines.join(" | ")
    }

    /// Where the relays' log is, for a person who has to look.
    pub fn log(&self) -> PathBuf {
        self.program.path("relay.log")
    }
}

impl Member {
    fn new(link: FaultProxy) -> Self {
        Self {
            link,
            relay: None,
            clock: None,
            due: None,
        }
    }
}

/// Connects without a panic where nobody answers.
pub async fn connect(url: &str) -> Option<Client> {
    let connecting = tokio_postgres::connect(url, NoTls);
    let (client, connection) = tokio::time::timeout(Duration::from_secs(10), connecting)
        .await
        .ok()?
        .ok()?;
    tokio::spawn(connection);
    Some(client)
}

/// Asks until there is an answer, for as long as a test has patience; `None` where there is none.
pub async fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    let deadline = Instant::now() + crate::limits::PATIENCE;
    loop {
        looks.tick().await;
        let answer = ask();
        if answer.is_some() || Instant::now() > deadline {
            return answer;
        }
    }
}

async fn broker(sink: SinkType, told: u16) -> Arc<dyn Broker> {
    match sink {
        SinkType::Kafka => {
            let kafka = Kafka::start_behind(told, &[]).await;
            kafka.create_topic(TOPIC, 8, &[KAFKA_TIMES]).await;
            Arc::new(kafka)
        }
        SinkType::RabbitMq => Arc::new(Bound::start(TOPIC).await),
        SinkType::Nats => Arc::new(Stream::start(TOPIC).await),
        SinkType::Redis => Arc::new(Redis::start(&[]).await),
        SinkType::Amqp1 => Arc::new(Artemis::start(&ArtemisSettings::default()).await),
        SinkType::Mqtt => Arc::new(Subscribed::start(TOPIC).await),
        SinkType::Http => Arc::new(Receiver::start().await),
    }
}

async fn standby(primary: &Postgres) -> Postgres {
    let standby = primary.standby(&[]).await;
    primary.wait_for_standby().await;
    standby
}

/// Tables alone: the log of a full file system would end the server, as everybody knows.
async fn small_disk(setting: &Setting, postgres: &Postgres) -> Option<Disk> {
    if !setting.small_disks {
        return None;
    }
    postgres.stop().await;
    let disk = Disk::under(&postgres.data_directory().join("base"));
    postgres.restart().await;
    Some(disk)
}

async fn proxy(server: &Postgres) -> FaultProxy {
    FaultProxy::start(local(server.port())).await.expect("a port")
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// As relays and operators connect; writers do not, so that the relays' sessions can be told from theirs.
fn encrypted(database: &Database) -> String {
    format!("{}?sslmode=verify-full", database.url)
}
