//! Transactions on a fixed schedule: when one is late, the next ones are not put off.

use std::sync::Arc;

use anyhow::Result;
use futures::future::try_join_all;
use onewrite_testkit::servers::Database;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_postgres::types::ToSql;

use super::Times;
use crate::workload::{TOPIC, TYPE, Workload};

/// A table that an application writes its events to.
pub trait Table: Send + Sync {
    /// The statement that inserts an event.
    fn insert(&self) -> &'static str;

    /// The statement's parameters.
    fn row(&self, key: &str, payload: &[u8]) -> Row;
}

/// The parameters of a statement.
pub type Row = Vec<Box<dyn ToSql + Sync + Send>>;

/// Onewrite's own.
pub struct Outbox;

impl Table for Outbox {
    fn insert(&self) -> &'static str {
        "INSERT INTO onewrite.outbox (topic, key, type, payload) VALUES ($1, $2, $3, $4)"
    }

    fn row(&self, key: &str, payload: &[u8]) -> Row {
        vec![
            Box::new(TOPIC),
            Box::new(key.to_owned()),
            Box::new(TYPE),
            Box::new(payload.to_vec()),
        ]
    }
}

/// Transactions a second of each connection; they take them in turn. Each has eight milliseconds before it delays its next.
const RATE_OF_EACH: u32 = 125;

/// Writes all events, each in a transaction of its own that has an insert and a commit.
pub(super) async fn write(database: &Database, table: &Arc<dyn Table>, times: &Arc<Times>) -> Result<()> {
    let workload = Arc::new(Workload::new());
    let (mut channels, mut writers) = (Vec::new(), Vec::new());
    for _ in 0..times.rate / RATE_OF_EACH {
        let client = database.connect().await;
        let (channel, due) = unbounded_channel();
        channels.push(channel);
        let (table, workload, times) = (table.clone(), workload.clone(), times.clone());
        writers.push(async move { tokio::spawn(one(client, due, table, workload, times)).await? });
    }
    let schedule = times.clone();
    // A thread of its own: the runtime's timer knows whole milliseconds only.
    let clock = tokio::task::spawn_blocking(move || keep_time(&schedule, &channels));
    try_join_all(writers).await?;
    Ok(clock.await?)
}

fn keep_time(times: &Times, channels: &[UnboundedSender<usize>]) {
    for event in 0..times.events() {
        let due = times.beginning + times.due(event);
        std::thread::sleep(due.saturating_duration_since(std::time::Instant::now()));
        if channels[event % channels.len()].send(event).is_err() {
            // The writer tells why it ended.
            return;
        }
    }
}

async fn one(
    client: tokio_postgres::Client,
    mut due: UnboundedReceiver<usize>,
    table: Arc<dyn Table>,
    workload: Arc<Workload>,
    times: Arc<Times>,
) -> Result<()> {
    let insert = client.prepare(table.insert()).await?;
    while let Some(event) = due.recv().await {
        let payload = super::consumer::numbered(workload.payload(event), event);
        let row = table.row(workload.key(event), &payload);
        let (begun, inserted) = futures::join!(client.batch_execute("BEGIN"), client.execute_raw(&insert, row));
        begun?;
        inserted?;
        times.note(&times.committing, event);
        client.batch_execute("COMMIT").await?;
        times.note(&times.committed, event);
    }
    Ok(())
}
