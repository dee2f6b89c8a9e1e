//! The raw limit of reading: all rows out of the database by COPY.

use std::pin::pin;
use std::time::Instant;

use anyhow::{Context, Result};
use futures::TryStreamExt;
use onewrite_testkit::servers::Database;

/// The columns that the relay reads, in no order.
const COPY: &str = "COPY (SELECT sequence, id, topic, key, type, content_type, headers::text, payload, occurred_at \
                    FROM onewrite.outbox) TO STDOUT (FORMAT binary)";

/// Seconds until the last row is here.
pub async fn copy(database: &Database) -> Result<f64> {
    let client = database.connect().await;
    let began = Instant::now();
    let stream = client.copy_out(COPY).await.context("COPY")?;
    let mut stream = pin!(stream);
    while stream.try_next().await.context("COPY")?.is_some() {}
    Ok(began.elapsed().as_secs_f64())
}
