//! What a person on call should know of an SQLite outbox, for the relay's log and for `status`.

use std::time::Duration;

use onewrite_core::alarm::{Alarm, AlarmKind};
use onewrite_core::limits::{REMOVAL_LATE_THRESHOLD, WAL_RETAINED_THRESHOLD};
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::outbox::LASTS;
use crate::behind::Behind;
use crate::words::{age, bytes, first_few};

/// Everything there is, the most pressing first.
pub(super) fn look(connection: &mut Connection, retention: Duration) -> rusqlite::Result<Vec<Alarm>> {
    let mut alarms: Vec<Alarm> = log_kept(connection)?.into_iter().collect();
    let transaction = connection.transaction()?;
    let routes = routes(&transaction)?;
    alarms.extend(rows_kept(&transaction, &routes, retention)?);
    alarms.extend(
        routes
            .iter()
            .filter_map(|(behind, _)| behind.retention_short(retention)),
    );
    transaction.commit()?;
    Ok(alarms)
}

/// The write-ahead log is written back into the file as far as no reader needs it. That is also what this look does.
fn log_kept(connection: &Connection) -> rusqlite::Result<Option<Alarm>> {
    let page: i64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    // Without a write-ahead log both are -1.
    let (pages, written_back): (i64, i64) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        Ok((row.get(1)?, row.get(2)?))
    })?;
    let kept = (pages - written_back) * page;
    Ok((kept >= WAL_RETAINED_THRESHOLD).then(|| Alarm {
        kind: AlarmKind::WalRetained,
        subject: "write-ahead log".to_owned(),
        message: format!(
            "{} of the file beside the database, with the ending -wal, cannot be written back, and it grows on: some connection has \
             been reading or writing in one transaction for long. End that transaction, or the program that forgot it",
            bytes(kept)
        ),
        figure: Some(kept as f64),
    }))
}

/// Every route, with the highest sequence up to which it has settled everything.
fn routes(connection: &Connection) -> rusqlite::Result<Vec<(Behind, i64)>> {
    let sql = format!(
        "SELECT relay, name, is_run, seen, paused, halted, last_error, settled, \
                (SELECT unixepoch('subsec') - unixepoch(occurred_at, 'subsec') FROM onewrite_outbox \
                 WHERE sequence > settled ORDER BY sequence LIMIT 1) \
         FROM (SELECT route.relay, route.name, coalesce({LASTS}, false) AS is_run, \
                      unixepoch('subsec') - renewed_at AS seen, paused, halted, last_error, \
                      min(route.sequence, coalesce((SELECT min(each.value) - 1 FROM json_each(pending) AS each), route.sequence)) \
                          AS settled \
               FROM onewrite_route AS route LEFT JOIN onewrite_relay AS relay ON relay.name = route.relay) \
         ORDER BY relay, name"
    );
    let route = |row: &Row<'_>| {
        let behind = Behind {
            relay: row.get(0)?,
            route: row.get(1)?,
            is_run: row.get(2)?,
            seen_seconds_ago: row.get(3)?,
            paused: row.get(4)?,
            halted: row.get(5)?,
            last_error: row.get(6)?,
            seconds: row.get(8)?,
        };
        Ok((behind, row.get(7)?))
    };
    connection.prepare(&sql)?.query_map([], route)?.collect()
}

/// Rows that are past their time, and who keeps the oldest of them.
fn rows_kept(
    connection: &Connection,
    routes: &[(Behind, i64)],
    retention: Duration,
) -> rusqlite::Result<Option<Alarm>> {
    const OLDEST: &str = "SELECT sequence, coalesce(unixepoch('subsec') - unixepoch(occurred_at, 'subsec'), 0) \
                          FROM onewrite_outbox ORDER BY sequence LIMIT 1";
    const REPLAYS: &str = "\
        SELECT id FROM onewrite_replay AS replay WHERE finished_at IS NULL AND progress < ?1 \
        AND EXISTS (SELECT 1 FROM onewrite_route AS route WHERE route.relay = replay.relay AND route.name = replay.route)";
    let oldest = connection.query_row(OLDEST, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, f64>(1)?)));
    let Some((sequence, seconds)) = oldest.optional()? else {
        return Ok(None);
    };
    if seconds < (retention + REMOVAL_LATE_THRESHOLD).as_secs_f64() {
        return Ok(None);
    }
    let needing = routes.iter().filter(|(_, settled)| *settled < sequence);
    let mut reasons: Vec<String> = needing.map(|(behind, _)| behind.keeps()).collect();
    for id in connection
        .prepare(REPLAYS)?
        .query_map([sequence], |row| row.get::<_, i64>(0))?
    {
        let id = id?;
        reasons.push(format!(
            "replay {id} is not through with it; let its route go on, or give the replay up: \
             DELETE FROM onewrite_replay WHERE id = {id};"
        ));
    }
    Ok((!reasons.is_empty()).then(|| Alarm {
        kind: AlarmKind::SegmentBlocked,
        subject: "onewrite_outbox".to_owned(),
        message: format!(
            "rows from sequence {sequence} on should be deleted by now and are not; the oldest was recorded {} ago. Why: {}",
            age(seconds),
            first_few(&reasons)
        ),
        figure: Some(seconds),
    }))
}
