//! A table that is not Onewrite's own, in PostgreSQL.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use onewrite::Event;
use onewrite_core::error::BoxError;
use onewrite_testkit::conformance::source::{PlainRow, SourceHarness, Subject, Transaction, Writers};
use onewrite_testkit::servers::Database;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error};

use super::databases::Databases;
use super::writing::{Request, Writing};
use super::{conforms, open_with};
use crate::tables::options;

#[tokio::test]
async fn a_table_whose_rows_are_deleted_conforms_on_postgres_14() {
    conforms(ForeignHarness::new(14, DELETE).await).await;
}

#[tokio::test]
async fn a_table_whose_rows_are_deleted_conforms_on_postgres_18() {
    conforms(ForeignHarness::new(18, DELETE).await).await;
}

#[tokio::test]
async fn a_table_whose_rows_are_marked_conforms_on_postgres_15() {
    conforms(ForeignHarness::new(15, MARK).await).await;
}

#[tokio::test]
async fn a_table_whose_rows_are_marked_conforms_on_postgres_17() {
    conforms(ForeignHarness::new(17, MARK).await).await;
}

#[tokio::test]
async fn a_table_that_is_left_alone_conforms_on_postgres_14() {
    conforms(ForeignHarness::new(14, LOG).await).await;
}

#[tokio::test]
async fn a_table_that_is_left_alone_conforms_on_postgres_15() {
    conforms(ForeignHarness::new(15, LOG).await).await;
}

#[tokio::test]
async fn a_table_that_is_left_alone_conforms_on_postgres_16() {
    conforms(ForeignHarness::new(16, LOG).await).await;
}

#[tokio::test]
async fn a_table_that_is_left_alone_conforms_on_postgres_17() {
    conforms(ForeignHarness::new(17, LOG).await).await;
}

#[tokio::test]
async fn a_table_that_is_left_alone_conforms_on_postgres_18() {
    conforms(ForeignHarness::new(18, LOG).await).await;
}

/// How a table is settled.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    table: &'static str,
    options: &'static [(&'static str, &'static str)],
}

/// Names that SQL only takes in quotes.
const DELETE: Kind = Kind {
    name: "deleted",
    table: "CREATE TABLE app.\"Out.\"\"box\" (seq bigserial PRIMARY KEY, \"Id\" uuid, topic text, \"a key\" varchar, kind text, \
            body bytea, headers jsonb, written timestamptz NOT NULL DEFAULT now(), mime text)",
    options: &[("settle", "delete")],
};

/// A key of several columns of which none is a number, and a time by which rows are ordered.
const MARK: Kind = Kind {
    name: "marked",
    table: "CREATE TABLE app.\"Out.\"\"box\" (\"Id\" uuid, topic text, \"a key\" text COLLATE \"C\", kind text, body bytea, headers jsonb, \
            written timestamptz NOT NULL DEFAULT clock_timestamp(), mime varchar, sent boolean NOT NULL DEFAULT false, \
            PRIMARY KEY (written, \"Id\")); \
            CREATE INDEX ON app.\"Out.\"\"box\" (written) WHERE NOT sent",
    options: &[("settle", "mark"), ("mark_column", "sent")],
};

/// Without any key.
const LOG: Kind = Kind {
    name: "left alone",
    table: "CREATE TABLE app.\"Out.\"\"box\" (\"Id\" uuid, topic text, \"a key\" varchar, kind text, body bytea, headers jsonb, \
            written timestamptz NOT NULL DEFAULT now(), mime text)",
    options: &[("settle", "nothing")],
};

const COLUMNS: &[(&str, &str)] = &[
    ("id", "Id"),
    ("topic", "topic"),
    ("key", "a key"),
    ("type", "kind"),
    ("payload", "body"),
    ("headers", "headers"),
    ("time", "written"),
    ("content_type", "mime"),
];

struct ForeignHarness {
    databases: Databases,
    kind: Kind,
}

impl ForeignHarness {
    async fn new(version: u32, kind: Kind) -> Self {
        Self {
            databases: Databases::new(version).await,
            kind,
        }
    }
}

#[async_trait]
impl SourceHarness for ForeignHarness {
    fn name(&self) -> String {
        format!(
            "a table whose rows are {} on PostgreSQL {}",
            self.kind.name,
            self.databases.version()
        )
    }

    fn seed(&self) -> u64 {
        u64::from(self.databases.version()) * 1_000 + self.kind.name.len() as u64 * 100
    }

    fn replays(&self) -> bool {
        false
    }

    fn counts(&self) -> bool {
        self.kind.name != LOG.name
    }

    async fn fresh(&mut self) -> Result<Subject, BoxError> {
        let database = self.databases.fresh().await;
        let texts = [
            &[
                ("url", database.url.as_str()),
                ("contract", "columns"),
                ("table", "app.\"Out.\"\"box\""),
            ],
            self.kind.options,
        ]
        .concat();
        let create = format!("CREATE SCHEMA app; {}", self.kind.table);
        database.connect().await.batch_execute(&create).await?;
        let opened = open_with("postgres", options(&texts, &[("columns", COLUMNS)])?).await?;
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

async fn write(client: &mut Client, mut requests: UnboundedReceiver<Request>) -> Result<(), Error> {
    let transaction = client.transaction().await?;
    // The suite may have stopped listening; what it asked for is done all the same.
    while let Some(request) = requests.recv().await {
        match request {
            Request::Append(events, answer) => {
                let _ = answer.send(append(&transaction, &events).await.map_err(Into::into));
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

/// As an application does that takes its aggregates' locks first.
async fn append(transaction: &tokio_postgres::Transaction<'_>, events: &[Event]) -> Result<(), Error> {
    let keys: Vec<Option<&str>> = events.iter().map(|event| event.key.as_deref()).collect();
    transaction
        .execute("SELECT onewrite.lock_keys(VARIADIC $1)", &[&keys])
        .await?;
    for event in events {
        insert(transaction, &PlainRow::from(event)).await?;
    }
    Ok(())
}

async fn insert(transaction: &tokio_postgres::Transaction<'_>, row: &PlainRow) -> Result<(), Error> {
    const INSERT: &str = "INSERT INTO app.\"Out.\"\"box\" (\"Id\", topic, \"a key\", kind, mime, headers, body) \
                          VALUES ($1::text::uuid, $2, $3, $4, $5, $6::text::jsonb, $7)";
    let (id, headers) = (row.id.to_string(), row.headers.to_string());
    let columns: [&(dyn ToSql + Sync); 7] = [
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
