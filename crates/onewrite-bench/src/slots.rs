//! Replication slots.

use anyhow::{Context, Result};
use onewrite_testkit::servers::Database;

/// The slot from which copies are made, so that everything since the outbox was empty can be read more than once.
pub const ORIGINAL: &str = "bench_original";

/// Creates [`ORIGINAL`].
pub async fn create_original(database: &Database) -> Result<()> {
    create(database, ORIGINAL).await
}

/// Creates a slot.
pub async fn create(database: &Database, name: &str) -> Result<()> {
    let create = format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')");
    execute(database, &create).await
}

/// Makes a copy of [`ORIGINAL`], which stands where that stands.
pub async fn copy_original(database: &Database, name: &str) -> Result<()> {
    let copy = format!("SELECT pg_copy_logical_replication_slot('{ORIGINAL}', '{name}')");
    execute(database, &copy).await
}

/// Drops what relays and readers that have ended left in this database: the server has few, and each holds its log back.
pub async fn drop_left(database: &Database) -> Result<()> {
    let drop = format!(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
         WHERE database = current_database() AND NOT active AND slot_name <> '{ORIGINAL}'"
    );
    execute(database, &drop).await
}

async fn execute(database: &Database, statement: &str) -> Result<()> {
    let client = database.connect().await;
    client
        .batch_execute(statement)
        .await
        .with_context(|| statement.to_owned())
}
