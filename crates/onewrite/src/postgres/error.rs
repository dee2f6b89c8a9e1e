//! What can go wrong, and what then has become of the caller's transaction.

use std::fmt;

use tokio_postgres::Error;
use tokio_postgres::error::{Severity, SqlState};
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
    /// The database refused, or did not answer.
    #[error("appending to the outbox failed: {}; {}", Words(source), state_after(source))]
    Database {
        /// What the driver says.
        #[from]
        source: Error,
    },
}

impl AppendError {
    /// What has become of the caller's transaction.
    pub fn transaction(&self) -> TransactionState {
        match self {
            Self::Invalid { .. } => TransactionState::Untouched,
            Self::Database { source } => state_after(source),
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
    /// The database refused, or did not answer.
    #[error("asking the inbox failed: {}; {}", Words(source), state_after(source))]
    Database {
        /// What the driver says.
        #[from]
        source: Error,
    },
}

impl InboxError {
    /// What has become of the caller's transaction.
    pub fn transaction(&self) -> TransactionState {
        match self {
            Self::Consumer { .. } => TransactionState::Untouched,
            Self::Database { source } => state_after(source),
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
    /// The database refused, or did not answer. What was being done was rolled back; steps before it stand.
    #[error("{doing} failed: {}; it was rolled back and can be tried again", Words(source))]
    Database {
        /// What was being done.
        doing: String,
        /// What the driver says.
        source: Error,
    },
}

/// A server's words and what to do about them. What the server says beside its message stays with the source: details of a
/// violated constraint quote the row, which is nobody's business in a log.
struct Words<'a>(&'a Error);

impl fmt::Display for Words<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(server) = self.0.as_db_error() else {
            return write!(formatter, "{}", self.0);
        };
        formatter.write_str(server.message())?;
        match advice(server.code()) {
            Some(advice) => write!(formatter, " ({advice})"),
            None => Ok(()),
        }
    }
}

fn advice(code: &SqlState) -> Option<&'static str> {
    let missing = [
        SqlState::INVALID_SCHEMA_NAME,
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_FUNCTION,
    ];
    if missing.contains(code) {
        Some("`onewrite migrate` creates or upgrades the schema")
    } else if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        Some("`onewrite migrate --print` shows the grants")
    } else if *code == SqlState::T_R_DEADLOCK_DETECTED {
        Some("run the whole transaction again, and append events of several keys by one call of append_all")
    } else if *code == SqlState::OUT_OF_MEMORY {
        Some("if the lock table is full: append to fewer different keys in one transaction")
    } else if *code == SqlState::LOCK_NOT_AVAILABLE {
        Some("a transaction of somebody else holds a lock for longer than lock_timeout allows")
    } else if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        Some("connect to the primary server, without default_transaction_read_only")
    } else {
        None
    }
}

fn state_after(error: &Error) -> TransactionState {
    let connection_lost = match error.as_db_error() {
        Some(server) => matches!(server.parsed_severity(), Some(Severity::Fatal | Severity::Panic)),
        None => error.is_closed() || std::error::Error::source(error).is_some_and(|cause| cause.is::<std::io::Error>()),
    };
    if connection_lost {
        TransactionState::RolledBack
    } else {
        TransactionState::Aborted
    }
}
