//! The relay's replication slot: its name, and bringing it to where it can be read, whatever became of it.

use std::time::Duration;

use onewrite::schema::postgres::PUBLICATION;
use onewrite_core::routing::Group;
use onewrite_core::{StoreError, StoreFailure};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Row};

use super::super::error::failed;
use super::super::lanes::is_published;
use super::super::session::{BEGIN, transaction};
use super::limits::{SLOT_CREATION_TIMEOUT, SLOT_RELEASE_TIMEOUT};

/// The name of the slot of a relay's group: slots are the server's, not the database's, and know small letters, digits and `_` only.
pub(crate) fn name(database: &str, relay: &str, group: Group) -> String {
    let of = match group.is_all() {
        true => String::new(),
        false => format!("{}of{}_", group.index, group.count),
    };
    let digest = Sha256::digest(format!("{database}\0{relay}"));
    let tail: String = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    let plain = relay.chars().map(|character| match character.to_ascii_lowercase() {
        letter @ ('a'..='z' | '0'..='9') => letter,
        _ => '_',
    });
    // 63 bytes at the most.
    let plain: String = plain.take(40 - of.len()).collect();
    format!("onewrite_{plain}_{of}{tail}")
}

/// What was done to have a slot to read, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Prepared {
    /// It was there.
    Found,
    /// There was none.
    Created,
    /// The server had given it up, for this reason.
    Replaced(String),
}

/// What stands in the way of following the outbox over the log, each with what to do; empty when nothing does.
///
/// # Errors
/// When the server could not be asked.
pub(crate) async fn obstacles(client: &Client, group: Group) -> Result<Vec<String>, StoreError> {
    const PUBLISHED: &str = "\
        SELECT EXISTS (SELECT 1 FROM pg_publication_tables WHERE pubname = $1 AND schemaname = 'onewrite' AND tablename = 'outbox') \
               AND EXISTS (SELECT 1 FROM pg_publication WHERE pubname = $1 AND pubinsert AND pubviaroot)";
    let mut found = obstacles_of_server(client).await?;
    // A group's own publication does, where there is one.
    if !group.is_all() && is_published(client, group).await? {
        return Ok(found);
    }
    let row = client.query_typed_one(PUBLISHED, &[(&PUBLICATION, Type::TEXT)]).await;
    if !row.map_err(|error| failed(ASKING, error))?.get::<_, bool>(0) {
        found.push(format!(
            "the publication {PUBLICATION} is missing or publishes something else; as the owner of onewrite.outbox run \
             DROP PUBLICATION IF EXISTS {PUBLICATION}; CREATE PUBLICATION {PUBLICATION} FOR TABLE onewrite.outbox \
             WITH (publish = 'insert', publish_via_partition_root = true);"
        ));
    }
    Ok(found)
}

const ASKING: &str = "asking whether the log can be read";

/// What stands in the way of reading any log.
///
/// # Errors
/// When the server could not be asked.
pub(crate) async fn obstacles_of_server(client: &Client) -> Result<Vec<String>, StoreError> {
    const ASK: &str = "\
        SELECT current_setting('wal_level'), pg_is_in_recovery(), current_setting('max_replication_slots')::bigint, \
               (SELECT rolsuper OR rolreplication FROM pg_roles WHERE rolname = current_user) \
                 OR EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'rds_replication' \
                            AND pg_has_role(current_user, oid, 'MEMBER')), \
               quote_ident(current_user)";
    let row = client.query_typed_one(ASK, &[]).await;
    let row = row.map_err(|error| failed(ASKING, error))?;
    let (wal_level, role): (&str, &str) = (row.get(0), row.get(4));
    let mut found = Vec::new();
    if wal_level != "logical" {
        found.push(format!(
            "wal_level is {wal_level}; run ALTER SYSTEM SET wal_level = 'logical'; and restart the server"
        ));
    }
    if row.get(1) {
        found.push("the server is a replica; connect to the primary".to_owned());
    }
    if row.get::<_, i64>(2) == 0 {
        found.push("max_replication_slots is 0; raise it and restart the server".to_owned());
    }
    if !row.get::<_, bool>(3) {
        found.push(format!(
            "the role may not read the log; as a superuser run ALTER ROLE {role} REPLICATION; (on Amazon RDS: GRANT rds_replication TO {role};)"
        ));
    }
    Ok(found)
}

/// Brings the slot to where it can be read: takes it over from a process that held it before, makes it anew where it is gone
/// or given up. The holder of the lease alone may call it.
///
/// # Errors
/// `Refused` where a person must change something; `Unavailable` for what may pass, such as an old transaction that a new slot
/// has to wait for, named in the words.
pub(crate) async fn prepare(client: &Client, slot: &str) -> Result<Prepared, StoreError> {
    match free(client, slot).await? {
        None => {
            create(client, slot).await?;
            Ok(Prepared::Created)
        }
        Some(Health::Sound) => Ok(Prepared::Found),
        Some(Health::Lost(reason)) => {
            drop_slot(client, slot).await?;
            create(client, slot).await?;
            Ok(Prepared::Replaced(reason))
        }
    }
}

