//! An outbox in a file of the test's own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use onewrite_core::options::Options;
use onewrite_core::routing::Share;
use onewrite_core::{Lease, Operations, Outbox, StoreError};
use onewrite_sources::registry::{Opened, source_type};
use rusqlite::{Connection, Params};
use tempfile::TempDir;

pub use crate::reader::*;

/// Makes it look as if every route had delivered everything.
pub const DELIVERED: &str = "UPDATE onewrite_route SET sequence = (SELECT max(sequence) FROM onewrite_outbox)";

/// A migrated file and the outbox in it.
pub struct Fixture {
    /// Gone with the test.
    pub folder: TempDir,
    pub outbox: Arc<dyn Outbox>,
    pub operations: Arc<dyn Operations>,
    /// The application.
    pub application: Connection,
}

impl Fixture {
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// With options beside the URL.
    pub fn with(texts: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("shop.db");
        let mut application = connect(&path);
        onewrite::sqlite::migrate(&mut application).expect("the schema");
        let url = path.to_str().expect("a path in Unicode");
        let texts: Vec<_> = [("url", url)].into_iter().chain(texts.iter().copied()).collect();
        let Opened { outbox, operations, .. } = open(&texts).expect("an outbox");
        Self {
            folder,
            outbox,
            operations,
            application,
        }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("shop.db")
    }

    /// Takes the lease and adopts the routes.
    pub async fn begin(&self, shares: &[Share]) -> Lease {
        // Whoever held it is gone.
        self.sql("UPDATE onewrite_relay SET expires_at = 0");
        let lease = self.outbox.acquire(RELAY, "test", TTL).await;
        let lease = lease.expect("an answer").expect("the lease");
        self.outbox.adopt(&lease, shares).await.expect("adopted routes");
        lease
    }

    /// The feed of a single route that takes everything.
    pub async fn feed(&self) -> Reader {
        let lease = self.begin(&everything()).await;
        self.feed_of(&lease, &everything()[0]).await
    }

    pub async fn feed_of(&self, lease: &Lease, share: &Share) -> Reader {
        Reader::new(self.outbox.feed(lease, share).await.expect("a feed"))
    }

    pub async fn redeliveries(&self, lease: &Lease, share: &Share) -> Reader {
        Reader::new(self.outbox.redeliveries(lease, share).await.expect("redeliveries"))
    }

    pub fn sql(&self, sql: &str) {
        self.application
            .execute_batch(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// A number from the database.
    pub fn number(&self, sql: &str) -> i64 {
        self.ask(sql, [])
    }

    /// A value from the database.
    pub fn ask<T: rusqlite::types::FromSql>(&self, sql: &str, bound: impl Params) -> T {
        let answer = self.application.query_row(sql, bound, |row| row.get(0));
        answer.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    pub fn append(&self, topic: &str, key: Option<&str>, payload: &str) {
        append(&self.application, topic, key, payload);
    }

    /// Appends events with these payloads, each in a transaction of its own.
    pub fn append_all(&self, payloads: &[&str]) {
        for payload in payloads {
            self.append("t", None, payload);
        }
    }
}

/// An SQLite outbox of these options.
pub fn open(texts: &[(&str, &str)]) -> Result<Opened, StoreError> {
    let source = source_type("sqlite").expect("it is built in");
    let options = Options::from_texts("source", source.fields, texts).expect("texts that fit");
    source.open(&options)
}

/// A connection as an application has it.
pub fn connect(path: &std::path::Path) -> Connection {
    let connection = Connection::open(path).expect("a connection");
    connection
        .busy_timeout(Duration::from_secs(20))
        .expect("a busy timeout");
    connection
        .pragma_update(None, "synchronous", "NORMAL")
        .expect("a setting");
    connection
}

pub fn append(connection: &Connection, topic: &str, key: Option<&str>, payload: &str) {
    const APPEND: &str = "INSERT INTO onewrite_outbox (topic, key, payload) VALUES (?1, ?2, CAST(?3 AS BLOB))";
    connection
        .execute(APPEND, (topic, key, payload))
        .expect("an appended event");
}
