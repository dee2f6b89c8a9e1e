//! Copies of a PostgreSQL server: a standby that follows it, a backup that it goes back to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::Signal;
use tempfile::TempDir;

use super::postgres::{Postgres, owned};
use super::postgres_process::Server;
use crate::wait;

/// What a server held when it was saved.
pub struct Backup(Arc<TempDir>);

impl Postgres {
    /// Starts a physical standby that streams from this server through a slot, answers queries and tells the primary what they
    /// need; the primary is restarted for it, since a stopped server's files can simply be copied. `settings` hold for the
    /// standby alone. With `("sync_replication_slots", "on")`, on PostgreSQL 17 and later, it also keeps the primary's failover
    /// slots. It streams when this returns.
    pub async fn standby(&self, settings: &[(&str, &str)]) -> Self {
        let name = format!("standby_{}", uuid::Uuid::new_v4().simple());
        let (host, port) = ("127.0.0.1", self.port());
        let conninfo = format!("host={host} port={port} user=postgres dbname=postgres application_name={name}");
        let mut all = owned(&[
            ("primary_conninfo", &conninfo),
            ("primary_slot_name", &name),
            ("hot_standby_feedback", "on"),
            ("synchronous_standby_names", ""),
        ]);
        all.extend(owned(settings));
        self.tell(&format!("SELECT pg_create_physical_replication_slot('{name}', true)"))
            .await;
        let copy = move |primary: &Server| {
            primary.process().stop(Signal::INT);
            let standby = Server::prepare_standby(primary, &all);
            primary.start();
            standby.start();
            standby
        };
        let standby = self.change(copy).await;
        let streams =
            format!("SELECT 1 FROM pg_stat_replication WHERE application_name = '{name}' AND state = 'streaming'");
        wait::until("the standby streams", async || self.asked(&streams).await).await;
        Self::own(standby, self.version)
    }

    /// Makes commits wait until a standby has them on disk, so that none is lost when it takes over.
    pub async fn wait_for_standby(&self) {
        self.set("synchronous_standby_names", "*").await;
        let synchronous = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'";
        wait::until("the standby is synchronous", async || self.asked(synchronous).await).await;
    }

    /// Makes a primary of a standby; it takes writes when this returns.
    pub async fn promote(&self) {
        let promoted = self.asked("SELECT 1 WHERE pg_promote(true, 100)").await;
        assert!(
            promoted.is_some(),
            "the standby on port {} was not promoted",
            self.port()
        );
    }

    /// Saves what the server holds; it is restarted for it.
    pub async fn save(&self) -> Backup {
        let save = |server: &Server| {
            let directory = tempfile::tempdir().expect("create a temporary directory for a backup");
            server.process().stop(Signal::INT);
            server.save(&data(directory.path()));
            server.start();
            directory
        };
        Backup(Arc::new(self.change(save).await))
    }

    /// Kills the server, and starts it again with what it held when it was saved, replication slots included.
    pub async fn restore(&self, backup: &Backup) {
        let backup = Arc::clone(&backup.0);
        let restore = move |server: &Server| {
            server.process().kill();
            server.restore(&data(backup.path()));
            server.start();
        };
        self.change(restore).await;
    }
}

fn data(backup: &Path) -> PathBuf {
    backup.join("data")
}
