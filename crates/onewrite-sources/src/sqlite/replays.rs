//! Replays: events that are still in the outbox, delivered again.

use std::collections::{BTreeMap, BTreeSet};

use onewrite_core::routing::Share;
use onewrite_core::wire::HEADER_REPLAY;
use onewrite_core::{BatchLimit, Position, Sourced, StoreError};
use rusqlite::{Connection, Row, Transaction};

use super::redeliveries::Item;
use super::rows::{EVENT_COLUMNS, sourced};
use super::worker::Worker;

/// The replays of one share that are not finished.
#[derive(Default)]
pub(super) struct Replays {
    runs: BTreeMap<i64, Run>,
}

/// A replay under way.
#[derive(Debug)]
struct Run {
    up_to: i64,
    /// The last sequence read.
    cursor: i64,
    exhausted: bool,
    out: BTreeSet<i64>,
    /// Recorded as finished.
    finished: bool,
}

/// How far a replay is.
pub(super) struct ReplayProgress {
    id: i64,
    progress: i64,
    done: bool,
}

/// A request as it stands in the table.
struct Request {
    id: i64,
    up_to: i64,
    progress: i64,
}

impl ReplayProgress {
    /// Records it.
    pub fn record(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        const RECORD: &str = "UPDATE onewrite_replay SET progress = ?2, \
                              finished_at = CASE WHEN ?3 THEN strftime('%Y-%m-%dT%H:%M:%fZ', 'now') END WHERE id = ?1";
        transaction
            .prepare_cached(RECORD)?
            .execute((self.id, self.progress, self.done))
            .map(|_| ())
    }
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
            .retain(|id, _| requests.iter().any(|request| request.id == *id));
        for Request { id, up_to, progress } in requests {
            let run = self.runs.entry(id).or_insert_with(|| Run::new(up_to, progress));
            if run.exhausted {
                continue;
            }
            let (cursor, share) = (run.cursor, share.clone());
            let found = worker.run("reading events to replay", move |connection| {
                replayed(connection, &share, id, cursor, limit)
            });
            let found = found.await?;
            // Not sooner: a caller may drop the future before anything of what was found is handed out.
            run.exhausted = found.is_empty();
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(Vec::new())
    }

    /// Notes that an event is handed out.
    pub fn handed_out(&mut self, request: i64, sequence: i64) {
        if let Some(run) = self.runs.get_mut(&request) {
            run.out.insert(sequence);
            run.cursor = run.cursor.max(sequence);
        }
    }

    /// Notes that an event is settled.
    pub fn settled(&mut self, request: i64, sequence: i64) {
        if let Some(run) = self.runs.get_mut(&request) {
            run.out.remove(&sequence);
        }
    }

    /// Whether a replay came to its end without its last events being settled just now.
    pub fn any_to_finish(&self) -> bool {
        self.runs.values().any(|run| run.is_done() && !run.finished)
    }

    /// How far each is: all up to there is settled.
    pub fn progress(&self) -> Vec<ReplayProgress> {
        let progress = |(id, run): (&i64, &Run)| ReplayProgress {
            id: *id,
            progress: run.progress(),
            done: run.is_done(),
        };
        self.runs.iter().map(progress).collect()
    }

    /// Notes that the progress is recorded.
    pub fn recorded(&mut self) {
        for run in self.runs.values_mut() {
            run.finished = run.is_done();
        }
    }
}

impl Run {
    fn new(up_to: i64, progress: i64) -> Self {
        Self {
            up_to,
            cursor: progress,
            exhausted: false,
            out: BTreeSet::new(),
            finished: false,
        }
    }

    fn is_done(&self) -> bool {
        self.exhausted && self.out.is_empty()
    }

    fn progress(&self) -> i64 {
        match self.out.first() {
            Some(first) => first - 1,
            None if self.exhausted => self.up_to,
            None => self.cursor,
        }
    }
}

fn requests(connection: &mut Connection, relay: &str, route: &str) -> rusqlite::Result<Vec<Request>> {
    const REQUESTS: &str = "SELECT id, up_to, progress FROM onewrite_replay \
                            WHERE relay = ?1 AND route = ?2 AND finished_at IS NULL ORDER BY id";
    let request = |row: &Row<'_>| {
        Ok(Request {
            id: row.get(0)?,
            up_to: row.get(1)?,
            progress: row.get(2)?,
        })
    };
    connection
        .prepare_cached(REQUESTS)?
        .query_map((relay, route), request)?
        .collect()
}

fn replayed(
    connection: &mut Connection,
    share: &Share,
    request: i64,
    cursor: i64,
    limit: BatchLimit,
) -> rusqlite::Result<Vec<(Item, Sourced)>> {
    let columns = EVENT_COLUMNS
        .split(", ")
        .map(|column| format!("event.{column}"))
        .collect::<Vec<_>>()
        .join(", ");
    let sql = format!(
        "SELECT {columns}, event.sequence FROM onewrite_replay AS asked JOIN onewrite_outbox AS event \
         ON event.sequence > ?2 AND event.sequence <= asked.up_to \
         AND (asked.since IS NULL OR event.occurred_at >= asked.since) AND (asked.until IS NULL OR event.occurred_at < asked.until) \
         AND (asked.topic IS NULL OR event.topic = asked.topic) AND (asked.key IS NULL OR event.key = asked.key) \
         AND (asked.ids IS NULL OR event.id IN (SELECT value FROM json_each(asked.ids))) \
         WHERE asked.id = ?1 ORDER BY event.sequence"
    );
    let (mut found, mut bytes) = (Vec::new(), 0);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query((request, cursor))?;
    while found.len() < limit.events.max(1)
        && (bytes < limit.bytes || found.is_empty())
        && let Some(row) = rows.next()?
    {
        let mut event = sourced(row, 0, Position::new(0, 0))?;
        if share.takes(&event.event.topic, event.event.event_type.as_deref()) {
            event
                .event
                .headers
                .push((HEADER_REPLAY.into(), request.to_string().into()));
            bytes += event.event.payload.len();
            found.push((
                Item::Replayed {
                    request,
                    sequence: row.get(8)?,
                },
                event,
            ));
        }
    }
    Ok(found)
}
