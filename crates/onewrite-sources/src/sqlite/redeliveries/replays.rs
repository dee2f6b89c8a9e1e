//! Replays: events that are still in the outbox, delivered again.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::ControlFlow;

use jiff::Timestamp;
use onewrite_core::limits::{REPLAY_COUNT_TIMEOUT, UNSETTLED_COUNT_MAX};
use onewrite_core::routing::Share;
use onewrite_core::{BatchLimit, Sourced, StoreError};
use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Row, Transaction};
use tokio::time::Instant;

use super::super::error::unreadable;
use super::super::progress::Progress;
use super::super::reading::{Stretch, read_listed, read_stretch};
use super::super::rows::{EVENT_WIDTH, is_taken, parse_time};
use super::super::worker::Worker;
use super::Item;
use crate::runs::{Look, RunProgress, Runs};

/// The replays of one share that are not finished.
#[derive(Default)]
pub(super) struct Replays {
    pub runs: Runs,
    is_behind: bool,
}

/// Events to hand out, and the look at a replay that found them.
pub(super) type Found = (Vec<(Item, Sourced)>, Option<Look>);

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
    /// The next events of the oldest request that has any to hand out, and the look that found them.
    pub async fn read(&mut self, worker: &Worker, share: &Share, limit: BatchLimit) -> Result<Found, StoreError> {
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
            let run = self.runs.of(request.id, request.up_to, request.progress);
            if run.is_exhausted() {
                continue;
            }
            let reading = Reading {
                look: run.look(request.id),
                waiting: run.waiting.iter().copied().collect(),
                request,
                share: share.clone(),
                limit,
            };
            let read = worker.run("reading events to replay", move |connection| reading.read(connection));
            let Seen { events, look, more } = read.await?;
            if !events.is_empty() {
                return Ok((events, Some(look)));
            }
            self.runs.looked(look);
            self.is_behind = more;
            if more {
                break;
            }
        }
        Ok((Vec::new(), None))
    }

    /// Whether the last look read over a stretch without finding anything, and there is more behind it.
    pub fn is_behind(&self) -> bool {
        self.is_behind
    }
}

/// What a look at one replay found.
struct Seen {
    events: Vec<(Item, Sourced)>,
    look: Look,
    /// Whether there may be more already.
    more: bool,
}

/// A look at one replay.
struct Reading {
    look: Look,
    /// What earlier looks passed over.
    waiting: Vec<i64>,
    request: Request,
    share: Share,
    limit: BatchLimit,
}

impl Reading {
    /// Reads what was passed over and is settled by now; where there is nothing, what lies beyond the cursor.
    fn read(mut self, connection: &mut Connection) -> rusqlite::Result<Seen> {
        // One snapshot for all: an event that is settled meanwhile shall not come before an earlier one of its key.
        let transaction = connection.transaction()?;
        let standings = Standings::of(&transaction, &self.share)?;
        let mut settled = Vec::new();
        for sequence in &self.waiting {
            match standings.of_sequence(*sequence)? {
                Standing::Settled => settled.push(*sequence),
                Standing::Waits => _ = self.look.pass_over(*sequence),
                Standing::Aside => {}
            }
        }
        let (events, more) = if settled.is_empty() {
            self.read_beyond(&transaction, &standings)?
        } else {
            let stretch = read_listed(&transaction, &settled, self.limit, 0, &self.share)?;
            // What there was no room for comes by the next look.
            let left = settled.iter().filter(|sequence| **sequence > stretch.cursor);
            left.for_each(|sequence| _ = self.look.pass_over(*sequence));
            (stretch.events, true)
        };
        let id = self.look.id;
        let replayed = |(sequence, mut sourced): (i64, Sourced)| {
            sourced.event.replay = Some(id);
            (Item::Replayed { request: id, sequence }, sourced)
        };
        Ok(Seen {
            events: events.into_iter().map(replayed).collect(),
            look: self.look,
            more,
        })
    }