/// What has become of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// It can be read.
    Sound,
    /// The server has given it up, for this reason.
    Lost(String),
}

/// Takes the slot over from whoever reads it, and tells what has become of it; `None` where there is none. The holder of the
/// lease alone may call it.
///
/// # Errors
/// `Refused` where the slot is somebody else's; `Unavailable` where its reader does not end.
pub(crate) async fn free(client: &Client, slot: &str) -> Result<Option<Health>, StoreError> {
    let deadline = Instant::now() + SLOT_RELEASE_TIMEOUT;
    loop {
        match State::of(client, slot).await? {
            None => return Ok(None),
            Some(State {
                active_pid: Some(pid), ..
            }) => take_over(client, slot, pid, deadline).await?,
            Some(State { lost: None, .. }) => return Ok(Some(Health::Sound)),
            Some(State { lost: Some(reason), .. }) => return Ok(Some(Health::Lost(reason))),
        }
    }
}

/// Moves the slot, if it is there, to the present end of the log: what came before it is in the table.
pub(crate) async fn advance(client: &Client, slot: &str) -> Result<(), StoreError> {
    const ADVANCE: &str = "SELECT pg_replication_slot_advance(slot_name, greatest(pg_current_wal_flush_lsn(), confirmed_flush_lsn)) \
                           FROM pg_replication_slots WHERE slot_name = $1";
    // Without the role's limit of time: what is broken off leaves the slot where it was, and there is more of it the next time.
    let parameters = [(&slot as _, Type::TEXT)];
    let advanced = transaction(client, BEGIN, client.execute_typed(ADVANCE, &parameters)).await;
    advanced
        .map(drop)
        .map_err(|error| failed("moving the slot to the end of the log", error))
}

/// Drops the slot if it is there and of this database, whoever reads it. Only for slots under whose name nobody reads any more.
///
/// # Errors
/// As of [`free`].
pub(crate) async fn discard(client: &Client, slot: &str) -> Result<(), StoreError> {
    const HERE: &str = "SELECT 1 FROM pg_replication_slots WHERE slot_name = $1 AND plugin = 'pgoutput' AND database = current_database()";
    let here = client.query_typed_opt(HERE, &[(&slot, Type::TEXT)]).await;
    if here.map_err(|error| failed("looking at the slot", error))?.is_some() && free(client, slot).await?.is_some() {
        drop_slot(client, slot).await?;
    }
    Ok(())
}

struct State {
    active_pid: Option<i32>,
    /// Why the server gave it up.
    lost: Option<String>,
}

impl State {
    async fn of(client: &Client, slot: &str) -> Result<Option<Self>, StoreError> {
        // Some columns are not there in every version.
        const STATE: &str = "SELECT active_pid, wal_status, to_jsonb(slot) ->> 'invalidation_reason', plugin::text, \
                             database = current_database() FROM pg_replication_slots AS slot WHERE slot_name = $1";
        let row = client.query_typed_opt(STATE, &[(&slot, Type::TEXT)]).await;
        let Some(row) = row.map_err(|error| failed("looking at the slot", error))? else {
            return Ok(None);
        };
        let ours = row.get::<_, Option<&str>>(3) == Some("pgoutput") && row.get(4);
        if !ours {
            let words =
                format!("the replication slot {slot:?} is there and is not this relay's; drop it, or rename the relay");
            return Err(StoreError::new(StoreFailure::Refused, words));
        }
        Ok(Some(Self {
            active_pid: row.get(0),
            lost: lost(&row),
        }))
    }
}

fn lost(row: &Row) -> Option<String> {
    let (status, reason): (Option<&str>, Option<&str>) = (row.get(1), row.get(2));
    match (status, reason) {
        (_, Some("wal_removed")) | (Some("lost"), None) => {
            Some("the server removed the log it stood at (max_slot_wal_keep_size)".to_owned())
        }
        (_, Some("idle_timeout")) => Some("it was idle for too long (idle_replication_slot_timeout)".to_owned()),
        (_, Some(other)) => Some(format!("the server gave it up ({other})")),
        _ => None,
    }
}

async fn take_over(client: &Client, slot: &str, pid: i32, deadline: Instant) -> Result<(), StoreError> {
    const END: &str = "SELECT pg_terminate_backend($1)";
    let words = |why: String| {
        let words = format!("the slot {slot:?} is in use by the server's process {pid}{why}");
        StoreError::new(StoreFailure::Unavailable, words)
    };
    if Instant::now() >= deadline {
        return Err(words(", which does not end".to_owned()));
    }
    // Whoever reads it no longer holds the lease.
    let ended = client.query_typed_one(END, &[(&pid, Type::INT4)]).await;
    ended.map_err(|error| {
        words(format!(
            ", which could not be ended: {}",
            onewrite_core::error::chain(&error)
        ))
    })?;
    // Its end is not announced.
    tokio::time::sleep(Duration::from_millis(20)).await;
    Ok(())
}

