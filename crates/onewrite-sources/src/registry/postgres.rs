//! The entry of PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use onewrite::postgres::{Grant, MigrateError, MigrateOptions, Privileges, Rotation};
use onewrite::schema::postgres::{LATEST, print};
use onewrite_core::options::Options;
use onewrite_core::{StoreError, StoreFailure};

use super::{MigrateRequest, Migrated, Opened, SourceType};
use crate::postgres::connection::Connector;
use crate::postgres::error::failed;
use crate::postgres::{FIELDS, PostgresOutbox, operations};

pub(super) const TYPE: SourceType = SourceType {
    name: "postgres",
    description: "PostgreSQL 14 and later, also behind a transaction pooler",
    fields: FIELDS,
    open,
    migrate: |options, request| Box::pin(migrate(options, request)),
    script,
};

fn open(options: &Options) -> Result<Opened, StoreError> {
    let outbox = PostgresOutbox::from_options(options)?;
    let place = outbox.place();
    Ok(Opened {
        outbox: Arc::new(outbox),
        operations: Arc::new(operations(options)?),
        place,
    })
}

async fn migrate(options: Options, request: MigrateRequest) -> Result<Migrated, StoreError> {
    let (migration, grants) = (migration(&request)?, grants(&request)?);
    let connector = Connector::from_options(&options)?;
    let mut client = connector.connect().await?;
    let told = |error: MigrateError| {
        let words = error.to_string();
        let failure = match error {
            MigrateError::Database { source, .. } => failed("migrating", source).failure,
            _ => StoreFailure::Refused,
        };
        StoreError::new(failure, words)
    };
    let applied = onewrite::postgres::migrate(&mut client, &migration)
        .await
        .map_err(told)?;
    onewrite::postgres::grant(&mut client, &grants).await.map_err(told)?;
    Ok(Migrated {
        applied,
        version: LATEST,
    })
}

fn script(request: &MigrateRequest) -> Result<String, StoreError> {
    Ok(print(0, &migration(request)?, &grants(request)?))
}

fn migration(request: &MigrateRequest) -> Result<MigrateOptions, StoreError> {
    let rotation = |time: Duration| {
        let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        Rotation::from_seconds(seconds).map_err(|invalid| StoreError::new(StoreFailure::Refused, invalid.to_string()))
    };
    let options = MigrateOptions::default();
    Ok(match request.rotation.map(rotation).transpose()? {
        Some(rotation) => options.rotation(rotation),
        None => options,
    })
}

fn grants(request: &MigrateRequest) -> Result<Vec<Grant>, StoreError> {
    let grant = |role: &String, privileges: Privileges| {
        Grant::new(role, privileges).map_err(|invalid| StoreError::new(StoreFailure::Refused, invalid.to_string()))
    };
    let applications = request
        .grant_application
        .iter()
        .map(|role| grant(role, Privileges::AppendAndInsert));
    let relays = request.grant_relay.iter().map(|role| grant(role, Privileges::Relay));
    applications.chain(relays).collect()
}
