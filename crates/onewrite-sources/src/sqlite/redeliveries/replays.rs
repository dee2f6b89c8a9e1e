//! Replays: events that are still in the outbox, delivered again.

use std::cell::RefCell;
use std::collections::HashSet;

use jiff::Timestamp;
use onewrite_core::limits::{REPLAY_COUNT_TIMEOUT, UNSETTLED_COUNT_MAX};
use onewrite_core::routing::Share;
use onewrite_core::{BatchLimit, Sourced, StoreError};
use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Row, Transaction};
use tokio::time::Instant;

use super::super::error::unreadable;
use super::super::reading::{Stretch, read_stretch};
use super::super::rows::{EVENT_WIDTH, is_taken, parse_time};
use super::super::worker::Worker;
use super::Item;
use crate::runs::{RunProgress, Runs};

/// The replays of one share that are not finished.
#[derive(Default)]
pub(super) struct Replays {
    pub runs: Runs,
    is_behind: bool,
}

/// A request as it stands in the table.
#[derive(Clone, Debug)]
struct Request {
    id: i64,
    up_to: i64,
    progress: i64,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    topic: Option<String>,
    key: Option<String>,
    /// In lower case.
    ids: Option<HashSet<String>>,
}

/// Records how far a replay is.
pub(super) fn record(transaction: &Transaction<'_>, run: &RunProgress) -> rusqlite::Result<()> {
    const RECORD: &str = "UPDATE onewrite_replay SET progress = ?2, \
                          finished_at = CASE WHEN ?3 THEN strftime('%Y-%m-%dT%H:%M:%fZ', 'now') END WHERE id = ?1";
    transaction
        .prepare_cached(RECORD)?
        .execute((run.id, run.progress, run.done))
        .map(|_| ())
}

impl Replays {
    /// The next events of the oldest request that has any left.
    pub async fn read(
        &mut self,
        worker: &Worker,
        share: &Share,
        limit: BatchLimit,
    ) -> Result<Vec<(Item, Sourced)>, StoreError> {
        let (relay, route) = (share.relay.clone(), share.route.clone());
        let requests = worker
            .run("looking for replays", move |connection| {
                requests(connection, &relay, &route)
            })
            .await?;
        self.runs
            .keep_only(|id| requests.iter().any(|request| request.id == id));
        self.is_behind = false;
        for request in requests {
            let found = self.read_request(worker, share, &request, limit).await?;
            if !found.is_empty() || self.is_behind {
                return Ok(found);
            }
        }
        Ok(Vec::new())
    }

    /// Whether the last look read over a stretch without finding anything, and there is more behind it.
    pub fn is_behind(&self) -> bool {
        self.is_behind
    }

    async fn read_request(
        &mut self,
        worker: &Worker,
        share: &Share,
        request: &Request,
        limit: BatchLimit,
    ) -> Result<Vec<(Item, Sourced)>, StoreError> {
        let id = request.id;
        let run = self.runs.of(id, request.up_to, request.progress);
        if run.exhausted {
            return Ok(Vec::new());
        }
        let (range, share, request) = ((run.cursor, run.up_to), share.clone(), request.clone());
        let read = worker.run("reading events to replay", move |connection| {
            let delivered = Delivered::of(connection, &share)?;
            let wanted = |row: &Row<'_>| {
                Ok(is_taken(row, &share)? && request.wants(row)? && delivered.has(row.get(EVENT_WIDTH)?)?)
            };
            read_stretch(connection, range, limit, 0, wanted)
        });
        let Stretch { events, cursor, more } = read.await?;
        if events.is_empty() {
            // Not sooner: a caller may drop the future before anything of what was found is handed out.
            run.cursor = cursor;
            run.exhausted = !more;
            self.is_behind = more;
        }
        let replayed = |(sequence, mut sourced): (i64, Sourced)| {
            sourced.event.replay = Some(id);
            (Item::Replayed { request: id, sequence }, sourced)
        };
        Ok(events.into_iter().map(replayed).collect())
    }
}

/// What a route has delivered. What it has not is left to its first delivery: handed out by a replay, it would overtake the
/// events of its key that come before it.
struct Delivered<'c> {
    through: i64,
    pending: HashSet<i64>,
    aside: RefCell<CachedStatement<'c>>,
    relay: String,
    route: String,
}

