//! What can go wrong, and what then has become of the caller's transaction.

use std::fmt;

use rusqlite::ffi::SQLITE_BUSY_SNAPSHOT;
use rusqlite::{Connection, Error, ErrorCode};
use uuid::Uuid;

use crate::event::InvalidEvent;
use crate::transaction::TransactionState;

/// Why an event was not appended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// An event breaks a limit. The database was not asked.
    #[error("the event {event} cannot be appended: {source}; {}", TransactionState::Untouched)]
    Invalid {
        /// The event's id.
        event: Uuid,
        /// What is wrong with it.
        source: InvalidEvent,
    },
    /// SQLite refused.
    #[error("appending to the outbox failed: {}; {transaction}", Words(source))]
    Database {
        /// What has become of the caller's transaction.
        transaction: TransactionState,
        /// What SQLite says.
        source: Error,
    },
}

impl AppendError {
    /// What has become of the caller's transaction.
    pub fn transaction(&self) -> TransactionState {
        match self {
            Self::Invalid { .. } => TransactionState::Untouched,
            Self::Database { transaction, .. } => *transaction,
        }
    }
}

/// Why the inbox gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InboxError {
    /// The consumer's name breaks a limit. The database was not asked.
    #[error("the consumer's name cannot be used: {source}; {}", TransactionState::Untouched)]
    Consumer {
        /// What is wrong with it.
        source: InvalidEvent,
    },
    /// SQLite refused.
    #[error("asking the inbox failed: {}; {transaction}", Words(source))]
    Database {
        /// What has become of the caller's transaction.
        transaction: TransactionState,
        /// What SQLite says.
        source: Error,
    },
}

impl InboxError {
    /// What has become of the caller's transaction.
    pub fn transaction(&self) -> TransactionState {
        match self {
            Self::Consumer { .. } => TransactionState::Untouched,
            Self::Database { transaction, .. } => *transaction,
        }
    }
}

/// Why the schema was not brought to the newest version.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// A newer program migrated this database. Nothing was changed.
    #[error(
        "the schema onewrite of this database is at version {found}, and this program knows versions up to {known}: \
         use a newer program; nothing was changed"
    )]
    Newer {
        /// The database's version.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// SQLite refused. What was being done was rolled back; steps before it stand.
    #[error("{doing} failed: {}; it was rolled back and can be tried again", Words(source))]
    Database {
        /// What was being done.
        doing: String,
        /// What SQLite says.
        source: Error,
    },
}

/// How a connection stood before a call.
pub(super) struct Before {
    in_transaction: bool,
}

impl Before {
    pub(super) fn of(connection: &Connection) -> Self {
        let in_transaction = !connection.is_autocommit();
        Self { in_transaction }
    }

    pub(super) fn append_failed(self, connection: &Connection, source: Error) -> AppendError {
        let transaction = self.state_after(connection);
        AppendError::Database { transaction, source }
    }

    pub(super) fn inbox_failed(self, connection: &Connection, source: Error) -> InboxError {
        let transaction = self.state_after(connection);
        InboxError::Database { transaction, source }
    }

    /// A failed statement undoes itself and leaves the transaction as it was, unless the failure was grave (a full disk, no
    /// memory): then SQLite rolls back all of it.
    fn state_after(&self, connection: &Connection) -> TransactionState {
        if self.in_transaction && connection.is_autocommit() {
            TransactionState::RolledBack
        } else {
            TransactionState::Untouched
        }
    }
}

/// SQLite's words and what to do about them.
struct Words<'a>(&'a Error);

impl fmt::Display for Words<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)?;
        match advice(self.0) {
            Some(advice) => write!(formatter, " ({advice})"),
            None => Ok(()),
        }
    }
}

fn advice(error: &Error) -> Option<&'static str> {
    let (failure, words) = match error {
        Error::SqliteFailure(failure, words) => (failure, words.as_deref().unwrap_or_default()),
        Error::SqlInputError { error, msg, .. } => (error, msg.as_str()),
        _ => return None,
    };
    match failure.code {
        _ if failure.extended_code == SQLITE_BUSY_SNAPSHOT => Some(
            "the transaction read before another one wrote, and so cannot write any more: roll it back, and begin such \
             transactions with BEGIN IMMEDIATE",
        ),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            Some("another connection writes: begin with BEGIN IMMEDIATE and set a busy_timeout")
        }
        _ if words.starts_with("no such table: onewrite_") => Some("`onewrite migrate` creates or upgrades the schema"),
        _ => None,
    }
}
