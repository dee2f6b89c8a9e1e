//! The entry of SQLite.

use std::sync::Arc;

use onewrite::schema::sqlite::{LATEST, print};
use onewrite_core::options::Options;
use onewrite_core::{StoreError, StoreFailure};

use super::{MigrateRequest, Migrated, Opened, SourceType};
use crate::sqlite::{FIELDS, NOT_SPREAD, Place, SqliteGround, SqliteOperations, SqliteOutbox};

pub(super) const TYPE: SourceType = SourceType {
    name: "sqlite",
    description: "SQLite: an outbox in a file, for one machine",
    fields: FIELDS,
    open,
    spreads: |_| Err(NOT_SPREAD),
    migrate: |options, request| Box::pin(migrate(options, request)),
    script,
    ground: Some(|options| Ok(Arc::new(SqliteGround::from_options(options)?))),
};

fn open(options: &Options, _: u32) -> Result<Opened, StoreError> {
    let outbox = SqliteOutbox::from_options(options)?;
    let place = format!("{}, feed poll", outbox.place().path().display());
    Ok(Opened {
        outbox: Arc::new(outbox),
        operations: Arc::new(SqliteOperations::from_options(options)?),
        place,
    })
}

async fn migrate(options: Options, request: MigrateRequest) -> Result<Migrated, StoreError> {
    refuse_what_sqlite_has_not(&request)?;
    let place = Place::from_options(&options)?;
    let migrated = tokio::task::spawn_blocking(move || {
        let mut connection = place.create()?;
        let refused = |error| {
            StoreError::new(StoreFailure::Refused, format!("{}: migrating", place.path().display())).because(error)
        };
        onewrite::sqlite::migrate(&mut connection).map_err(refused)
    });
    let applied = migrated
        .await
        .map_err(|error| StoreError::new(StoreFailure::Unavailable, "the migration panicked").because(error))??;
    Ok(Migrated {
        applied,
        version: LATEST,
        notes: Vec::new(),
    })
}

fn script(_: &Options, request: &MigrateRequest) -> Result<String, StoreError> {
    refuse_what_sqlite_has_not(request)?;
    Ok(print(0))
}

fn refuse_what_sqlite_has_not(request: &MigrateRequest) -> Result<(), StoreError> {
    let refused = |words: &'static str| Err(StoreError::new(StoreFailure::Refused, words));
    if request.rotation.is_some() {
        return refused("SQLite has no segments to rotate; settled events are deleted after `retention`");
    }
    if !request.grant_application.is_empty() || !request.grant_relay.is_empty() {
        return refused(
            "SQLite has no roles; give the relay's user the right to read and write the file and its folder",
        );
    }
    Ok(())
}
