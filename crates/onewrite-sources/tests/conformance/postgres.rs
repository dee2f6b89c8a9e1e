//! PostgreSQL, every version.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use onewrite::postgres::append_all;
use onewrite_core::error::BoxError;
use onewrite_testkit::conformance::source::{PlainRow, SourceHarness, Subject, Transaction, Writers};
use onewrite_testkit::servers::{Database, Postgres};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_postgres::Client;

use super::writing::{Request, Writing};
use super::{conforms, open};

#[tokio::test]
async fn postgres_14_conforms_by_poll() {
    conforms(PostgresHarness::new(14, "poll").await).await;
}

#[tokio::test]
async fn postgres_14_conforms_by_wal() {
    conforms(PostgresHarness::new(14, "wal").await).await;
}

#[tokio::test]
async fn postgres_15_conforms_by_poll() {
    conforms(PostgresHarness::new(15, "poll").await).await;
}

#[tokio::test]
async fn postgres_15_conforms_by_wal() {
    conforms(PostgresHarness::new(15, "wal").await).await;
}

#[tokio::test]
async fn postgres_16_conforms_by_poll() {
    conforms(PostgresHarness::new(16, "poll").await).await;
}

#[tokio::test]
async fn postgres_16_conforms_by_wal() {
    conforms(PostgresHarness::new(16, "wal").await).await;
}

#[tokio::test]
async fn postgres_17_conforms_by_poll() {
    conforms(PostgresHarness::new(17, "poll").await).await;
}

#[tokio::test]
async fn postgres_17_conforms_by_wal() {
    conforms(PostgresHarness::new(17, "wal").await).await;
}

#[tokio::test]
async fn postgres_18_conforms_by_poll() {
    conforms(PostgresHarness::new(18, "poll").await).await;
}

#[tokio::test]
async fn postgres_18_conforms_by_wal() {
    conforms(PostgresHarness::new(18, "wal").await).await;
}

#[tokio::test]
async fn postgres_18_conforms_by_itself() {
    conforms(PostgresHarness::new(18, "auto").await).await;
}

struct PostgresHarness {
    server: Postgres,
    feed: &'static str,
}

impl PostgresHarness {
    async fn new(version: u32, feed: &'static str) -> Self {
        let server = Postgres::shared(version).await;
        Self { server, feed }
    }
}

#[async_trait]
impl SourceHarness for PostgresHarness {
    fn name(&self) -> String {
        format!(
            "the source postgres on PostgreSQL {} by {}",
            self.server.version(),
            self.feed
        )
    }

    fn seed(&self) -> u64 {
        u64::from(self.server.version()) * 1_000 + self.feed.len() as u64 * 100
    }

    async fn fresh(&mut self) -> Result<Subject, BoxError> {
        let database = self.server.database().await;
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
