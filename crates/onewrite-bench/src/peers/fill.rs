//! A backlog in any table, written as an application writes.

use anyhow::{Context, Result};
use futures::future::{join, try_join_all};
use onewrite_testkit::servers::Database;

use crate::latency::writer::Table;
use crate::workload::{TRANSACTION, WRITERS, Workload};

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
    let client = database.connect().await;
    let insert = client.prepare(table.insert()).await?;
    let starts = (0..events).step_by(TRANSACTION).skip(writer).step_by(WRITERS);
    for start in starts {
        let inserts = (start..events.min(start + TRANSACTION)).map(|number| {
            let row = table.row(workload.key(number), workload.payload(number));
            client.execute_raw(&insert, row)
        });
        // Sent at once, in this order.
        let (begun, inserted) = join(client.batch_execute("BEGIN"), try_join_all(inserts)).await;
        begun?;
        inserted?;
        client.batch_execute("COMMIT").await?;
    }
    Ok(())
}
