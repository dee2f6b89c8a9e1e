//! Replays: events that are still in the outbox, delivered again.

use onewrite_core::routing::Share;
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
use crate::runs::{RunProgress, Runs};

const READING: &str = "reading events to replay";

/// Records how far replays are. `$1` to `$3` are relay, route and epoch.
pub(super) const RECORD: &str = concat!(
    "\
    UPDATE onewrite.replay SET progress = now.progress, finished_at = CASE WHEN now.done THEN clock_timestamp() END \
    FROM unnest($4::bigint[], $5::bigint[], $6::boolean[]) AS now (id, progress, done) \
    WHERE replay.id = now.id AND ",
    still_held!()
);

/// What the route `$11` of the relay `$10` has delivered. What it has not is left to its first delivery: handed out by a replay,
/// it would overtake the events of its key that come before it.
const DELIVERED: &str = "\
    (pg_visible_in_snapshot(xid, (SELECT floor_snapshot::pg_snapshot FROM onewrite.route WHERE relay = $10 AND name = $11)) \
     OR (sequence <= (SELECT window_sequence FROM onewrite.route WHERE relay = $10 AND name = $11) \
         AND pg_visible_in_snapshot(xid, (SELECT window_snapshot::pg_snapshot FROM onewrite.route WHERE relay = $10 AND name = $11)))) \
    AND sequence <> ALL ((SELECT pending FROM onewrite.route WHERE relay = $10 AND name = $11)::bigint[]) \
    AND NOT EXISTS (SELECT FROM onewrite.parked_event AS aside \
                    WHERE aside.relay = $10 AND aside.route = $11 AND aside.sequence = outbox.sequence)";

/// The replays of one share that are not finished.
pub(super) struct Replays {
    sql: String,
    filter: Filter,
    relay: String,
    route: String,
    decoder: Decoder,
    pub runs: Runs,
}

/// Columns for [`RECORD`].
pub(super) struct ReplayProgress {
    ids: Vec<i64>,
    progress: Vec<i64>,
    done: Vec<bool>,
}

impl ReplayProgress {
    pub fn of(runs: &Runs) -> Self {
        let column = |value: fn(RunProgress) -> i64| runs.progress().map(value).collect();
        Self {
            ids: column(|run| run.id),
            progress: column(|run| run.progress),
            done: runs.progress().map(|run| run.done).collect(),
        }
    }

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
        let filter = Filter::new(share, 12);
        let select = format!(
            "SELECT sequence, id, {EVENT_COLUMNS} FROM onewrite.outbox WHERE sequence > $3 AND sequence <= $4 \
             AND ($5::timestamptz IS NULL OR occurred_at >= $5) AND ($6::timestamptz IS NULL OR occurred_at < $6) \
             AND ($7::text IS NULL OR topic COLLATE \"C\" = $7) AND ($8::text IS NULL OR key COLLATE \"C\" = $8) \
             AND (coalesce(cardinality($9::uuid[]), 0) = 0 OR id = ANY($9)) AND {DELIVERED} AND {} ORDER BY sequence LIMIT $1",
            filter.sql
        );
        Self {
            sql: within_bytes(&select),
            filter,
            relay: share.relay.clone(),
            route: share.route.clone(),
            decoder: Decoder::default(),
            runs: Runs::default(),
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
            .keep_only(|id| requests.iter().any(|request| request.get::<_, i64>(0) == id));
        for request in &requests {
            let found = self.read_request(session, request, limit).await?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(Vec::new())
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
        let run = self.runs.of(id, up_to, progress);
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
            (&self.relay, Type::TEXT),
            (&self.route, Type::TEXT),
        ];
        self.filter.bind(&mut parameters);
        let read = session.client().query_typed(&self.sql, &parameters);
        let rows = session.transaction(READING, BEGIN_READING, read).await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut event = self.decoder.event(row, 1, Position::new(0, 0)).map_err(wrong)?;
            event.event.replay = Some(id);
            found.push((
                Item::Replayed {
                    request: id,
                    sequence: row.get(0),
                },
                event,
            ));
        }
        // Not sooner: a caller may drop the future before anything of what was found is handed out.
        run.exhausted = found.is_empty();
        Ok(found)
    }
}
