//! Where the file is, and how it is opened.

use std::path::PathBuf;
use std::time::Duration;

use onewrite::schema::sqlite::LATEST;
use onewrite::sqlite::current_version;
use onewrite_core::options::Options;
use onewrite_core::{StoreError, StoreFailure};
use rusqlite::{Connection, OpenFlags};

use super::error::verdict;

/// Longest that one attempt to write may wait for its turn. A relay that cannot write for a lease's time has lost it anyway.
const BUSY_TIMEOUT_MAX: Duration = Duration::from_secs(60);

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
        let section = options.section();
        let refused = |words: String| StoreError::new(StoreFailure::Refused, words);
        let path = path_of(url).map_err(|problem| {
            refused(format!(
                "{section}.url: found {url:?}: {problem}; expected a path such as \"shop.db\" or \"sqlite:///shop.db\""
            ))
        })?;
        let busy_timeout = options.duration("busy_timeout").unwrap_or_default();
        if busy_timeout > BUSY_TIMEOUT_MAX {
            return Err(refused(format!(
                "{section}.busy_timeout: found {busy_timeout:?}; expected at most {BUSY_TIMEOUT_MAX:?}"
            )));
        }
        Ok(Self {
            path: path.into(),
            busy_timeout,
        })
    }

    /// The file.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// What tells the file from another that is put in its place: a connection goes on working on the one that it opened, even
    /// when that has no name any more, and SQLite notices only in some journal modes.
    pub(super) fn identity(&self) -> Option<(u64, u64)> {
        identity(&self.path)
    }

    /// Fails with `Unavailable` unless the file is the one that had this identity.
    pub(super) fn must_be(&self, opened: Option<(u64, u64)>) -> Result<(), StoreError> {
        let words = match (opened, self.identity()) {
            (opened, found) if opened == found => return Ok(()),
            (_, None) => "the file is gone; put it back, or run `onewrite migrate` to make a new one".to_owned(),
            (opened, Some((device, inode))) => {
                let opened = opened.map_or("none".to_owned(), |(device, inode)| {
                    format!("inode {inode} of device {device}")
                });
                format!(
                    "the file was replaced: found inode {inode} of device {device}, and what was opened is {opened}; it is opened anew"
                )
            }
        };
        let words = format!("{}: {words}", self.path.display());
        Err(StoreError::new(StoreFailure::Unavailable, words))
    }

    /// Opens the file, which must be there and hold the schema that this program knows.
    pub(super) fn open(&self) -> Result<Connection, StoreError> {
        let connection = self.open_any()?;
        match schema_problem(
            current_version(&connection).map_err(|error| self.failed("reading the schema's version", error))?,
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
        let (failure, advice) = verdict(&error);
        StoreError::new(failure, format!("{}: {doing}{advice}", self.path.display())).because(error)
    }

    fn set_up(&self, connection: Connection) -> rusqlite::Result<Connection> {
        connection.busy_timeout(self.busy_timeout)?;
        // A commit of this connection synchronises the write-ahead log, and with it every commit before. Applications may write
        // with less; the relay's own commit makes durable what it read before anything is published.
        connection.pragma_update(None, "synchronous", "FULL")?;
        // On macOS only this reaches the disk itself; elsewhere it changes nothing.
        connection.pragma_update(None, "fullfsync", true)?;
        Ok(connection)
    }

    fn refused(&self, problem: impl std::fmt::Display) -> StoreError {
        StoreError::new(StoreFailure::Refused, format!("{}: {problem}", self.path.display()))
    }
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

#[cfg(unix)]
fn identity(path: &std::path::Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Elsewhere an open file cannot be replaced.
#[cfg(not(unix))]
fn identity(_: &std::path::Path) -> Option<(u64, u64)> {
    None
}

/// The path in a URL; in words, what is wrong with it.
fn path_of(url: &str) -> Result<&str, &'static str> {
    let (path, is_url) = match url.split_once(':') {
        Some(("sqlite" | "file", rest)) => (rest.strip_prefix("//").unwrap_or(rest), true),
        // A colon in what is plainly a path, or after a drive's letter, is part of it.
        Some((scheme, _)) if scheme.len() > 1 && !scheme.contains(['/', '\\', '.']) => {
            return Err("the URL is of another kind of database");
        }
        _ => (url, false),
    };
    match path {
        "" => Err("no file is named"),
        ":memory:" => Err("a database in memory belongs to one connection and ends with it"),
        path if is_url && path.contains('?') => Err("parameters after a '?' are not taken"),
        path => Ok(path),
    }
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
            assert_eq!(path_of(url), Ok("/a/shop.db"), "{url}");
        }
        for path in ["shop.db", "C:\\shop.db", "./a:b.db", "what?.db"] {
            assert_eq!(path_of(path), Ok(path));
        }
        assert_eq!(path_of("sqlite:shop.db"), Ok("shop.db"));
        for url in [
            "postgres://localhost/shop",
            "sqlite://",
            "",
            ":memory:",
            "sqlite::memory:",
            "file:a.db?mode=ro",
        ] {
            assert!(path_of(url).is_err(), "{url}");
        }
    }
}
