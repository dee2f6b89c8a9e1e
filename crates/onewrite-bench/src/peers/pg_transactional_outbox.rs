//! The Node library pg-transactional-outbox with KafkaJS, on a table that the library itself makes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use onewrite_testkit::servers::Database;
use tokio::process::Command;
use uuid::Uuid;

use crate::latency::table::{Row, Table};
use crate::servers::Servers;
use crate::workload::{TOPIC, TYPE};

use super::{Name, project, run_to_end};

/// Where its packages are.
pub struct Peer(pub PathBuf);

impl Peer {
    fn program(&self, servers: &Servers, database: &Database, verb: &str) -> Command {
        let mut command = Command::new("node");
        command
            .arg(project(Name::PgTransactionalOutbox).join("main.js"))
            .arg(verb)
            .env("NODE_PATH", self.0.join("node_modules"))
            .env("NODE_ENV", "production")
            .env("DATABASE_URL", &database.url)
            // Replication slots have names that no other of the server has.
            .env("SLOT", &database.name)
            .env("BROKERS", servers.kafka.bootstrap());
        command
    }
}

#[async_trait(?Send)]
impl super::Peer for Peer {
    async fn set_up(&self, servers: &Servers) -> Result<Database> {
        let database = servers.postgres.database().await;
        run_to_end(self.program(servers, &database, "setup")).await?;
        Ok(database)
    }

    fn table(&self) -> Arc<dyn Table> {
        Arc::new(Messages)
    }

    fn command(&self, servers: &Servers, database: &Database, _files: &Path) -> Result<Command> {
        Ok(self.program(servers, database, "run"))
    }
}

/// The table `outbox`.
struct Messages;

impl Table for Messages {
    fn insert(&self) -> &'static str {
        "INSERT INTO outbox (id, aggregate_type, aggregate_id, message_type, payload) \
         VALUES ($1::text::uuid, $2, $3, $4, $5::text::jsonb)"
    }

    fn row(&self, key: &str, payload: &[u8]) -> Row {
        vec![
            Box::new(Uuid::new_v4().to_string()),
            Box::new(TOPIC),
            Box::new(key.to_owned()),
            Box::new(TYPE),
            Box::new(String::from_utf8_lossy(payload).into_owned()),
        ]
    }
}
