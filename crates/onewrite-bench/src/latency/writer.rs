//! Transactions on a fixed schedule: when one is late, the next ones are not put off.

use std::sync::Arc;

use anyhow::Result;
use futures::future::try_join_all;
use onewrite_testkit::servers::Database;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::Times;
use crate::workload::{TOPIC, TYPE, Workload};

/// Transactions a second of each connection; they take them in turn. Each has eight milliseconds before it delays its next.
const RATE_OF_EACH: u32 = 125;

/// Writes all events, each in a transaction of its own that has an insert and a commit.
pub async fn write(database: &Database, times: &Arc<Times>) -> Result<()> {
    let workload = Arc::new(Workload::new());
    let (mut channels, mut writers) = (Vec::new(), Vec::new());
    for _ in 0..times.rate / RATE_OF_EACH {
        let client = database.connect().await;
        let (channel, due) = unbounded_channel();
        channels.push(channel);
        let (workload, times) = (workload.clone(), times.clone());
        writers.push(async move { tokio::spawn(one(client, due, workload, times)).await? });
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
    workload: Arc<Workload>,
    times: Arc<Times>,
) -> Result<()> {
    const INSERT: &str = "INSERT INTO onewrite.outbox (topic, key, type, payload) VALUES ($1, $2, $3, $4)";
    let insert = client.prepare(INSERT).await?;
    while let Some(event) = due.recv().await {
        let payload = super::consumer::numbered(workload.payload(event), event);
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 4] = [&TOPIC, &workload.key(event), &TYPE, &payload];
        let (begun, inserted) = futures::join!(client.batch_execute("BEGIN"), client.execute(&insert, &row));
        begun?;
        inserted?;
        times.note(&times.committing, event);
        client.batch_execute("COMMIT").await?;
        times.note(&times.committed, event);
    }
    Ok(())
}
