//! What operators ask of an SQLite outbox: each call opens the file, does one thing and leaves.

mod forget;
mod history;
mod parked;
mod probe;
mod replay;
mod status;

use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::options::Options;
use onewrite_core::sink::Finding;
use onewrite_core::store::{Forgotten, ParkedEdit, ParkedEvent, ParkedFilter, Replay, ReplayRequest, Status};
use onewrite_core::{Operations, StoreError, StoreFailure};
use rusqlite::Connection;

use super::place::Place;
use super::worker::Worker;

/// [`Operations`] for SQLite.
pub struct SqliteOperations {
    place: Place,
    retention: Duration,
}

impl SqliteOperations {
    /// Operations on the file that the options of a source of type `sqlite` name. It opens nothing yet.
    ///
    /// # Errors
    /// `Refused`, naming the option that nothing could be made of.
    pub fn from_options(options: &Options) -> Result<Self, StoreError> {
        Ok(Self {
            place: Place::from_options(options)?,
            retention: options.duration("retention").unwrap_or_default(),
        })
    }

    async fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        Worker::open(&self.place).await?.run(doing, work).await
    }
}

#[async_trait]
impl Operations for SqliteOperations {
    async fn status(&self) -> Result<Status, StoreError> {
        let retention = self.retention;
        self.run("reading the status", move |connection| {
            status::read(connection, retention)
        })
        .await
    }

    async fn parked(&self, filter: &ParkedFilter) -> Result<Vec<ParkedEvent>, StoreError> {
        let filter = filter.clone();
        self.run("reading parked events", move |connection| {
            parked::list(connection, &filter)
        })
        .await
    }

    async fn retry(&self, filter: &ParkedFilter) -> Result<u64, StoreError> {
        let filter = filter.clone();
        self.run("marking parked events for another delivery", move |connection| {
            parked::retry(connection, &filter)
        })
        .await
    }

    async fn skip(&self, filter: &ParkedFilter) -> Result<Vec<ParkedEvent>, StoreError> {
        let filter = filter.clone();
        self.run("removing parked events", move |connection| {
            parked::skip(connection, &filter)
        })
        .await
    }

    async fn edit(&self, id: i64, edit: &ParkedEdit) -> Result<bool, StoreError> {
        let refused = |problem: &dyn std::fmt::Display| {
            let words = format!("parked event {id} is left as it is: {problem}");
            StoreError::new(StoreFailure::Refused, words)
        };
        edit.check().map_err(|invalid| refused(&invalid).because(invalid))?;
        let edit = edit.clone();
        let edited = self
            .run("changing a parked event", move |connection| {
                parked::edit(connection, id, &edit)
            })
            .await?;
        edited.map_err(|problem| refused(&problem))
    }

    async fn replay(&self, request: &ReplayRequest) -> Result<Replay, StoreError> {
        request.check()?;
        let request = request.clone();
        let asked = self
            .run("asking for a replay", move |connection| {
                replay::request(connection, &request)
            })
            .await?;
        asked.map_err(|problem| StoreError::new(StoreFailure::Refused, problem))
    }

    async fn set_paused(&self, relay: &str, route: Option<&str>, paused: bool) -> Result<u64, StoreError> {
        // What the relay reports a moment later says the same; until then, and where no relay runs, this does. A halted route
        // that is paused stays halted, so that a person still sees why.
        const SET: &str = "UPDATE onewrite_route SET paused = ?3, halted = CASE WHEN ?3 THEN halted END, \
                           state = CASE WHEN NOT ?3 THEN 'running' WHEN halted IS NULL THEN 'paused' ELSE state END, \
                           updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') \
                           WHERE relay = ?1 AND name = coalesce(?2, name)";
        let (relay, route) = (relay.to_owned(), route.map(str::to_owned));
        self.run("pausing or resuming routes", move |connection| {
            connection.execute(SET, (relay, route, paused))
        })
        .await
        .map(|rows| rows as u64)
    }

    async fn forget(&self, relay: &str) -> Result<Forgotten, StoreError> {
        let relay = relay.to_owned();
        let forgotten = self
            .run("giving up the relay", move |connection| {
                forget::forget(connection, &relay)
            })
            .await?;
        forgotten.map_err(|problem| StoreError::new(StoreFailure::Refused, problem))
    }

    async fn probe(&self) -> Vec<Finding> {
        let place = self.place.clone();
        let probed = tokio::task::spawn_blocking(move || probe::probe(&place)).await;
        probed.unwrap_or_else(|error| vec![Finding::broken("file", format!("the check panicked: {error}"))])
    }
}