    fn read_beyond(
        &mut self,
        connection: &Connection,
        standings: &Standings<'_>,
    ) -> rusqlite::Result<(Vec<(i64, Sourced)>, bool)> {
        let Self {
            look, request, share, ..
        } = self;
        let range = (look.through, request.up_to);
        let mut is_stopped = false;
        let wanted = |row: &Row<'_>, sequence| {
            if !is_taken(row, share)? || !request.wants(row)? {
                return Ok(ControlFlow::Continue(false));
            }
            let standing = standings.of_sequence(sequence)?;
            is_stopped = standing == Standing::Waits && !look.pass_over(sequence);
            Ok(if is_stopped {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(standing == Standing::Settled)
            })
        };
        let Stretch { events, cursor, more } = read_stretch(connection, range, self.limit, 0, wanted)?;
        let is_at_end = !more && !is_stopped;
        self.look.through = if is_at_end { range.0.max(range.1) } else { cursor };
        Ok((events, more))
    }
}

/// How an event of a replay stands, as far as is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Delivered: it is replayed.
    Settled,
    /// Not settled yet, or under retry: perhaps delivered, perhaps not.
    Waits,
    /// Set aside until a person decides, and left to its retry; or given up.
    Aside,
}

/// How events of a route stand. What is not settled is left to its first delivery: handed out by a replay, it would overtake the
/// events of its key that come before it.
struct Standings<'c> {
    progress: Progress,
    aside: RefCell<CachedStatement<'c>>,
    relay: String,
    route: String,
}

impl<'c> Standings<'c> {
    fn of(connection: &'c Connection, share: &Share) -> rusqlite::Result<Self> {
        const PROGRESS: &str = "SELECT sequence, pending FROM onewrite_route WHERE relay = ?1 AND name = ?2";
        // Whether an event that is set aside stays so until a person decides. One that was given up does.
        const ASIDE: &str = "\
            SELECT 1 FROM onewrite_skipped_event WHERE sequence = ?3 AND relay = ?1 UNION ALL \
            SELECT state = 'parked' OR (state = 'held' AND EXISTS (\
                SELECT 1 FROM onewrite_parked_event AS poison WHERE poison.relay = ?1 AND poison.route = ?2 \
                AND poison.key = aside.key AND poison.state = 'parked')) \
            FROM onewrite_parked_event AS aside WHERE relay = ?1 AND route = ?2 AND sequence = ?3";
        let (relay, route) = (share.relay.clone(), share.route.clone());
        let progress = connection.query_row(PROGRESS, (&relay, &route), |row| Progress::of_row(row, 0));
        Ok(Self {
            // A route that is gone has settled nothing.
            progress: progress.optional()?.unwrap_or_default(),
            aside: RefCell::new(connection.prepare_cached(ASIDE)?),
            relay,
            route,
        })
    }

    fn of_sequence(&self, sequence: i64) -> rusqlite::Result<Standing> {
        let mut aside = self.aside.borrow_mut();
        let aside = aside.query_row((&self.relay, &self.route, sequence), |row| row.get(0));
        let Progress {
            sequence: through,
            pending,
        } = &self.progress;
        Ok(match aside.optional()? {
            Some(true) => Standing::Aside,
            None if sequence <= *through && pending.binary_search(&sequence).is_err() => Standing::Settled,
            _ => Standing::Waits,
        })
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

/// How many events of a replay are beyond its progress, but for what is set aside or was given up; `None` when its route is gone, or counting them takes too long.
pub(in crate::sqlite) fn count(connection: &Connection, id: i64) -> rusqlite::Result<Option<i64>> {
    const REQUEST: &str = "\
        SELECT replay.id, up_to, progress, since, until, topic, key, ids, replay.relay, replay.route, definition \
        FROM onewrite_replay AS replay JOIN onewrite_route AS route ON route.relay = replay.relay AND route.name = replay.route \
        WHERE replay.id = ?1";
    // The columns of an event, but for the payload.
    const ROWS: &str = "SELECT id, topic, key, type, NULL, NULL, NULL, occurred_at, sequence FROM onewrite_outbox \
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
    let standings = Standings::of(connection, &share)?;
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
        let is_wanted = is_taken(row, &share)? && request.wants(row)?;
        count += i64::from(is_wanted && standings.of_sequence(row.get(EVENT_WIDTH)?)? != Standing::Aside);
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
