//! The inbox: each event takes effect once.

use std::time::Duration;

use tokio_postgres::types::Type;
use tokio_postgres::{GenericClient, Transaction};
use uuid::Uuid;

use super::error::InboxError;
use crate::event::check_consumer;
use crate::limits::PRUNE_ROWS_MAX;
use crate::statements::postgres::{PRUNE_INBOX, RECEIVE};

/// Whether `consumer` receives the event for the first time, as part of the consumer's own transaction: true once, false
/// ever after, and true again if the transaction is rolled back. Two transactions that ask for the same event at once wait
/// for one another.
///
/// # Errors
/// [`InboxError`], which says what has become of the transaction.
pub async fn receive(transaction: &Transaction<'_>, consumer: &str, event_id: Uuid) -> Result<bool, InboxError> {
    check_consumer(consumer).map_err(|source| InboxError::Consumer { source })?;
    let row = transaction
        .query_typed_one(RECEIVE, &[(&consumer, Type::TEXT), (&event_id, Type::UUID)])
        .await?;
    Ok(row.get(0))
}

/// Forgets what was received longer ago than `older_than`, at most [`PRUNE_ROWS_MAX`](crate::limits::PRUNE_ROWS_MAX) events, and returns how many they were;
/// call it again while it returns that many. An event that is delivered again after it was forgotten is new to its consumer,
/// so `older_than` must be longer than any outage, retry or replay: weeks rather than hours.
///
/// # Errors
/// [`InboxError::Database`].
pub async fn prune_inbox(client: &impl GenericClient, older_than: Duration) -> Result<u64, InboxError> {
    let seconds = older_than.as_secs_f64();
    let row = client
        .query_typed_one(PRUNE_INBOX, &[(&seconds, Type::FLOAT8), (&PRUNE_ROWS_MAX, Type::INT8)])
        .await?;
    Ok(row.get::<_, i64>(0).unsigned_abs())
}
