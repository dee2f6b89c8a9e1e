//! How far back the outbox reaches, and the replays from it.

use onewrite_core::limits::REPLAY_SHOWN;
use onewrite_core::store::{ReplayStatus, Retained};
use rusqlite::{Connection, Row};

use super::super::error::unreadable;
use super::super::redeliveries::count;
use super::super::rows::parse_time;

/// How many replays a status lists at the most, the latest first: people ask for a handful.
const REPLAYS: i64 = 20;

/// How far back the outbox's history reaches without a gap.
pub(super) fn retained(connection: &Connection) -> rusqlite::Result<Retained> {
    const RETAINED: &str = "SELECT max(removed_until), coalesce(max(removed_through), 0) + 1 FROM onewrite_relay";
    connection.query_row(RETAINED, [], |row| {
        let since: Option<String> = row.get(0)?;
        Ok(Retained {
            since: since.as_deref().and_then(parse_time),
            from_sequence: row.get(1)?,
        })
    })
}

/// Replays that are not through, or were lately.
pub(super) fn replays(connection: &Connection) -> rusqlite::Result<Vec<ReplayStatus>> {
    const LISTED: &str = "\
        SELECT id, relay, route, events, requested_at, finished_at FROM onewrite_replay \
        WHERE finished_at IS NULL OR unixepoch(finished_at) > unixepoch() - ?1 \
        ORDER BY finished_at IS NULL DESC, id DESC LIMIT ?2";
    let mut statement = connection.prepare(LISTED)?;
    let replays = statement.query_map((REPLAY_SHOWN.as_secs_f64(), REPLAYS), replay)?;
    let mut replays = replays.collect::<rusqlite::Result<Vec<_>>>()?;
    for replay in replays.iter_mut().filter(|replay| replay.finished_at.is_none()) {
        replay.left = count(connection, replay.id)?;
    }
    replays.sort_by_key(|replay| replay.id);
    Ok(replays)
}

fn replay(row: &Row<'_>) -> rusqlite::Result<ReplayStatus> {
    let time = |column: usize| match row.get::<_, Option<String>>(column)? {
        Some(text) => text
            .parse()
            .map(Some)
            .map_err(|error: jiff::Error| unreadable(column, error)),
        None => Ok(None),
    };
    let finished_at = time(5)?;
    Ok(ReplayStatus {
        id: row.get(0)?,
        relay: row.get(1)?,
        route: row.get(2)?,
        events: row.get(3)?,
        left: finished_at.is_some().then_some(0),
        requested_at: time(4)?.unwrap_or_default(),
        finished_at,
    })
}
