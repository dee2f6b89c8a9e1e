//! Transactions on a fixed schedule: when one is late, the next ones are not put off.

use std::sync::Arc;

use anyhow::Result;
use futures::future::try_join_all;
use onewrite_testkit::servers::Database;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_postgres::{Client, Statement};

use super::Times;
use super::consumer::numbered;
use super::table::{Table, insert};
use crate::workload::Workload;

/// Transactions a second of each connection; they take them in turn. Each has eight milliseconds before it delays its next.
const RATE_OF_EACH: usize = 125;

/// The fewest connections.
const WRITERS: usize = 4;

/// Writes all events, in transactions that have an insert and a commit.
pub async fn write(database: &Database, table: &Arc<dyn Table>, times: &Arc<Times>) -> Result<()> {
    let workload = Arc::new(Workload::new());
    let transactions = times.load.rate as usize / times.load.transaction;
    let (mut channels, mut writers) = (Vec::new(), Vec::new());
    for _ in 0..(transactions / RATE_OF_EACH).max(WRITERS) {
        let client = database.connect().await;
        let statement = client.prepare(table.insert()).await?;
        let (channel, due) = unbounded_channel();
        channels.push(channel);
        let writer = Writer {
            client,
            table: table.clone(),
            statement,
            workload: workload.clone(),
            times: times.clone(),
        };
        writers.push(async move { tokio::spawn(writer.work(due)).await? });
    }
    let schedule = times.clone();
    // A thread of its own: the runtime's timer knows whole milliseconds only.
    let clock = tokio::task::spawn_blocking(move || keep_time(&schedule, &channels));
    try_join_all(writers).await?;
    Ok(clock.await?)
}

fn keep_time(times: &Times, channels: &[UnboundedSender<usize>]) {
    for (number, first) in (0..times.events()).step_by(times.load.transaction).enumerate() {
        let due = times.beginning + times.due(first);
        std::thread::sleep(due.saturating_duration_since(std::time::Instant::now()));
        if channels[number % channels.len()].send(first).is_err() {
            // The writer tells why it ended.
            return;
        }
    }
}

struct Writer {
    client: Client,
    table: Arc<dyn Table>,
    statement: Statement,
    workload: Arc<Workload>,
    times: Arc<Times>,
}

impl Writer {
    async fn work(self, mut due: UnboundedReceiver<usize>) -> Result<()> {
        while let Some(first) = due.recv().await {
            let events = first..self.times.events().min(first + self.times.load.transaction);
            let (begun, inserted) = futures::join!(self.client.batch_execute("BEGIN"), self.insert(events.clone()));
            begun?;
            inserted?;
            for event in events.clone() {
                self.times.note(&self.times.committing, event);
            }
            self.client.batch_execute("COMMIT").await?;
            for event in events {
                self.times.note(&self.times.committed, event);
            }
        }
        Ok(())
    }

    async fn insert(&self, events: std::ops::Range<usize>) -> Result<()> {
        let payload = |event| numbered(self.workload.payload(event), event);
        let events: Vec<_> = events.map(|event| (self.workload.key(event), payload(event))).collect();
        insert(&self.client, &self.statement, self.table.rows(events)).await
    }
}
