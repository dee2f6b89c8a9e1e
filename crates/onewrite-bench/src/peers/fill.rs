//! A backlog in any table, written as an application writes.

use anyhow::{Context, Result};
use futures::future::{join, try_join_all};
use onewrite_testkit::servers::Database;

use crate::latency::table::{Table, insert};
use crate::workload::{Shape, WRITERS, Workload};

/// Puts so many events into a table: the same, as many connections at once, and as many in a transaction, as in Onewrite's outbox.
pub async fn fill(table: &dyn Table, database: &Database, workload: &Workload, events: usize) -> Result<()> {
    let writers = (0..WRITERS).map(|writer| write(table, database, workload, writer, events));
    try_join_all(writers).await.context("filling a product's table")?;
    Ok(())
}

async fn write(
    table: &dyn Table,
    database: &Database,
    workload: &Workload,
    writer: usize,
    events: usize,
) -> Result<()> {
    const TRANSACTION: usize = Shape::USUAL.transaction;
    let client = database.connect().await;
    let statement = client.prepare(table.insert()).await?;
    let starts = (0..events).step_by(TRANSACTION).skip(writer).step_by(WRITERS);
    for start in starts {
        let numbers = start..events.min(start + TRANSACTION);
        let rows = numbers.map(|number| table.row(workload.key(number), workload.payload(number)));
        // Sent at once, in this order.
        let inserted = insert(&client, &statement, rows.collect());
        let (begun, inserted) = join(client.batch_execute("BEGIN"), inserted).await;
        begun?;
        inserted?;
        client.batch_execute("COMMIT").await?;
    }
    Ok(())
}
