//! What operators ask of a PostgreSQL outbox: each call connects, does one thing and leaves.

mod forget;
mod history;
mod log;
mod parked;
mod privileges;
mod probe;
mod replay;
mod status;

use std::time::Duration;

use async_trait::async_trait;
use onewrite::schema::postgres::LATEST;
use onewrite_core::alarm::AlarmThresholds;
use onewrite_core::options::Options;
use onewrite_core::sink::Finding;
use onewrite_core::store::{Forgotten, ParkedEdit, ParkedEvent, ParkedFilter, Replay, ReplayRequest, Status};
use onewrite_core::{Operations, StoreError, StoreFailure};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::WantedFeed;
use super::connection::Connector;
use super::error::failed;
use super::foreign::Foreign;

/// How old a transaction is when [`Operations::probe`] warns of it, unless it is told otherwise.
pub const LONG_TRANSACTION: Duration = Duration::from_secs(300);

/// [`Operations`] for PostgreSQL.
pub struct PostgresOperations {
    connector: Connector,
    feed: WantedFeed,
    retention: Duration,
    long_transaction: Duration,
    thresholds: AlarmThresholds,
    /// Into how many groups of lanes the relay is configured to cut the key space.
    groups: u32,
    /// Where the events are, where that is not the native outbox.
    foreign: Option<Foreign>,
}

impl PostgresOperations {
    /// Operations on the database that the options of a source of type `postgres` name. It connects to nothing yet.
    ///
    /// # Errors
    /// `Refused`, naming the option that nothing could be made of.
    pub fn from_options(options: &Options) -> Result<Self, StoreError> {
        Ok(Self {
            connector: Connector::from_options(options)?,
            feed: WantedFeed::of(options),
            retention: options.duration("retention").unwrap_or_default(),
            long_transaction: LONG_TRANSACTION,
            thresholds: AlarmThresholds::default(),
            groups: 1,
            foreign: Foreign::from_options(options)?,
        })
    }

    /// Sets how old a transaction is when [`Operations::probe`] warns of it.
    #[must_use]
    pub fn long_transaction(mut self, age: Duration) -> Self {
        self.long_transaction = age;
        self
    }

    /// Sets from when on [`Operations::status`] raises its alarms.
    #[must_use]
    pub fn thresholds(mut self, thresholds: AlarmThresholds) -> Self {
        self.thresholds = thresholds;
        self
    }

    /// Sets into how many groups of lanes the relay is configured to cut the key space, for [`Operations::probe`].
    #[must_use]
    pub fn groups(mut self, groups: u32) -> Self {
        self.groups = groups;
        self
    }

    /// Connects, and makes sure that the schema is the one that this program knows.
    async fn open(&self) -> Result<Client, StoreError> {
        let client = self.connector.connect().await?;
        match schema_problem(schema_version(&client).await?) {
            None => Ok(client),
            Some(problem) => Err(StoreError::new(
                StoreFailure::Refused,
                format!("{}: {problem}", self.connector.place()),
            )),
        }
    }
}

#[async_trait]
impl Operations for PostgresOperations {
    async fn status(&self) -> Result<Status, StoreError> {
        let foreign = self.foreign.as_ref();
        status::read(&mut self.open().await?, self.retention, &self.thresholds, foreign).await
    }

    async fn parked(&self, filter: &ParkedFilter) -> Result<Vec<ParkedEvent>, StoreError> {
        parked::list(&self.open().await?, filter).await
    }

    async fn retry(&self, filter: &ParkedFilter) -> Result<u64, StoreError> {
        parked::retry(&self.open().await?, filter).await
    }

    async fn skip(&self, filter: &ParkedFilter) -> Result<Vec<ParkedEvent>, StoreError> {
        parked::skip(&self.open().await?, filter).await
    }

    async fn edit(&self, id: i64, edit: &ParkedEdit) -> Result<bool, StoreError> {
        parked::check(id, edit)?;
        parked::edit(&self.open().await?, id, edit).await
    }

    async fn replay(&self, request: &ReplayRequest) -> Result<Replay, StoreError> {
        request.check()?;
        if let Some(foreign) = &self.foreign {
            return Err(foreign.no_replay());
        }
        replay::request(&mut self.open().await?, request).await
    }

    async fn set_paused(&self, relay: &str, route: Option<&str>, paused: bool) -> Result<u64, StoreError> {
        // What the relay reports a moment later says the same; until then, and where no relay runs, this does. A halted route
        // that is paused stays halted, so that a person still sees why.
        const SET: &str = "WITH changed AS (UPDATE onewrite.route SET paused = $3, halted = CASE WHEN $3 THEN halted END, \
                           state = CASE WHEN NOT $3 THEN 'running' WHEN halted IS NULL THEN 'paused' ELSE state END, \
                           updated_at = now() \
                           WHERE relay = $1 AND name = coalesce($2, name) RETURNING name) SELECT count(DISTINCT name) FROM changed";
        let client = self.open().await?;
        let binds = [
            (&relay as _, Type::TEXT),
            (&route as _, Type::TEXT),
            (&paused as _, Type::BOOL),
        ];
        let changed = client.query_typed_one(SET, &binds).await;
        let changed = changed.map_err(|error| failed("pausing or resuming routes", error))?;
        Ok(changed.get::<_, i64>(0).cast_unsigned())
    }

    async fn forget(&self, relay: &str) -> Result<Forgotten, StoreError> {
        forget::forget(&mut self.open().await?, relay).await
    }

    async fn probe(&self) -> Vec<Finding> {
        probe::probe(self).await
    }
}

async fn schema_version(client: &Client) -> Result<i64, StoreError> {
    onewrite::postgres::current_version(client)
        .await
        .map_err(|error| failed("reading the schema's version", error))
}

/// What is wrong with a schema of this version, and what to do about it.
fn schema_problem(version: i64) -> Option<String> {
    match version {
        LATEST => None,
        0 => Some("the database has no schema onewrite; run `onewrite migrate`".to_owned()),
        older if older < LATEST => Some(format!(
            "the schema is at version {older}, and this program needs version {LATEST}; run `onewrite migrate`"
        )),
        newer => Some(format!(
            "the schema is at version {newer}, and this program knows versions up to {LATEST}; use a newer program"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_of_the_schema_is_told_with_what_to_do() {
        assert_eq!(schema_problem(LATEST), None);
        assert!(schema_problem(0).unwrap().ends_with("run `onewrite migrate`"));
        assert!(schema_problem(LATEST + 1).unwrap().ends_with("use a newer program"));
    }
}
