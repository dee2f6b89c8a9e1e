//! Deleting what every route settled, a little at a time.

use std::collections::HashSet;
use std::time::Duration;

use onewrite_core::store::Maintenance;
use onewrite_core::{Lease, StoreError};
use rusqlite::{Connection, OptionalExtension as _, Row};
use tokio::time::Instant;

use super::worker::Worker;

/// Rows that one transaction looks at, and so deletes, at the most: a writer waits no longer than that takes.
const CHUNK_ROWS: usize = 5_000;

/// Bytes of payload after which a transaction deletes no more: giving back the pages of large payloads takes its time.
const CHUNK_BYTES: i64 = 16 * 1024 * 1024;

/// What one transaction did.
struct Chunk {
    deleted: u64,
    /// Everything up to here was looked at.
    cursor: i64,
    more: bool,
}

/// See [`Outbox::maintain`](onewrite_core::Outbox::maintain).
pub(super) async fn maintain(worker: &Worker, lease: &Lease, retention: Duration) -> Result<Maintenance, StoreError> {
    let (mut cursor, mut deleted) = (0, 0);
    loop {
        let began = Instant::now();
        let chunk = worker.fenced("deleting settled events", lease, move |transaction| {
            delete_chunk(transaction, cursor, retention)
        });
        let chunk = chunk.await?;
        deleted += chunk.deleted;
        cursor = chunk.cursor;
        if !chunk.more {
            break;
        }
        // As long a break as the work was long, so that half of the time is the writers'.
        tokio::time::sleep(began.elapsed()).await;
    }
    let relay = lease.relay.clone();
    let abandoned = worker.run("looking for abandoned routes", move |connection| {
        abandoned(connection, &relay)
    });
    let emptied = (deleted > 0).then(|| format!("{deleted} rows of onewrite_outbox"));
    Ok(Maintenance {
        emptied: emptied.into_iter().collect(),
        blocked: abandoned.await?.into_iter().collect(),
    })
}

/// Looks at the next rows above `cursor` that every route of every relay settled and no replay is still to read, and deletes
/// those that are past the retention. It ends where a whole chunk is too young: rows are in the order of time, more or less.
fn delete_chunk(connection: &Connection, cursor: i64, retention: Duration) -> rusqlite::Result<Chunk> {
    // Replays of routes that are gone will never end.
    const SETTLED: &str = "\
        SELECT min((SELECT min(sequence) FROM onewrite_route), coalesce((SELECT min(progress) FROM onewrite_replay AS replay \
          WHERE finished_at IS NULL AND EXISTS (SELECT 1 FROM onewrite_route AS route \
            WHERE route.relay = replay.relay AND route.name = replay.route)), 9223372036854775807))";
    const PENDING: &str = "SELECT each.value FROM onewrite_route, json_each(onewrite_route.pending) AS each";
    const ROWS: &str = "\
        SELECT sequence, octet_length(payload), coalesce(unixepoch(occurred_at, 'subsec'), 0) <= unixepoch('subsec') - ?3 \
        FROM onewrite_outbox WHERE sequence > ?1 AND sequence <= ?2 ORDER BY sequence LIMIT ?4";
    let settled: Option<i64> = connection.query_row(SETTLED, [], |row| row.get(0))?;
    let mut chunk = Chunk {
        deleted: 0,
        cursor,
        more: false,
    };
    let Some(settled) = settled else { return Ok(chunk) };
    let pending: HashSet<i64> = connection
        .prepare_cached(PENDING)?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut delete = connection.prepare_cached("DELETE FROM onewrite_outbox WHERE sequence = ?1")?;
    let mut rows = connection.prepare_cached(ROWS)?;
    let row = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, bool>(2)?));
    let rows = rows.query_map((cursor, settled, retention.as_secs_f64(), CHUNK_ROWS as i64), row)?;
    let rows: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
    let (mut bytes, mut any_old) = (0, false);
    for (sequence, payload, is_old) in &rows {
        any_old |= is_old;
        chunk.cursor = *sequence;
        if *is_old && !pending.contains(sequence) {
            chunk.deleted += delete.execute([sequence])? as u64;
            bytes += payload;
        }
        if bytes >= CHUNK_BYTES {
            break;
        }
    }
    chunk.more = any_old && (rows.len() == CHUNK_ROWS || bytes >= CHUNK_BYTES);
    Ok(chunk)
}

/// A route of another relay that nobody runs and that keeps rows from being deleted which this relay has settled; in words.
fn abandoned(connection: &mut Connection, relay: &str) -> rusqlite::Result<Option<String>> {
    const ABANDONED: &str = "\
        SELECT route.relay, route.name, route.sequence FROM onewrite_route AS route \
        LEFT JOIN onewrite_relay AS relay ON relay.name = route.relay \
        WHERE route.relay <> ?1 AND coalesce(relay.holder IS NULL OR relay.expires_at <= unixepoch('subsec'), true) \
        AND route.sequence < (SELECT min(sequence) FROM onewrite_route WHERE relay = ?1) \
        ORDER BY route.sequence LIMIT 1";
    let words = |row: &Row<'_>| {
        let (relay, route, sequence): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(format!(
            "rows of onewrite_outbox above {sequence} are kept for route {route:?} of relay {relay:?}, which no process runs; \
             if it is gone for good, delete its rows of onewrite_route"
        ))
    };
    connection.query_row(ABANDONED, [relay], words).optional()
}
