//! Replays: events that are still in the outbox, delivered again.

use std::collections::{BTreeMap, BTreeSet};

use onewrite_core::routing::Share;
use onewrite_core::wire::HEADER_REPLAY;
use onewrite_core::{BatchLimit, Position, Sourced, StoreError};
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

use super::super::error::failed;
use super::super::filter::Filter;
use super::super::reading::{limits, within_bytes};
use super::super::rows::{Decoder, EVENT_COLUMNS, Microseconds};
use super::super::session::{BEGIN, BEGIN_READING, Parameters, Session};
use super::Item;

const READING: &str = "reading events to replay";

/// Records how far replays are. `$1` to `$3` are relay, route and epoch.
pub(super) const RECORD: &str = concat!(
    "\
    UPDATE onewrite.replay SET progress = now.progress, finished_at = CASE WHEN now.done THEN clock_timestamp() END \
    FROM unnest($4::bigint[], $5::bigint[], $6::boolean[]) AS now (id, progress, done) \
    WHERE replay.id = now.id AND ",
    still_held!()
);

/// The replays of one share that are not finished.
pub(super) struct Replays {
    sql: String,
    filter: Filter,
    relay: String,
    route: String,
    decoder: Decoder,
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

/// Columns for [`RECORD`].
pub(super) struct ReplayProgress {
    ids: Vec<i64>,
    progress: Vec<i64>,
    done: Vec<bool>,
}

impl ReplayProgress {
    pub fn bind(&self) -> Parameters<'_> {
        vec![
            (&self.ids, Type::INT8_ARRAY),
            (&self.progress, Type::INT8_ARRAY),
            (&self.done, Type::BOOL_ARRAY),
        ]
    }
}

impl Replays {
    pub fn new(share: &Share) -> Self {
        let filter = Filter::new(share, 10);
        let select = format!(
            "SELECT sequence, id, {EVENT_COLUMNS} FROM onewrite.outbox WHERE sequence > $3 AND sequence <= $4 \
             AND ($5::timestamptz IS NULL OR occurred_at >= $5) AND ($6::timestamptz IS NULL OR occurred_at < $6) \
             AND ($7::text IS NULL OR topic COLLATE \"C\" = $7) AND ($8::text IS NULL OR key COLLATE \"C\" = $8) \
             AND (coalesce(cardinality($9::uuid[]), 0) = 0 OR id = ANY($9)) AND {} ORDER BY sequence LIMIT $1",
            filter.sql
        );
        Self {
            sql: within_bytes(&select),
            filter,
            relay: share.relay.clone(),
            route: share.route.clone(),
            decoder: Decoder::default(),
            runs: BTreeMap::new(),
        }
    }

    /// The next events of the oldest request that has any left.
    pub async fn read(&mut self, session: &Session, limit: BatchLimit) -> Result<Vec<(Item, Sourced)>, StoreError> {
        const REQUESTS: &str = "SELECT id, up_to, progress, since, until, topic, key, ids FROM onewrite.replay \
                                WHERE relay = $1 AND route = $2 AND finished_at IS NULL ORDER BY id";
        let parameters: Parameters<'_> = vec![(&self.relay, Type::TEXT), (&self.route, Type::TEXT)];
        let asked = session.client().query_typed(REQUESTS, &parameters);
        let requests = session.transaction("looking for replays", BEGIN, asked).await?;
        self.runs
            .retain(|id, _| requests.iter().any(|request| request.get::<_, i64>(0) == *id));
        for request in &requests {
            let found = self.read_request(session, request, limit).await?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(Vec::new())
    }

    pub fn handed_out(&mut self, request: i64, sequence: u64) {
        if let Some(run) = self.runs.get_mut(&request) {
            run.out.insert(sequence.cast_signed());
            run.cursor = run.cursor.max(sequence.cast_signed());
        }
    }

    pub fn settled(&mut self, request: i64, sequence: u64) {
        if let Some(run) = self.runs.get_mut(&request) {
            run.out.remove(&sequence.cast_signed());
        }
    }

    /// Whether a replay came to its end without its last events being settled just now.
    pub fn any_to_finish(&self) -> bool {
        self.runs.values().any(|run| run.is_done() && !run.finished)
    }

    /// How far each is: all up to there is settled.
    pub fn progress(&self) -> ReplayProgress {
        ReplayProgress {
            ids: self.runs.keys().copied().collect(),
            progress: self.runs.values().map(Run::progress).collect(),
            done: self.runs.values().map(Run::is_done).collect(),
        }
    }

    /// Notes that the progress is recorded.
    pub fn recorded(&mut self) {
        for run in self.runs.values_mut() {
            run.finished = run.is_done();
        }
    }

    async fn read_request(
        &mut self,
        session: &Session,
        request: &Row,
        limit: BatchLimit,
    ) -> Result<Vec<(Item, Sourced)>, StoreError> {
        let wrong = |error: Error| failed(READING, error);
        let id: i64 = request.try_get(0).map_err(wrong)?;
        let (up_to, progress): (i64, i64) = (request.get(1), request.get(2));
        let run = self.runs.entry(id).or_insert_with(|| Run::new(up_to, progress));
        if run.exhausted {
            return Ok(Vec::new());
        }
        let (events, bytes) = limits(limit);
        let (since, until): (Option<Microseconds>, Option<Microseconds>) = (request.get(3), request.get(4));
        let (topic, key): (Option<&str>, Option<&str>) = (request.get(5), request.get(6));
        let ids: Option<Vec<Uuid>> = request.get(7);
        let mut parameters: Parameters<'_> = vec![
            (&events, Type::INT8),
            (&bytes, Type::INT8),
            (&run.cursor, Type::INT8),
            (&run.up_to, Type::INT8),
            (&since, Type::TIMESTAMPTZ),
            (&until, Type::TIMESTAMPTZ),
            (&topic, Type::TEXT),
            (&key, Type::TEXT),
            (&ids, Type::UUID_ARRAY),
        ];
        self.filter.bind(&mut parameters);
        let read = session.client().query_typed(&self.sql, &parameters);
        let rows = session.transaction(READING, BEGIN_READING, read).await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut event = self.decoder.event(row, 1, Position::new(0, 0)).map_err(wrong)?;
            event.event.headers.push((HEADER_REPLAY.into(), id.to_string().into()));
            let sequence = row.get::<_, i64>(0).cast_unsigned();
            found.push((Item::Replayed { request: id, sequence }, event));
        }
        // Not sooner: a caller may drop the future before anything of what was found is handed out.
        run.exhausted = found.is_empty();
        Ok(found)
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
