//! SQLite.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use onewrite::sqlite::append_all;
use onewrite_core::error::BoxError;
use onewrite_testkit::conformance::source::{PlainRow, SourceHarness, Subject, Transaction, Writers};
use rusqlite::{Connection, TransactionBehavior, params};
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedReceiver;

use super::writing::{Request, Writing};
use super::{conforms, open};

#[tokio::test]
async fn sqlite_conforms() {
    let harness = SqliteHarness {
        directory: tempfile::tempdir().unwrap(),
        databases: 0,
    };
    conforms(harness).await;
}

struct SqliteHarness {
    directory: TempDir,
    databases: u32,
}

#[async_trait]
impl SourceHarness for SqliteHarness {
    fn name(&self) -> String {
        format!("the source sqlite on SQLite {}", rusqlite::version())
    }

    async fn fresh(&mut self) -> Result<Subject, BoxError> {
        self.databases += 1;
        let path = self.directory.path().join(format!("{}.db", self.databases));
        let url = path.to_str().ok_or("the temporary directory's name is no text")?;
        let opened = open("sqlite", &[("url", url)]).await?;
        Ok(Subject {
            outbox: opened.outbox,
            operations: opened.operations,
            writers: Arc::new(Applications { path }),
        })
    }

    /// SQLite lets in one writer after the other.
    fn writers_overlap(&self) -> bool {
        false
    }
}

struct Applications {
    path: PathBuf,
}

#[async_trait]
impl Writers for Applications {
    async fn begin(&self) -> Result<Box<dyn Transaction>, BoxError> {
        let connection = Connection::open(&self.path)?;
        connection.busy_timeout(Duration::from_secs(20))?;
        let (writing, requests) = Writing::new();
        tokio::task::spawn_blocking(move || write(connection, requests));
        Ok(Box::new(writing))
    }
}

fn write(mut connection: Connection, mut requests: UnboundedReceiver<Request>) -> Result<(), rusqlite::Error> {
    // Begun with the first request, so that a transaction that has not written yet is in nobody's way.
    let Some(mut request) = requests.blocking_recv() else {
        return Ok(());
    };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    loop {
        // The suite may have stopped listening; what it asked for is done all the same.
        match request {
            Request::Append(events, answer) => {
                let _ = answer.send(append_all(&transaction, &events).map_err(Into::into));
            }
            Request::Insert(row, answer) => {
                let _ = answer.send(insert(&transaction, &row).map_err(Into::into));
            }
            Request::Commit(answer) => {
                let _ = answer.send(transaction.commit().map_err(Into::into));
                return Ok(());
            }
            Request::Rollback(answer) => {
                let _ = answer.send(transaction.rollback().map_err(Into::into));
                return Ok(());
            }
        }
        match requests.blocking_recv() {
            Some(next) => request = next,
            None => return transaction.rollback(),
        }
    }
}

fn insert(connection: &Connection, row: &PlainRow) -> Result<(), rusqlite::Error> {
    const INSERT: &str = "INSERT INTO onewrite_outbox (id, topic, key, type, content_type, headers, payload) \
                          VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let (id, headers) = (row.id.to_string(), row.headers.to_string());
    let columns = params![
        id,
        row.topic,
        row.key,
        row.event_type,
        row.content_type,
        headers,
        row.payload
    ];
    connection.execute(INSERT, columns).map(|_| ())
}
