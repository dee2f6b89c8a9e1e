//! Tables that an application writes its events to.

use anyhow::Result;
use futures::future::try_join_all;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

use crate::workload::{TOPIC, TYPE};

/// A table, and how events get there.
pub trait Table: Send + Sync {
    /// The statement that inserts an event.
    fn insert(&self) -> &'static str;

    /// Its parameters.
    fn row(&self, key: &str, payload: &[u8]) -> Row;

    /// The parameters for the events of a transaction, by key and payload: as often as there are some, the statement is sent.
    fn rows(&self, events: Vec<(&str, Vec<u8>)>) -> Vec<Row> {
        events.iter().map(|(key, payload)| self.row(key, payload)).collect()
    }
}

/// The parameters of a statement.
pub type Row = Vec<Box<dyn ToSql + Sync + Send>>;

/// Sends a statement with each of these, one right after the other.
pub async fn insert(client: &Client, statement: &Statement, rows: Vec<Row>) -> Result<()> {
    try_join_all(rows.into_iter().map(|row| client.execute_raw(statement, row))).await?;
    Ok(())
}

/// Onewrite's own.
pub struct Outbox;

/// The same, with one statement for all events of a transaction.
pub struct OutboxAtOnce;

impl Table for Outbox {
    fn insert(&self) -> &'static str {
        "INSERT INTO onewrite.outbox (topic, type, key, payload) VALUES ($1, $2, $3, $4)"
    }

    fn row(&self, key: &str, payload: &[u8]) -> Row {
        vec![
            Box::new(TOPIC),
            Box::new(TYPE),
            Box::new(key.to_owned()),
            Box::new(payload.to_vec()),
        ]
    }
}

impl Table for OutboxAtOnce {
    fn insert(&self) -> &'static str {
        "INSERT INTO onewrite.outbox (topic, type, key, payload) \
         SELECT $1, $2, key, payload FROM unnest($3::text[], $4::bytea[]) AS event (key, payload)"
    }

    fn row(&self, key: &str, payload: &[u8]) -> Row {
        let events = vec![(key, payload.to_vec())];
        self.rows(events).remove(0)
    }

    fn rows(&self, events: Vec<(&str, Vec<u8>)>) -> Vec<Row> {
        let (keys, payloads): (Vec<String>, Vec<Vec<u8>>) = events
            .into_iter()
            .map(|(key, payload)| (key.to_owned(), payload))
            .unzip();
        vec![vec![
            Box::new(TOPIC),
            Box::new(TYPE),
            Box::new(keys),
            Box::new(payloads),
        ]]
    }
}
