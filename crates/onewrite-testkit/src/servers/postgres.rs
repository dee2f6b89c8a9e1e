//! PostgreSQL 14 to 18.

use std::path::PathBuf;
use std::sync::Arc;

use rustix::process::Signal;
use tokio::sync::OnceCell;

use super::aside::aside;
use super::database::{self, Database};
use super::postgres_process::{Server, write_private};
use crate::wait;

/// Many databases come and go on it; of the log that they write, a gigabyte would be kept for each version.
const SHARED: &[(&str, &str)] = &[("min_wal_size", "32MB"), ("max_wal_size", "128MB")];

/// A PostgreSQL server of the test's own, with `wal_level = logical`. Clones are the same server; it ends with the last.
///
/// The superuser `postgres` and every other role come in without a password, except members of the role
/// `password_users`, who need theirs.
#[derive(Clone)]
pub struct Postgres {
    pub(super) server: Arc<Server>,
    pub(super) version: u32,
    shared: bool,
}

impl Postgres {
    /// Starts a server of this major version (14 to 18) with further settings of `postgresql.conf`.
    pub async fn start(version: u32, settings: &[(&str, &str)]) -> Self {
        Self::start_with_files(version, settings, &[]).await
    }

    /// The same with further files in the data directory, such as a certificate and its key, readable by the server
    /// alone. A file may replace one that is there, such as `pg_hba.conf`.
    pub async fn start_with_files(version: u32, settings: &[(&str, &str)], files: &[(&str, &[u8])]) -> Self {
        let settings = owned(settings);
        let files: Vec<_> = files
            .iter()
            .map(|(name, content)| (name.to_string(), content.to_vec()))
            .collect();
        let server = aside(move || {
            let server = Server::prepare(version, &settings, &files);
            server.start();
            server
        });
        Self::own(server.await, version)
    }

    pub(super) fn own(server: Server, version: u32) -> Self {
        Self {
            server: Arc::new(server),
            version,
            shared: false,
        }
    }

    /// The one server of this major version that all tests of a process share, each in a [`Database`] of its own. It
    /// cannot be stopped or paused.
    pub async fn shared(version: u32) -> Self {
        static SERVERS: [OnceCell<Postgres>; 5] = [const { OnceCell::const_new() }; 5];
        let place = (14..=18)
            .position(|known| known == version)
            .expect("a major version from 14 to 18");
        let start = async || Self {
            shared: true,
            ..Self::start(version, SHARED).await
        };
        SERVERS[place].get_or_init(start).await.clone()
    }

    /// Creates an empty database with a name of its own.
    pub async fn database(&self) -> Database {
        database::create(self.port()).await
    }

    /// The database `postgres`, for work on the server as a whole.
    pub fn maintenance(&self) -> Database {
        Database::new(self.port(), "postgres")
    }

    /// The major version.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The port on 127.0.0.1; the same after every restart.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// The process id of the postmaster, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.server.process().pid()
    }

    /// The data directory.
    pub fn data_directory(&self) -> PathBuf {
        self.server.process().home().data()
    }

    /// Replaces files of the data directory, such as a certificate and its key, and has the running server take them: new
    /// sessions have them when this returns.
    pub async fn replace_files(&self, files: &[(&str, &[u8])]) {
        for (name, content) in files {
            write_private(&self.data_directory().join(name), content);
        }
        let before = self.loaded_at().await;
        self.tell("SELECT pg_reload_conf()").await;
        wait::until("the server reads its files again", async || {
            (self.loaded_at().await != before).then_some(())
        })
        .await;
    }

    async fn loaded_at(&self) -> String {
        let row = self.asked("SELECT pg_conf_load_time()::text").await;
        row.expect("the server tells when it read its files").get(0)
    }

    /// The file with the server's own messages.
    pub fn log(&self) -> PathBuf {
        self.server.process().home().log()
    }

    /// Kills the postmaster and all its children, as a crash of the machine's memory would. It stays down until
    /// [`restart`](Self::restart).
    pub async fn kill9(&self) {
        self.change(|server| server.process().kill()).await;
    }

    /// Stops it in immediate mode: no checkpoint, so that it recovers when it starts.
    pub async fn stop_immediate(&self) {
        self.change(|server| server.process().stop(Signal::QUIT)).await;
    }

    /// Stops it in fast mode: sessions are cut off, a checkpoint is written.
    pub async fn stop(&self) {
        self.change(|server| server.process().stop(Signal::INT)).await;
    }

    /// Starts it again, on the same port and data, and waits until it takes connections; first stops it in fast mode
    /// if it runs.
    pub async fn restart(&self) {
        let restart = |server: &Server| {
            server.process().stop(Signal::INT);
            server.start();
        };
        self.change(restart).await;
    }

    /// Freezes every process of the server: connections stay open and nothing answers.
    pub fn pause(&self) {
        self.require_own();
        self.server.process().home().signal(Signal::STOP);
    }

    /// Ends [`pause`](Self::pause).
    pub fn resume(&self) {
        self.require_own();
        self.server.process().home().signal(Signal::CONT);
    }

    pub(super) async fn change<T: Send + 'static>(&self, change: impl FnOnce(&Server) -> T + Send + 'static) -> T {
        self.require_own();
        let server = Arc::clone(&self.server);
        aside(move || change(&server)).await
    }

    fn require_own(&self) {
        assert!(
            !self.shared,
            "other tests use the shared server; a test that stops one starts its own"
        );
    }
}

pub(super) fn owned(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}
