//! The servers that everything is measured against.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use onewrite_testkit::servers::{Database, Kafka, Postgres};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use crate::broker::Ends;
use crate::latency;
use crate::plan::{Feed, Plan};
use crate::process;
use crate::relay::{self, Configuration};
use crate::workload::{PARTITIONS, TOPIC};

/// Beyond PostgreSQL's defaults, which are those of a machine of the last century: the table is as large as the backlog, and
/// no figure should be that of a checkpoint that happened to begin.
const POSTGRES: &[(&str, &str)] = &[
    ("shared_buffers", "512MB"),
    ("max_wal_size", "8GB"),
    ("checkpoint_timeout", "30min"),
];

/// How long the broker may take to delete a topic.
const DELETION: Duration = Duration::from_secs(30);

/// PostgreSQL and Kafka on this machine. They end when this is dropped, or with this program, however it ends.
pub struct Servers {
    /// The program that is measured.
    pub program: PathBuf,
    /// The database server.
    pub postgres: Postgres,
    /// The broker.
    pub kafka: Kafka,
    /// Whether the broker is warm.
    warm: OnceCell<()>,
}

/// Versions of the servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Versions {
    /// As the database server tells it.
    pub postgres: String,
    /// Of the broker's package.
    pub kafka: String,
}

impl Servers {
    /// Starts them, and makes the topic.
    pub async fn start(program: PathBuf) -> Result<Self> {
        let (postgres, kafka) = futures::join!(Postgres::start(15, POSTGRES), Kafka::start(&[]));
        let servers = Self {
            program,
            postgres,
            kafka,
            warm: OnceCell::new(),
        };
        servers.make_topic().await?;
        Ok(servers)
    }

    /// Which servers they are.
    pub async fn versions(&self) -> Result<Versions> {
        let client = self.postgres.maintenance().connect().await;
        let postgres: String = client.query_one("SHOW server_version", &[]).await?.get(0);
        let directory = self.kafka.libraries();
        let kafka = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        Ok(Versions {
            postgres: postgres.split(' ').next().unwrap_or_default().to_owned(),
            kafka: kafka.trim_start_matches("kafka-").to_owned(),
        })
    }

    /// Warms the broker up, the first time.
    pub async fn warm_up(&self, plan: &Plan) -> Result<()> {
        let warm = || latency::warm(self, plan.broker_warm_up);
        self.warm.get_or_try_init(warm).await.map(drop)
    }

    /// Forgets what is over: all outboxes, with their slots, and the records of the topic, which is empty then.
    pub async fn clear(&self) -> Result<()> {
        const OUTBOXES: &str = "SELECT datname FROM pg_database WHERE datname LIKE 'test\\_%'";
        const SLOTS: &str = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active";
        let client = self.postgres.maintenance().connect().await;
        client.batch_execute(SLOTS).await.context("dropping the slots")?;
        for row in client.query(OUTBOXES, &[]).await? {
            let drop = format!("DROP DATABASE {} WITH (FORCE)", row.get::<_, &str>(0));
            client.batch_execute(&drop).await.context(drop)?;
        }
        self.delete_topic(TOPIC).await?;
        self.make_topic().await
    }

    /// Deletes a topic of the broker.
    pub async fn delete_topic(&self, topic: &str) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", self.kafka.bootstrap())
            .create()?;
        let options = AdminOptions::new().operation_timeout(Some(DELETION));
        for result in admin.delete_topics(&[topic], &options).await? {
            result.map_err(|(name, code)| anyhow!("deleting the topic {name}: {code}"))?;
        }
        Ok(())
    }

    /// A new database with an empty outbox, and the configuration of a relay from it to the broker.
    pub async fn outbox(&self, relay: &str, feed: Feed) -> Result<(Database, Configuration)> {
        let database = self.postgres.database().await;
        let configuration = self.configuration(relay, &database, feed);
        relay::migrate(&configuration).await?;
        Ok((database, configuration))
    }

    /// Seconds of CPU that the database server and the broker have used so far.
    pub fn cpu_seconds(&self) -> Result<(f64, f64)> {
        let database = self.postgres.pid().context("PostgreSQL has ended")?;
        let broker = self.kafka.pid().context("Kafka has ended")?;
        Ok((
            process::cpu_seconds_with_children(database)?,
            process::cpu_seconds_with_children(broker)?,
        ))
    }

    /// The configuration of another relay, which begins where the outbox begins.
    pub fn configuration(&self, relay: &str, database: &Database, feed: Feed) -> Configuration {
        Configuration {
            program: self.program.clone(),
            relay: relay.to_owned(),
            source: format!("type = \"postgres\"\nurl = {:?}\nfeed = \"{feed}\"", database.url),
            sink: format!("type = \"kafka\"\nbrokers = [{:?}]", self.kafka.bootstrap()),
            more: String::new(),
            directory: self.postgres.data_directory(),
        }
    }

    /// The topic is made when its partitions are served, not only led.
    async fn make_topic(&self) -> Result<()> {
        self.kafka.create_topic(TOPIC, PARTITIONS, &[]).await;
        Ends::connect(self.kafka.bootstrap(), TOPIC).await?;
        Ok(())
    }
}
