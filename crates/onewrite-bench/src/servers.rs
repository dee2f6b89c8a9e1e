//! The servers that everything is measured against.

use std::path::PathBuf;

use anyhow::{Context, Result};
use onewrite_testkit::servers::{Database, Kafka, Postgres};

use crate::options::Feed;
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

/// PostgreSQL and Kafka on this machine. They end when this is dropped, or with this program, however it ends.
pub struct Servers {
    /// The program that is measured.
    pub program: PathBuf,
    /// The database server.
    pub postgres: Postgres,
    /// The broker.
    pub kafka: Kafka,
}

impl Servers {
    /// Starts them, and creates the topic.
    pub async fn start(program: PathBuf) -> Self {
        let (postgres, kafka) = futures::join!(Postgres::start(15, POSTGRES), Kafka::start(&[]));
        kafka.create_topic(TOPIC, PARTITIONS, &[]).await;
        Self {
            program,
            postgres,
            kafka,
        }
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
            database: database.url.clone(),
            feed,
            sink: format!("type = \"kafka\"\nbrokers = [{:?}]", self.kafka.bootstrap()),
            more: String::new(),
            directory: self.postgres.data_directory(),
        }
    }
}
