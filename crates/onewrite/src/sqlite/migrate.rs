//! Bringing the schema to the newest version.

use rusqlite::{Connection, Error, TransactionBehavior};

use super::error::MigrateError;
use crate::schema::Migration;
use crate::schema::sqlite::{LATEST, pending};

/// Brings the schema to the newest version and returns the versions that were applied, none where there was nothing to do.
///
/// A file that gets the schema is put into WAL mode, which stays with the file: readers and the one writer then do not wait
/// for one another. Each step runs in a transaction of its own, and two programs that migrate at once take turns.
///
/// # Errors
/// [`MigrateError::Newer`] for the database of a newer program, [`MigrateError::Database`] when a step fails.
pub fn migrate(connection: &mut Connection) -> Result<Vec<i64>, MigrateError> {
    let mut version = current_version(connection).map_err(failed("reading the schema's version"))?;
    let mut applied = Vec::new();
    if version == 0 {
        use_wal(connection).map_err(failed("switching to WAL mode"))?;
    }
    while let Some(step) = pending(version).next() {
        version =
            apply(connection, step, &mut applied).map_err(failed(format!("migrating to version {}", step.version)))?;
    }
    if version > LATEST {
        return Err(MigrateError::Newer {
            found: version,
            known: LATEST,
        });
    }
    Ok(applied)
}

/// The version of the database's schema; 0 where there is none.
///
/// # Errors
/// What SQLite says.
pub fn current_version(connection: &Connection) -> Result<i64, Error> {
    const EXISTS: &str = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'onewrite_migration'";
    const VERSION: &str = "SELECT coalesce(max(version), 0) FROM onewrite_migration";
    if connection.query_row(EXISTS, [], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(0);
    }
    connection.query_row(VERSION, [], |row| row.get(0))
}

/// A database in memory has no such mode, and stays as it is.
fn use_wal(connection: &Connection) -> Result<(), Error> {
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
}

/// Applies the step unless somebody else was faster, and returns the version that the database is at then.
fn apply(connection: &mut Connection, step: &Migration, applied: &mut Vec<i64>) -> Result<i64, Error> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = current_version(&transaction)?;
    if version != step.version - 1 {
        return Ok(version);
    }
    transaction.execute_batch(step.sql)?;
    transaction.commit()?;
    applied.push(step.version);
    Ok(step.version)
}

fn failed(doing: impl Into<String>) -> impl FnOnce(Error) -> MigrateError {
    move |source| MigrateError::Database {
        doing: doing.into(),
        source,
    }
}
