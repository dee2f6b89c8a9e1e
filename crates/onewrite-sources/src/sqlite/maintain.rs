//! Deleting what every route settled, a little at a time.

use std::collections::HashSet;
use std::time::Duration;

use onewrite_core::store::Maintenance;
use onewrite_core::{Lease, StoreError};
use rusqlite::{Connection, Row};
use tokio::time::Instant;

use super::alarms;
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
        let relay = lease.relay.clone();
        let chunk = worker.fenced("deleting settled events", lease, move |transaction| {
            delete_chunk(transaction, &relay, cursor, retention)
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
    let alarms = worker.run("looking for alarms", move |connection| {
        alarms::look(connection, retention)
    });
    let emptied = (deleted > 0).then(|| format!("{deleted} rows of onewrite_outbox"));
    Ok(Maintenance {
        emptied: emptied.into_iter().collect(),
        alarms: alarms.await?,
    })
}

/// Looks at the next rows above `cursor` that every route of every relay settled and no replay is still to read, and deletes
/// those that are past the retention. It ends where a whole chunk is too young: rows are in the order of time, more or less.
fn delete_chunk(connection: &Connection, relay: &str, cursor: i64, retention: Duration) -> rusqlite::Result<Chunk> {
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
    let mut rows = connection.prepare_cached(ROWS)?;
    let row = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, bool>(2)?));
    let rows = rows.query_map((cursor, settled, retention.as_secs_f64(), CHUNK_ROWS as i64), row)?;
    let rows: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
    let (mut bytes, mut any_old, mut doomed) = (0, false, Vec::new());
    for (sequence, payload, is_old) in &rows {
        any_old |= is_old;
        chunk.cursor = *sequence;
        if *is_old && !pending.contains(sequence) {
            doomed.push(*sequence);
            bytes += payload;
        }
        if bytes >= CHUNK_BYTES {
            break;
        }
    }
    chunk.more = any_old && (rows.len() == CHUNK_ROWS || bytes >= CHUNK_BYTES);
    chunk.deleted = doomed.len() as u64;
    delete(connection, relay, &doomed)?;
    Ok(chunk)
}

/// Deletes rows, ascending, with what is known of their having been skipped, and writes down up to where the outbox's history is gone with them.
fn delete(connection: &Connection, relay: &str, sequences: &[i64]) -> rusqlite::Result<()> {
    const NOTE: &str = "\
        UPDATE onewrite_relay SET removed_through = max(coalesce(removed_through, 0), ?2), \
          removed_until = nullif(max(coalesce(removed_until, ''), coalesce((SELECT strftime('%Y-%m-%dT%H:%M:%fZ', occurred_at) \
            FROM onewrite_outbox WHERE sequence = ?2), '')), '') WHERE name = ?1";
    let Some(last) = sequences.last() else { return Ok(()) };
    connection.prepare_cached(NOTE)?.execute((relay, last))?;
    let mut delete = connection.prepare_cached("DELETE FROM onewrite_outbox WHERE sequence = ?1")?;
    let mut forget = connection.prepare_cached("DELETE FROM onewrite_skipped_event WHERE sequence = ?1")?;
    sequences.iter().try_for_each(|sequence| {
        delete.execute([sequence])?;
        forget.execute([sequence]).map(|_| ())
    })
}
