//! Watermill's forwarder: messages in envelopes, in a table that the program itself makes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use onewrite_testkit::servers::Database;
use serde_json::json;
use tokio::process::Command;
use uuid::Uuid;

use crate::latency::table::{Row, Table};
use crate::servers::Servers;
use crate::workload::{TOPIC, TYPE};

use super::run_to_end;

/// Where the program is.
pub struct Peer(pub PathBuf);

impl Peer {
    fn program(&self, servers: &Servers, database: &Database, verb: &str) -> Command {
        let mut command = Command::new(self.0.join("forwarder"));
        command
            .arg(verb)
            .env("DATABASE_URL", &database.url)
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

/// The table of the forwarder's topic.
struct Messages;

impl Table for Messages {
    fn insert(&self) -> &'static str {
        "INSERT INTO \"watermill_outbox\" (uuid, payload, metadata, transaction_id) \
         VALUES ($1, $2::text::json, '{}', pg_current_xact_id())"
    }

    /// As Watermill's decorated publisher writes it.
    fn row(&self, key: &str, payload: &[u8]) -> Row {
        let envelope = json!({
            "destination_topic": TOPIC,
            "uuid": Uuid::new_v4().to_string(),
            "payload": STANDARD.encode(payload),
            "metadata": { "key": key, "type": TYPE },
        });
        vec![Box::new(Uuid::new_v4().to_string()), Box::new(envelope.to_string())]
    }
}