impl<'c> Delivered<'c> {
    fn of(connection: &'c Connection, share: &Share) -> rusqlite::Result<Self> {
        const PROGRESS: &str = "SELECT sequence, pending FROM onewrite_route WHERE relay = ?1 AND name = ?2";
        const ASIDE: &str = "SELECT 1 FROM onewrite_parked_event WHERE relay = ?1 AND route = ?2 AND sequence = ?3";
        let (relay, route) = (share.relay.clone(), share.route.clone());
        let progress = connection.query_row(PROGRESS, (&relay, &route), |row| {
            let pending = serde_json::from_str(row.get_ref(1)?.as_str()?).map_err(|error| unreadable(1, error))?;
            Ok((row.get(0)?, pending))
        });
        // A route that is gone has delivered nothing.
        let (through, pending) = progress.optional()?.unwrap_or_default();
        Ok(Self {
            through,
            pending,
            aside: RefCell::new(connection.prepare_cached(ASIDE)?),
            relay,
            route,
        })
    }

    fn has(&self, sequence: i64) -> rusqlite::Result<bool> {
        if sequence > self.through || self.pending.contains(&sequence) {
            return Ok(false);
        }
        let aside = self.aside.borrow_mut().exists((&self.relay, &self.route, sequence))?;
        Ok(!aside)
    }
}

impl Request {
    fn of_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let time = |column: usize| match row.get::<_, Option<String>>(column)? {
            Some(text) => text
                .parse()
                .map(Some)
                .map_err(|error: jiff::Error| unreadable(column, error)),
            None => Ok(None),
        };
        let ids = match row.get::<_, Option<String>>(7)? {
            Some(text) => Some(serde_json::from_str(&text).map_err(|error| unreadable(7, error))?),
            None => None,
        };
        Ok(Self {
            id: row.get(0)?,
            up_to: row.get(1)?,
            progress: row.get(2)?,
            since: time(3)?,
            until: time(4)?,
            topic: row.get(5)?,
            key: row.get(6)?,
            ids,
        })
    }

    /// Whether the event of a row is asked for.
    fn wants(&self, row: &Row<'_>) -> rusqlite::Result<bool> {
        let is = |column: usize, asked: &Option<String>| -> rusqlite::Result<bool> {
            Ok(match asked {
                Some(asked) => row.get_ref(column)? == ValueRef::Text(asked.as_bytes()),
                None => true,
            })
        };
        if !is(1, &self.topic)? || !is(2, &self.key)? {
            return Ok(false);
        }
        if let Some(ids) = &self.ids {
            let id = row.get_ref(0)?.as_str().unwrap_or_default().to_ascii_lowercase();
            if !ids.contains(&id) {
                return Ok(false);
            }
        }
        if self.since.is_none() && self.until.is_none() {
            return Ok(true);
        }
        let time = row.get_ref(7)?.as_str().ok().and_then(parse_time);
        Ok(time.is_some_and(|time| {
            self.since.is_none_or(|since| since <= time) && self.until.is_none_or(|until| time < until)
        }))
    }
}

/// How many events of a replay are beyond its progress; `None` when its route is gone, or counting them takes too long.
pub(in crate::sqlite) fn count(connection: &Connection, id: i64) -> rusqlite::Result<Option<i64>> {
    const REQUEST: &str = "\
        SELECT replay.id, up_to, progress, since, until, topic, key, ids, replay.relay, replay.route, definition \
        FROM onewrite_replay AS replay JOIN onewrite_route AS route ON route.relay = replay.relay AND route.name = replay.route \
        WHERE replay.id = ?1";
    // The columns of an event, but for the payload.
    const ROWS: &str = "SELECT id, topic, key, type, NULL, NULL, NULL, occurred_at FROM onewrite_outbox \
                        WHERE sequence > ?1 AND sequence <= ?2 ORDER BY sequence";
    let of_row = |row: &Row<'_>| {
        let (relay, route, definition): (String, String, String) = (row.get(8)?, row.get(9)?, row.get(10)?);
        Ok((
            Request::of_row(row)?,
            Share::from_definition(&relay, &route, &definition),
        ))
    };
    let Some((request, Some(share))) = connection.query_row(REQUEST, [id], of_row).optional()? else {
        return Ok(None);
    };
    let deadline = Instant::now() + REPLAY_COUNT_TIMEOUT;
    let mut statement = connection.prepare_cached(ROWS)?;
    let mut rows = statement.query((request.progress, request.up_to))?;
    let mut count = 0;
    while count < UNSETTLED_COUNT_MAX
        && let Some(row) = rows.next()?
    {
        if Instant::now() > deadline {
            return Ok(None);
        }
        count += i64::from(is_taken(row, &share)? && request.wants(row)?);
    }
    Ok(Some(count))
}

fn requests(connection: &mut Connection, relay: &str, route: &str) -> rusqlite::Result<Vec<Request>> {
    const REQUESTS: &str = "SELECT id, up_to, progress, since, until, topic, key, ids FROM onewrite_replay \
                            WHERE relay = ?1 AND route = ?2 AND finished_at IS NULL ORDER BY id";
    connection
        .prepare_cached(REQUESTS)?
        .query_map((relay, route), Request::of_row)?
        .collect()
}
