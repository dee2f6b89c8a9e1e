//! Debezium Server on Onewrite's own table, which its outbox event router is told to read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use async_trait::async_trait;
use onewrite_testkit::servers::Database;
use tokio::process::Command;

use crate::latency::table::{Outbox, Table};
use crate::plan::Feed;
use crate::servers::Servers;
use crate::slots;
use crate::workload::Workload;

use super::{Name, project};

/// Where the fetched distribution and its Java are.
pub struct Peer(pub PathBuf);

#[async_trait(?Send)]
impl super::Peer for Peer {
    async fn set_up(&self, servers: &Servers) -> Result<Database> {
        // With this feed, the publication is made as well.
        let (database, _) = servers.outbox("bench-debezium", Feed::Wal).await?;
        slots::create(&database, &database.name).await?;
        Ok(database)
    }

    fn table(&self) -> Arc<dyn Table> {
        Arc::new(Outbox)
    }

    async fn fill(&self, database: &Database, workload: &Workload, events: usize) -> Result<()> {
        workload.fill(database, events).await
    }

    fn command(&self, servers: &Servers, database: &Database, files: &Path) -> Result<Command> {
        let template = project(Name::DebeziumServer).join("application.properties");
        let template = std::fs::read_to_string(&template).with_context(|| format!("reading {}", template.display()))?;
        let properties = files.join("application.properties");
        let text = template
            .replace("{port}", &servers.postgres.port().to_string())
            .replace("{database}", &database.name)
            .replace("{slot}", &database.name)
            .replace("{offsets}", &files.join("offsets.dat").to_string_lossy())
            .replace("{brokers}", &servers.kafka.bootstrap());
        std::fs::write(&properties, text).context("writing Debezium Server's configuration")?;
        let mut command = Command::new(self.0.join("jre/bin/java"));
        command
            .arg("-Xmx1g")
            .arg(format!("-Dquarkus.config.locations={}", properties.display()))
            .arg("-classpath")
            .arg(std::env::join_paths([self.0.join("runner.jar"), self.0.join("lib/*")])?)
            .arg("io.debezium.server.Main");
        Ok(command)
    }
}
