//! The entry of PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use onewrite::limits::RETENTION_SECONDS_MAX;
use onewrite::postgres::{Grant, MigrateError, MigrateOptions, Privileges, Rotation, current_rotation as rotation};
use onewrite::schema::postgres::{LATEST, print};
use onewrite_core::options::Options;
use onewrite_core::{StoreError, StoreFailure};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::{MigrateRequest, Migrated, Opened, SourceType};
use crate::postgres::connection::Connector;
use crate::postgres::error::failed;
use crate::postgres::{FIELDS, NOT_SPREAD, PostgresGround, PostgresOutbox, operations};
use crate::words::age;

pub(super) const TYPE: SourceType = SourceType {
    name: "postgres",
    description: "PostgreSQL 14 and later, also behind a transaction pooler",
    fields: FIELDS,
    open,
    spreads,
    migrate: |options, request| Box::pin(migrate(options, request)),
    script,
    ground: Some(|options| Ok(Arc::new(PostgresGround::from_options(options)?))),
};

fn open(options: &Options, groups: u32) -> Result<Opened, StoreError> {
    retention(options)?;
    let outbox = PostgresOutbox::from_options(options)?;
    let place = outbox.place();
    Ok(Opened {
        outbox: Arc::new(outbox),
        operations: Arc::new(operations(options)?.groups(groups)),
        place,
    })
}

fn spreads(options: &Options) -> Result<(), &'static str> {
    match options.text("contract") {
        None | Some("native") => Ok(()),
        Some(_) => Err(NOT_SPREAD),
    }
}

async fn migrate(options: Options, request: MigrateRequest) -> Result<Migrated, StoreError> {
    let (migration, grants) = (migration(&options, &request)?, grants(&request)?);
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
    let before = rotation(&client).await.ok();
    let applied = onewrite::postgres::migrate(&mut client, &migration)
        .await
        .map_err(told)?;
    onewrite::postgres::grant(&mut client, &grants).await.map_err(told)?;
    let now = rotation(&client)
        .await
        .map_err(|error| failed("reading the rotation of segments", error))?;
    let mut notes = Vec::new();
    if before.unwrap_or_default() != now {
        notes.push(format!(
            "segments are in use by turns of {} now",
            age(now.seconds().into())
        ));
    }
    if options.text("feed") != Some("poll") {
        notes.extend(without_replication(&client, &request.grant_relay).await?);
    }
    Ok(Migrated {
        applied,
        version: LATEST,
        notes,
    })
}

/// What only a superuser can give to those roles of relays that lack it.
async fn without_replication(client: &Client, roles: &[String]) -> Result<Option<String>, StoreError> {
    const LACKING: &str = "SELECT string_agg(format('ALTER ROLE %I REPLICATION;', rolname), ' ' ORDER BY rolname) FROM pg_roles \
                           WHERE rolname = ANY ($1) AND NOT (rolreplication OR rolsuper)";
    let row = client.query_typed_one(LACKING, &[(&roles, Type::TEXT_ARRAY)]).await;
    let row = row.map_err(|error| failed("reading the attributes of roles", error))?;
    let statements: Option<&str> = row.get(0);
    Ok(statements.map(|statements| {
        format!(
            "so that the relay can follow the write-ahead log rather than poll, a superuser runs: {statements} (on Amazon RDS and \
             Aurora: GRANT rds_replication TO the role)"
        )
    }))
}

fn script(options: &Options, request: &MigrateRequest) -> Result<String, StoreError> {
    Ok(print(0, &migration(options, request)?, &grants(request)?))
}

fn migration(options: &Options, request: &MigrateRequest) -> Result<MigrateOptions, StoreError> {
    let retention = retention(options)?;
    let migration = MigrateOptions::default()
        .retention(retention)
        .groups(request.groups.unwrap_or(1));
    let Some(time) = request.rotation else {
        return Ok(migration);
    };
    let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    let rotation = Rotation::from_seconds(seconds).map_err(|invalid| refused(invalid.to_string()))?;
    if !rotation.fits(retention) {
        return Err(refused(format!(
            "turns of {} cannot keep events for {} ({}.retention): none would ever be removed; give --rotation {}s or more, leave \
             --rotation out, or lower {}.retention",
            age(seconds.into()),
            age(retention.as_secs_f64()),
            options.section(),
            Rotation::for_retention(retention).seconds(),
            options.section()
        )));
    }
    Ok(migration.rotation(rotation))
}

/// How long events are to be kept.
fn retention(options: &Options) -> Result<Duration, StoreError> {
    let retention = options.duration("retention").unwrap_or_default();
    if retention <= Duration::from_secs(RETENTION_SECONDS_MAX.into()) {
        return Ok(retention);
    }
    Err(refused(format!(
        "{}.retention: {} is too long; events can be kept for {} at the most, which is two of the longest turns",
        options.section(),
        age(retention.as_secs_f64()),
        age(RETENTION_SECONDS_MAX.into())
    )))
}

fn refused(words: String) -> StoreError {
    StoreError::new(StoreFailure::Refused, words)
}

fn grants(request: &MigrateRequest) -> Result<Vec<Grant>, StoreError> {
    let grant = |role: &String, privileges: Privileges| {
        Grant::new(role, privileges).map_err(|invalid| refused(invalid.to_string()))
    };
    let applications = request
        .grant_application
        .iter()
        .map(|role| grant(role, Privileges::AppendAndInsert));
    let relays = request.grant_relay.iter().map(|role| grant(role, Privileges::Relay));
    applications.chain(relays).collect()
}
