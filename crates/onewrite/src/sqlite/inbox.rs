//! The inbox: each event takes effect once.

use std::time::Duration;

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::error::{Before, InboxError};
use crate::event::check_consumer;
use crate::limits::PRUNE_ROWS_MAX;
use crate::statements::sqlite::{PRUNE_INBOX, RECEIVE};

/// Whether `consumer` receives the event for the first time, as part of the transaction that is open on `connection`: true
/// once, false ever after, and true again if the transaction is rolled back.
///
/// # Errors
/// [`InboxError`], which says what has become of the transaction.
pub fn receive(connection: &Connection, consumer: &str, event_id: Uuid) -> Result<bool, InboxError> {
    check_consumer(consumer).map_err(|source| InboxError::Consumer { source })?;
    let before = Before::of(connection);
    let mut id = Uuid::encode_buffer();
    let id: &str = event_id.hyphenated().encode_lower(&mut id);
    let inserted = connection
        .prepare_cached(RECEIVE)
        .and_then(|mut statement| statement.execute(params![consumer, id]));
    match inserted {
        Ok(rows) => Ok(rows == 1),
        Err(source) => Err(before.inbox_failed(connection, source)),
    }
}

/// Forgets what was received longer ago than `older_than`, at most [`PRUNE_ROWS_MAX`](crate::limits::PRUNE_ROWS_MAX)
/// events, and returns how many they were; call it again while it returns that many. An event that is delivered again after
/// it was forgotten is new to its consumer, so `older_than` must be longer than any outage, retry or replay: weeks rather
/// than hours.
///
/// # Errors
/// [`InboxError::Database`].
pub fn prune_inbox(connection: &Connection, older_than: Duration) -> Result<u64, InboxError> {
    let before = Before::of(connection);
    let modifier = format!("-{} seconds", older_than.as_secs_f64());
    let removed = connection.execute(PRUNE_INBOX, params![modifier, PRUNE_ROWS_MAX]);
    match removed {
        Ok(rows) => Ok(rows as u64),
        Err(source) => Err(before.inbox_failed(connection, source)),
    }
}
