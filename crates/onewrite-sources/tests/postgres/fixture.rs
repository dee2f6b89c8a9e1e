//! An outbox in a database of the test's own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use onewrite_core::options::Options;
use onewrite_core::routing::Share;
use onewrite_core::{Lease, Outbox, StoreError, StoreFailure};
use onewrite_sources::registry::{Opened, source_type};
use onewrite_testkit::servers::{Database, Postgres};
use tokio_postgres::Client;

pub use crate::reader::*;

/// A migrated database and the outbox in it.
pub struct Fixture {
    pub database: Database,
    pub outbox: Arc<dyn Outbox>,
    /// The application.
    pub application: Client,
}

impl Fixture {
    /// On a server that tests share.
    pub async fn new() -> Self {
        Self::of(Postgres::shared(17).await.database().await).await
    }

    pub async fn of(database: Database) -> Self {
        let mut application = database.connect().await;
        let options = onewrite::postgres::MigrateOptions::default();
        onewrite::postgres::migrate(&mut application, &options)
            .await
            .expect("the schema");
        // The log feed ticks when it likes; its tests are apart.
        let outbox = open(&[("url", &database.url), ("feed", "poll")]).expect("an outbox");
        Self {
            database,
            outbox,
            application,
        }
    }

    /// Takes the lease and adopts the routes.
    pub async fn begin(&self, shares: &[Share]) -> Lease {
        // Whoever held it is gone.
        self.sql("UPDATE onewrite.relay SET expires_at = clock_timestamp()")
            .await;
        let lease = self
            .outbox
            .acquire(RELAY, "test", TTL)
            .await
            .expect("an answer")
            .expect("the lease");
        // Making a slot waits for what others have under way in the same server.
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            match self.outbox.adopt(&lease, shares).await {
                Ok(()) => return lease,
                Err(error) if error.failure == StoreFailure::Unavailable && Instant::now() < deadline => {}
                Err(error) => panic!("the routes cannot be adopted: {error}"),
            }
        }
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

    pub async fn sql(&self, sql: &str) {
        run(&self.application, sql).await;
    }

    /// A number from the database.
    pub async fn number(&self, sql: &str) -> i64 {
        self.application
            .query_one(sql, &[])
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
            .get(0)
    }

    pub async fn append(&self, topic: &str, key: Option<&str>, payload: &str) {
        append(&self.application, topic, key, payload).await;
    }

    /// Appends events with these payloads, each in a transaction of its own.
    pub async fn append_all(&self, payloads: &[&str]) {
        for payload in payloads {
            self.append("t", None, payload).await;
        }
    }
}

/// A PostgreSQL outbox of these options.
pub fn open(texts: &[(&str, &str)]) -> Result<Arc<dyn Outbox>, StoreError> {
    source(texts).map(|opened| opened.outbox)
}

/// The same with its other faces.
pub fn open_all(texts: &[(&str, &str)]) -> Opened {
    source(texts).expect("an outbox")
}

fn source(texts: &[(&str, &str)]) -> Result<Opened, StoreError> {
    let source = source_type("postgres").expect("it is built in");
    let options = Options::from_texts("source", source.fields, texts).expect("texts that fit");
    source.open(&options)
}

pub async fn run(client: &Client, sql: &str) {
    client
        .batch_execute(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

pub async fn append(client: &Client, topic: &str, key: Option<&str>, payload: &str) {
    const APPEND: &str = "INSERT INTO onewrite.outbox (topic, key, payload) VALUES ($1, $2, convert_to($3, 'UTF8'))";
    client
        .execute(APPEND, &[&topic, &key, &payload])
        .await
        .expect("an appended event");
}
