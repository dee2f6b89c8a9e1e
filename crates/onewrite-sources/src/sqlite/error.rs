//! What an SQLite error means to the engine: try again, or a person must change something.

use onewrite_core::StoreFailure;
use rusqlite::Error;
use rusqlite::ffi::{self, ErrorCode};

/// What kind of failure it is, and what a person should know or do beside SQLite's own words.
pub(super) fn verdict(error: &Error) -> (StoreFailure, &'static str) {
    use StoreFailure::{Refused, Unavailable};
    let (code, extended, words) = match error {
        Error::SqliteFailure(failure, words) => (
            failure.code,
            failure.extended_code,
            words.as_deref().unwrap_or_default(),
        ),
        Error::SqlInputError { error, msg, .. } => (error.code, error.extended_code, msg.as_str()),
        // A value that is not what it should be: the same at the next attempt.
        _ => {
            return (
                Refused,
                "; a table of the outbox holds what this program cannot read there",
            );
        }
    };
    match code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => (Unavailable, "; another connection is writing"),
        ErrorCode::DiskFull => (Unavailable, "; make room on the disk"),
        ErrorCode::NotADatabase => (Refused, "; the file is no SQLite database"),
        ErrorCode::DatabaseCorrupt => (
            Refused,
            "; the file is damaged: restore it, or try the .recover of sqlite3",
        ),
        // A file was put in its place. Opening it anew is all that is needed.
        ErrorCode::ReadOnly if extended == ffi::SQLITE_READONLY_DBMOVED => {
            (Unavailable, "; the file was moved or replaced")
        }
        ErrorCode::PermissionDenied | ErrorCode::ReadOnly | ErrorCode::CannotOpen => (
            Refused,
            "; this process needs to read and write the file and its folder",
        ),
        ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch => (
            Refused,
            "; compare the schema with what `onewrite migrate --print` writes",
        ),
        _ if words.starts_with("no such table") || words.starts_with("no such column") => {
            (Refused, "; the schema is missing or damaged: run `onewrite migrate`")
        }
        _ if extended == ffi::SQLITE_ERROR => (Refused, ""),
        _ => (Unavailable, ""),
    }
}

/// Whether the connection is as good as before: it only did not get its turn.
pub(super) fn is_busy(error: &Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// The error of a column whose text holds something other than it should.
pub(super) fn unreadable(column: usize, cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(cause))
}
