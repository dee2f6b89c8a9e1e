//! Bringing the schema to the newest version.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, GenericClient};

use super::error::MigrateError;
use crate::limits::{ROTATION_SECONDS_MAX, ROTATION_SECONDS_MIN};
use crate::schema::Migration;
use crate::schema::postgres::grants::Grant;
use crate::schema::postgres::groups::create_publications;
use crate::schema::postgres::{LATEST, MigrateOptions, Rotation, pending, prelude};

/// Brings the schema to the newest version and returns the versions that were applied, none where there was nothing to do. Then
/// changes the rotation of segments where the options ask for it.
///
/// Each step runs in a transaction of its own, and two programs that migrate at once take turns. It needs a role that may
/// create the schema `onewrite`, or owns it.
///
/// # Errors
/// [`MigrateError::Newer`] for the database of a newer program, [`MigrateError::Database`] when a step fails.
pub async fn migrate(client: &mut Client, options: &MigrateOptions) -> Result<Vec<i64>, MigrateError> {
    let mut version = current_version(&*client)
        .await
        .map_err(failed("reading the schema's version"))?;
    let mut applied = Vec::new();
    while let Some(step) = pending(version).next() {
        version = apply(client, options, step, &mut applied)
            .await
            .map_err(failed(format!("migrating to version {}", step.version)))?;
    }
    if version > LATEST {
        return Err(MigrateError::Newer {
            found: version,
            known: LATEST,
        });
    }
    rotate(client, options)
        .await
        .map_err(failed("changing the rotation of segments"))?;
    publish_groups(client, options)
        .await
        .map_err(failed("creating the publications of groups of lanes"))?;
    Ok(applied)
}

/// How long a segment of the outbox is in use.
///
/// # Errors
/// What the database says, for example that there is no schema.
pub async fn current_rotation(client: &impl GenericClient) -> Result<Rotation, Error> {
    const ROTATION: &str = "SELECT value::bigint FROM onewrite.setting WHERE name = 'rotation_seconds'";
    let seconds: i64 = client.query_typed_one(ROTATION, &[]).await?.get(0);
    // Somebody may have written any number there by hand; the nearest that is possible is as good as any.
    let seconds = seconds.clamp(ROTATION_SECONDS_MIN.into(), ROTATION_SECONDS_MAX.into()) as u32;
    Ok(Rotation::from_seconds(seconds).unwrap_or_default())
}

/// The version of the database's schema; 0 where there is none.
///
/// # Errors
/// What the database says, for example that the role may not read the schema.
pub async fn current_version(client: &impl GenericClient) -> Result<i64, Error> {
    const EXISTS: &str = "SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                          WHERE n.nspname = 'onewrite' AND c.relname = 'migration'";
    const VERSION: &str = "SELECT coalesce(max(version), 0) FROM onewrite.migration";
    let none: &[(&(dyn tokio_postgres::types::ToSql + Sync), Type)] = &[];
    if client.query_typed_one(EXISTS, none).await?.get::<_, i64>(0) == 0 {
        return Ok(0);
    }
    Ok(client.query_typed_one(VERSION, none).await?.get(0))
}

/// Grants privileges. Run by the role that owns the schema.
///
/// # Errors
/// [`MigrateError::Database`], for example when there is no such role; then nothing is granted.
pub async fn grant(client: &mut Client, grants: &[Grant]) -> Result<(), MigrateError> {
    let statements: String = grants.iter().map(Grant::sql).collect();
    let granted = async {
        let transaction = client.transaction().await?;
        transaction.batch_execute(&statements).await?;
        transaction.commit().await
    };
    granted.await.map_err(failed("granting privileges"))
}

/// Applies the step unless somebody else was faster, and returns the version that the database is at then.
async fn apply(
    client: &mut Client,
    options: &MigrateOptions,
    step: &Migration,
    applied: &mut Vec<i64>,
) -> Result<i64, Error> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(&prelude(options)).await?;
    let version = current_version(&transaction).await?;
    if version != step.version - 1 {
        return Ok(version);
    }
    transaction.batch_execute(step.sql).await?;
    transaction.commit().await?;
    applied.push(step.version);
    Ok(step.version)
}

async fn rotate(client: &mut Client, options: &MigrateOptions) -> Result<(), Error> {
    // Without the lock first: mostly there is nothing to change, and nobody should have to wait for that.
    if options.change_of(current_rotation(&*client).await?).is_none() {
        return Ok(());
    }
    let transaction = client.transaction().await?;
    transaction.batch_execute(&prelude(options)).await?;
    if let Some(rotation) = options.change_of(current_rotation(&transaction).await?) {
        transaction.batch_execute(&rotation.sql()).await?;
    }
    transaction.commit().await
}

async fn publish_groups(client: &mut Client, options: &MigrateOptions) -> Result<(), Error> {
    if options.groups <= 1 {
        return Ok(());
    }
    let transaction = client.transaction().await?;
    transaction.batch_execute(&prelude(options)).await?;
    transaction.batch_execute(&create_publications(options.groups)).await?;
    transaction.commit().await
}

fn failed(doing: impl Into<String>) -> impl FnOnce(Error) -> MigrateError {
    move |source| MigrateError::Database {
        doing: doing.into(),
        source,
    }
}
