//! Where the file is, and how it is opened.

use std::path::PathBuf;
use std::time::Duration;

use onewrite::schema::sqlite::LATEST;
use onewrite_core::options::Options;
use onewrite_core::{StoreError, StoreFailure};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

/// A database file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    path: PathBuf,
    busy_timeout: Duration,
}

impl Place {
    /// Reads `url` and `busy_timeout`.
    ///
    /// # Errors
    /// `Refused`, when the URL is of another scheme or empty.
    pub fn from_options(options: &Options) -> Result<Self, StoreError> {
        let url = options.text("url").unwrap_or_default();
        let path = path_of(url).ok_or_else(|| {
            let words = format!(
                "{}.url: found {url:?}; expected a path such as \"shop.db\" or \"sqlite:///shop.db\"",
                options.section()
            );
            StoreError::new(StoreFailure::Refused, words)
        })?;
        Ok(Self {
            path: path.into(),
            busy_timeout: options.duration("busy_timeout").unwrap_or_default(),
        })
    }

    /// The file.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Opens the file, which must be there and hold the schema that this program knows.
    pub(super) fn open(&self) -> Result<Connection, StoreError> {
        let connection = self.open_any()?;
        match schema_problem(
            schema_version(&connection).map_err(|error| self.failed("reading the schema's version", error))?,
        ) {
            None => Ok(connection),
            Some(problem) => Err(self.refused(problem)),
        }
    }

    /// Opens the file whatever it holds.
    pub(super) fn open_any(&self) -> Result<Connection, StoreError> {
        if !self.path.exists() {
            return Err(self.refused("there is no such file; run `onewrite migrate` to make it"));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(&self.path, flags).and_then(|connection| self.set_up(connection));
        opened.map_err(|error| self.failed("opening the file", error))
    }

    /// Opens the file, and makes it if it is not there.
    pub(crate) fn create(&self) -> Result<Connection, StoreError> {
        let opened = Connection::open(&self.path).and_then(|connection| self.set_up(connection));
        opened.map_err(|error| self.failed("opening the file", error))
    }

    /// An error about this file.
    pub(crate) fn failed(&self, doing: &str, error: rusqlite::Error) -> StoreError {
        use rusqlite::ErrorCode::{CannotOpen, DatabaseBusy, DatabaseLocked, NotADatabase, PermissionDenied, ReadOnly};
        let (failure, advice) = match error.sqlite_error_code() {
            Some(NotADatabase) => (StoreFailure::Refused, "; the file is no SQLite database"),
            Some(PermissionDenied | ReadOnly | CannotOpen) => (
                StoreFailure::Refused,
                "; this process needs to read and write the file and its folder",
            ),
            Some(DatabaseBusy | DatabaseLocked) => (StoreFailure::Unavailable, "; another process is writing"),
            _ => (StoreFailure::Unavailable, ""),
        };
        StoreError::new(failure, format!("{}: {doing}{advice}", self.path.display())).because(error)
    }

    fn set_up(&self, connection: Connection) -> rusqlite::Result<Connection> {
        connection.busy_timeout(self.busy_timeout)?;
        // A commit of this connection synchronises the write-ahead log, and with it every commit before. Applications may write
        // with less; the relay's own commit makes durable what it read before anything is published.
        connection.pragma_update(None, "synchronous", "FULL")?;
        Ok(connection)
    }

    fn refused(&self, problem: impl std::fmt::Display) -> StoreError {
        StoreError::new(StoreFailure::Refused, format!("{}: {problem}", self.path.display()))
    }
}

/// The schema's version; 0 where there is none.
pub(super) fn schema_version(connection: &Connection) -> rusqlite::Result<i64> {
    const EXISTS: &str = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'onewrite_migration'";
    if connection.query_row(EXISTS, [], |_| Ok(())).optional()?.is_none() {
        return Ok(0);
    }
    connection.query_row("SELECT coalesce(max(version), 0) FROM onewrite_migration", [], |row| {
        row.get(0)
    })
}

/// What is wrong with a schema of this version, and what to do about it.
pub(super) fn schema_problem(version: i64) -> Option<String> {
    match version {
        LATEST => None,
        0 => Some("the file holds no outbox; run `onewrite migrate`".to_owned()),
        older if older < LATEST => Some(format!(
            "the schema is at version {older}, and this program needs version {LATEST}; run `onewrite migrate`"
        )),
        newer => Some(format!(
            "the schema is at version {newer}, and this program knows versions up to {LATEST}; use a newer program"
        )),
    }
}

fn path_of(url: &str) -> Option<&str> {
    let path = match url.split_once(':') {
        Some(("sqlite" | "file", rest)) => rest.strip_prefix("//").unwrap_or(rest),
        Some((scheme, _)) if scheme.len() > 1 && !scheme.contains(['/', '\\', '.']) => return None,
        _ => url,
    };
    (!path.is_empty()).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_in_each_of_its_forms() {
        for url in [
            "/a/shop.db",
            "sqlite:/a/shop.db",
            "sqlite:///a/shop.db",
            "file:/a/shop.db",
        ] {
            assert_eq!(path_of(url), Some("/a/shop.db"), "{url}");
        }
        assert_eq!(path_of("shop.db"), Some("shop.db"));
        assert_eq!(path_of("sqlite:shop.db"), Some("shop.db"));
        assert_eq!(path_of("postgres://localhost/shop"), None);
        assert_eq!(path_of("sqlite://"), None);
    }
}
