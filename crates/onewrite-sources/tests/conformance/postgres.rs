//! PostgreSQL, every version.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use onewrite::postgres::append_all;
use onewrite_core::error::BoxError;
use onewrite_testkit::conformance::source::{PlainRow, SourceHarness, Subject, Transaction, Writers};
use onewrite_testkit::servers::Database;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_postgres::Client;

use super::databases::Databases;
use super::writing::{Request, Writing};
use super::{conforms, open};

macro_rules! conforming {
    ($($name:ident: PostgreSQL $version:literal by $feed:literal;)*) => {$(
        #[tokio::test]
        async fn $name() {
            conforms(PostgresHarness::new($version, $feed).await).await;
        }
    )*};
}

conforming! {
    postgres_14_by_poll_conforms: PostgreSQL 14 by "poll";
    postgres_15_by_poll_conforms: PostgreSQL 15 by "poll";
    postgres_16_by_poll_conforms: PostgreSQL 16 by "poll";
    postgres_17_by_poll_conforms: PostgreSQL 17 by "poll";
    postgres_18_by_poll_conforms: PostgreSQL 18 by "poll";
    postgres_14_by_wal_conforms: PostgreSQL 14 by "wal";
    postgres_15_by_wal_conforms: PostgreSQL 15 by "wal";
    postgres_16_by_wal_conforms: PostgreSQL 16 by "wal";
    postgres_17_by_wal_conforms: PostgreSQL 17 by "wal";
    postgres_18_by_wal_conforms: PostgreSQL 18 by "wal";
    postgres_14_by_auto_conforms: PostgreSQL 14 by "auto";
    postgres_15_by_auto_conforms: PostgreSQL 15 by "auto";
    postgres_16_by_auto_conforms: PostgreSQL 16 by "auto";
    postgres_17_by_auto_conforms: PostgreSQL 17 by "auto";
    postgres_18_by_auto_conforms: PostgreSQL 18 by "auto";
}

struct PostgresHarness {
    databases: Databases,
    feed: &'static str,
}

impl PostgresHarness {
    async fn new(version: u32, feed: &'static str) -> Self {
        Self {
            databases: Databases::new(version).await,
            feed,
        }
    }
}

#[async_trait]
impl SourceHarness for PostgresHarness {
    fn name(&self) -> String {
        format!(
            "the source postgres on PostgreSQL {} by {}",
            self.databases.version(),
            self.feed
        )
    }

    fn seed(&self) -> u64 {
        u64::from(self.databases.version()) * 1_000 + self.feed.len() as u64
    }

    async fn fresh(&mut self) -> Result<Subject, BoxError> {
        let database = self.databases.fresh().await;
        let opened = open("postgres", &[("url", &database.url), ("feed", self.feed)]).await?;
        Ok(Subject {
            outbox: opened.outbox,
            operations: opened.operations,
            writers: Arc::new(Applications {
                database,
                idle: Arc::default(),
            }),
        })
    }

    async fn end(&mut self) {
        self.databases.end().await;
    }
}

/// Applications, with a pool of connections.
struct Applications {
    database: Database,
    idle: Arc<Mutex<Vec<Client>>>,
}

#[async_trait]
impl Writers for Applications {
    async fn begin(&self) -> Result<Box<dyn Transaction>, BoxError> {
        let idle = self.idle.lock().unwrap().pop();
        let mut client = match idle {
            Some(client) => client,
            None => self.database.connect().await,
        };
        let (writing, requests) = Writing::new();
        let pool = Arc::clone(&self.idle);
        tokio::spawn(async move {
            if write(&mut client, requests).await.is_ok() {
                pool.lock().unwrap().push(client);
            }
        });
        Ok(Box::new(writing))
    }
}

async fn write(client: &mut Client, mut requests: UnboundedReceiver<Request>) -> Result<(), tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    // The suite may have stopped listening; what it asked for is done all the same.
    while let Some(request) = requests.recv().await {
        match request {
            Request::Append(events, answer) => {
                let _ = answer.send(append_all(&transaction, &events).await.map_err(Into::into));
            }
            Request::Insert(row, answer) => {
                let _ = answer.send(insert(&transaction, &row).await.map_err(Into::into));
            }
            Request::Commit(answer) => {
                let _ = answer.send(transaction.commit().await.map_err(Into::into));
                return Ok(());
            }
            Request::Rollback(answer) => {
                let _ = answer.send(transaction.rollback().await.map_err(Into::into));
                return Ok(());
            }
        }
    }
    transaction.rollback().await
}

async fn insert(transaction: &tokio_postgres::Transaction<'_>, row: &PlainRow) -> Result<(), tokio_postgres::Error> {
    const INSERT: &str = "INSERT INTO onewrite.outbox (id, topic, key, type, content_type, headers, payload) \
                          VALUES ($1::text::uuid, $2, $3, $4, $5, $6::text::jsonb, $7)";
    let (id, headers) = (row.id.to_string(), row.headers.to_string());
    let columns: [&(dyn tokio_postgres::types::ToSql + Sync); 7] = [
        &id,
        &row.topic,
        &row.key,
        &row.event_type,
        &row.content_type,
        &headers,
        &row.payload,
    ];
    transaction.execute(INSERT, &columns).await.map(|_| ())
}
