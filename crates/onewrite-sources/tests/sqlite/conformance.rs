//! The suite that every source must pass.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use onewrite_core::error::BoxError;
use onewrite_testkit::conformance::source::{PlainRow, SourceHarness, Subject, Transaction, Writers, check};
use rusqlite::{Connection, TransactionBehavior, params};

use super::fixture::{Fixture, connect};

#[tokio::test]
async fn sqlite_is_a_source() {
    let mut harness = Sqlite::default();
    if let Err(broken) = check(&mut harness).await {
        panic!("{broken}");
    }
}

/// Files, which are kept until the end.
#[derive(Default)]
struct Sqlite {
    files: Vec<Fixture>,
}

#[async_trait]
impl SourceHarness for Sqlite {
    fn name(&self) -> String {
        format!("SQLite {}", rusqlite::version())
    }

    async fn fresh(&mut self) -> Result<Subject, BoxError> {
        let fixture = Fixture::new();
        let subject = Subject {
            outbox: fixture.outbox.clone(),
            operations: fixture.operations.clone(),
            writers: Arc::new(Files(fixture.path())),
        };
        self.files.push(fixture);
        Ok(subject)
    }

    fn writers_overlap(&self) -> bool {
        false
    }
}

struct Files(PathBuf);

#[async_trait]
impl Writers for Files {
    async fn begin(&self) -> Result<Box<dyn Transaction>, BoxError> {
        Ok(Box::new(Writing {
            connection: connect(&self.0),
            rows: Vec::new(),
        }))
    }
}

/// A transaction that begins when it is to end. The suite leaves transactions open while it reads, and an open transaction that
/// has written is the only one that can write: the source would wait for it, and it for the source.
struct Writing {
    connection: Connection,
    rows: Vec<Row>,
}

enum Row {
    Event(onewrite::Event),
    Plain(PlainRow),
}

impl Writing {
    fn write(&mut self) -> Result<rusqlite::Transaction<'_>, BoxError> {
        const INSERT: &str = "INSERT INTO onewrite_outbox (id, topic, key, type, headers, content_type, payload) \
                              VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for row in &self.rows {
            match row {
                Row::Event(event) => {
                    onewrite::sqlite::append(&transaction, event)?;
                }
                Row::Plain(row) => {
                    let headers = row.headers.to_string();
                    transaction.execute(
                        INSERT,
                        params![
                            row.id.to_string(),
                            row.topic,
                            row.key,
                            row.event_type,
                            headers,
                            row.content_type,
                            row.payload
                        ],
                    )?;
                }
            }
        }
        Ok(transaction)
    }
}

#[async_trait]
impl Transaction for Writing {
    async fn append(&mut self, events: &[onewrite::Event]) -> Result<(), BoxError> {
        self.rows.extend(events.iter().cloned().map(Row::Event));
        Ok(())
    }

    async fn insert(&mut self, row: PlainRow) -> Result<(), BoxError> {
        self.rows.push(Row::Plain(row));
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<(), BoxError> {
        self.write()?.commit()?;
        Ok(())
    }

    async fn rollback(mut self: Box<Self>) -> Result<(), BoxError> {
        self.write()?.rollback()?;
        Ok(())
    }
}