/// Creates the slot.
///
/// # Errors
/// `Refused` where a person must change something; `Unavailable` for what may pass, such as an old transaction that the slot has
/// to wait for, named in the words.
pub(crate) async fn create(client: &Client, slot: &str) -> Result<(), StoreError> {
    const VERSION: &str = "SELECT current_setting('server_version_num')::int";
    let version = client.query_typed_one(VERSION, &[]).await;
    let version: i32 = version.map_err(|error| failed("asking for the version", error))?.get(0);
    // From PostgreSQL 17 on it is kept on standbys that are set up for it, and survives a failover.
    let create = match version {
        170_000.. => "SELECT pg_create_logical_replication_slot($1::text::name, 'pgoutput', false, false, true)",
        _ => "SELECT pg_create_logical_replication_slot($1::text::name, 'pgoutput')",
    };
    // Within a transaction the limit is this statement's alone, also behind a pooler.
    let begin = format!(
        "BEGIN; SET LOCAL statement_timeout = {}",
        SLOT_CREATION_TIMEOUT.as_millis()
    );
    let created = transaction(client, &begin, client.execute_typed(create, &[(&slot, Type::TEXT)])).await;
    match created {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => Err(waiting(client, slot).await?),
        Err(error) if error.code() == Some(&SqlState::CONFIGURATION_LIMIT_EXCEEDED) => {
            let words = "all replication slots are in use; raise max_replication_slots and restart the server, or drop a slot that nobody needs";
            Err(StoreError::new(StoreFailure::Unavailable, words).because(error))
        }
        Err(error) => Err(failed(&format!("creating the slot {slot:?}"), error)),
    }
}

/// A new slot waits for every transaction that was under way when it was asked for, in any database of the server.
async fn waiting(client: &Client, slot: &str) -> Result<StoreError, StoreError> {
    const OLDEST: &str = "\
        SELECT 'pid ' || pid || coalesce(', user ' || usename, '') || coalesce(', database ' || datname, '') \
               || ', open for ' || coalesce(extract(epoch FROM clock_timestamp() - xact_start)::bigint, 0) || ' s, ' || coalesce(state, '') \
               || ': ' || left(regexp_replace(coalesce(query, ''), '\\s+', ' ', 'g'), 200) \
        FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() \
        UNION ALL \
        SELECT 'prepared transaction ' || quote_literal(gid) || ' of ' || owner || ', prepared ' \
               || extract(epoch FROM clock_timestamp() - prepared)::bigint || ' s ago in ' || database FROM pg_prepared_xacts \
        LIMIT 3";
    let rows = client.query_typed(OLDEST, &[]).await;
    let rows = rows.map_err(|error| failed("looking for what the slot waits for", error))?;
    let named: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    let by = match named.is_empty() {
        true => "a transaction that has ended meanwhile".to_owned(),
        false => named.join("; "),
    };
    let words = format!(
        "the slot {slot:?} could not be created within {SLOT_CREATION_TIMEOUT:?}: it has to wait for every transaction that writes, and \
         waited for {by}"
    );
    Ok(StoreError::new(StoreFailure::Unavailable, words))
}

/// Drops the slot if it is there. Only for one that nobody reads.
pub(crate) async fn drop_slot(client: &Client, slot: &str) -> Result<(), StoreError> {
    const DROP: &str = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1";
    let dropped: Result<u64, Error> = client.execute_typed(DROP, &[(&slot, Type::TEXT)]).await;
    dropped.map(drop).map_err(|error| failed("dropping the slot", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_and_tells_relays_and_databases_apart() {
        for group in [Group::ALL, Group { index: 63, count: 64 }] {
            let long = name("shop", &"Ä.b-C".repeat(20), group);
            assert!(long.len() <= 63 && long.starts_with("onewrite___b_c"), "{long}");
            assert!(
                long.bytes()
                    .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
            );
        }
        let named = |database: &str, relay: &str| name(database, relay, Group::ALL);
        assert_ne!(named("shop", "a"), named("shop2", "a"));
        assert_ne!(named("shop", "a-b"), named("shop", "a.b"));
        assert_eq!(named("shop", "a"), named("shop", "a"));
        let of_group = |index, count| name("shop", "a", Group { index, count });
        assert!(of_group(1, 4).starts_with("onewrite_a_1of4_"));
        assert_ne!(of_group(1, 4), of_group(1, 3));
    }
}
