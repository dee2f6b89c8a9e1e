//! A database with a table that is not Onewrite's own, and an outbox over it.

use std::sync::Arc;

use onewrite_core::error::chain;
use onewrite_core::routing::Share;
use onewrite_core::store::ParkedFilter;
use onewrite_core::{Lease, Operations, StoreError};
use onewrite_sources::registry::{Opened, source_type};
use onewrite_testkit::servers::{Database, Postgres};

pub use crate::postgres::fixture::Fixture;
pub use crate::reader::*;
pub use crate::tables::{Map, options};

/// The columns of [`TABLE`].
pub const COLUMNS: Map<'static> = (
    "columns",
    &[("id", "id"), ("topic", "topic"), ("key", "key"), ("payload", "body")],
);

/// A plain table of somebody else's.
pub const TABLE: &str = "CREATE TABLE outbox (seq bigserial PRIMARY KEY, id uuid NOT NULL DEFAULT gen_random_uuid(), \
                         topic text, key text, body text)";

/// A database with the table that `create` makes, in a relay that works on it.
pub struct Foreign {
    pub fixture: Fixture,
    pub operations: Arc<dyn Operations>,
    pub server: Postgres,
}

impl Foreign {
    /// On a server that tests share. The options are those of the contract.
    pub async fn new(create: &str, texts: &[(&str, &str)], maps: &[Map<'_>]) -> Self {
        Self::on(Postgres::shared(17).await, create, texts, maps).await
    }

    /// The table [`TABLE`] with its columns.
    pub async fn plain(texts: &[(&str, &str)]) -> Self {
        let texts = [&[("contract", "columns"), ("table", "outbox")], texts].concat();
        Self::new(TABLE, &texts, &[COLUMNS]).await
    }

    pub async fn on(server: Postgres, create: &str, texts: &[(&str, &str)], maps: &[Map<'_>]) -> Self {
        let database = server.database().await;
        let fixture = Fixture::of(database).await;
        fixture.sql(create).await;
        let opened = open(&fixture.database, texts, maps).expect("options that fit");
        Self {
            fixture: Fixture {
                outbox: opened.outbox,
                ..fixture
            },
            operations: opened.operations,
            server,
        }
    }

    /// Takes the lease and adopts the routes.
    pub async fn begin(&self, shares: &[Share]) -> Lease {
        self.fixture.begin(shares).await
    }

    /// The feed of a single route that takes everything.
    pub async fn feed(&self) -> Reader {
        self.fixture.feed().await
    }

    pub async fn sql(&self, sql: &str) {
        self.fixture.sql(sql).await;
    }

    pub async fn number(&self, sql: &str) -> i64 {
        self.fixture.number(sql).await
    }

    /// Inserts rows with these bodies, each in a transaction of its own.
    pub async fn insert(&self, topic: &str, key: Option<&str>, bodies: &[&str]) {
        const INSERT: &str = "INSERT INTO outbox (topic, key, body) VALUES ($1, $2, $3)";
        for body in bodies {
            let inserted = self.fixture.application.execute(INSERT, &[&topic, &key, &body]).await;
            inserted.expect("an inserted row");
        }
    }

    /// What is set aside: state, body, words.
    pub async fn parked(&self) -> Vec<(String, String, String)> {
        let filter = ParkedFilter {
            with_payload: true,
            ..ParkedFilter::default()
        };
        let parked = self.operations.parked(&filter).await.expect("a list");
        parked
            .into_iter()
            .map(|event| {
                (
                    event.state,
                    String::from_utf8_lossy(&event.payload).into_owned(),
                    event.error,
                )
            })
            .collect()
    }

    /// The slot's name.
    pub async fn slot(&self) -> String {
        const SLOT: &str = "SELECT slot FROM onewrite.relay";
        let row = self.fixture.application.query_one(SLOT, &[]).await.expect("a relay");
        row.get(0)
    }

    /// Drops the database with its slot.
    pub async fn end(self) {
        let Self { fixture, server, .. } = self;
        let database = fixture.database.clone();
        drop(fixture);
        server.drop_database(&database).await;
    }
}

/// A source of these options on a database.
pub fn open(database: &Database, texts: &[(&str, &str)], maps: &[Map<'_>]) -> Result<Opened, StoreError> {
    let texts = [&[("url", database.url.as_str())], texts].concat();
    let options = options(&texts, maps).expect("texts that fit");
    source_type("postgres").expect("it is built in").open(&options)
}

/// What a relay is told when it begins.
pub async fn refusal(foreign: &Foreign) -> String {
    let lease = foreign.fixture.outbox.acquire(RELAY, "test", TTL).await;
    let lease = lease.expect("an answer").expect("the lease");
    told(foreign.fixture.outbox.adopt(&lease, &everything()).await)
}

pub fn told<T>(result: Result<T, StoreError>) -> String {
    chain(&result.err().expect("an error"))
}
