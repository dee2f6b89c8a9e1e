//! Replays: events that are still in the outbox, delivered again.

use onewrite_core::routing::{Group, Share};
use onewrite_core::{BatchLimit, Position, Sourced, StoreError};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::super::asked::{SETTLED, WANTED, asked};
use super::super::error::failed;
use super::super::filter::Filter;
use super::super::reading::limits;
use super::super::rows::{Decoder, EVENT_COLUMNS, EVENT_RESULTS};
use super::super::session::{BEGIN, BEGIN_READING, Parameters, Session};
use super::Item;
use crate::runs::{Look, RunProgress, Runs};

const READING: &str = "reading events to replay";

/// Records how far replays are in a group. `$1` to `$3` are relay, route and epoch.
pub(super) fn record(group: Group) -> String {
    const NOW: &str = "FROM unnest($4::bigint[], $5::bigint[], $6::boolean[]) AS now (id, progress, done) WHERE replay.id = now.id AND";
    let held = still_held!();
    if group.is_all() {
        return format!(
            "UPDATE onewrite.replay SET progress = now.progress, \
             finished_at = CASE WHEN now.done THEN clock_timestamp() END {NOW} {held}"
        );
    }
    let (number, count) = (group.index + 1, group.count);
    // What is not recorded in a group is as far as the whole was when it was asked for, or when the groups changed.
    let least = format!(
        "(SELECT min(CASE WHEN one = {number} THEN now.progress ELSE coalesce(replay.group_progress[one], replay.progress) END) \
         FROM generate_series(1, {count}) AS one)"
    );
    format!(
        "UPDATE onewrite.replay SET group_progress[{number}] = now.progress, progress = {least}, \
         finished_at = CASE WHEN {least} >= up_to THEN clock_timestamp() END {NOW} {held}"
    )
}

/// How far a replay is in a group, as SQL.
fn progress(group: Group) -> String {
    match group.is_all() {
        true => "progress".to_owned(),
        false => format!("coalesce(group_progress[{}], progress)", group.index + 1),
    }
}

/// The replays of one share that are not finished.
pub(super) struct Replays {
    requests: String,
    sql: String,
    filter: Filter,
    relay: String,
    route: String,
    decoder: Decoder,
    pub runs: Runs,
}

/// Events to hand out, and the look at a replay that found them.
pub(super) type Found = (Vec<(Item, Sourced)>, Option<Look>);

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
        let filter = Filter::new(share, 6);
        Self {
            sql: sql(&filter.sql, share.group),
            requests: format!(
                "SELECT id, up_to, {} FROM onewrite.replay WHERE relay = $1 AND route = $2 AND finished_at IS NULL ORDER BY id",
                progress(share.group)
            ),
            filter,
            relay: share.relay.clone(),
            route: share.route.clone(),
            decoder: Decoder::default(),
            runs: Runs::default(),
        }
    }

    /// The next events of the oldest request that has any to hand out, and the look that found them.
    pub async fn read(&mut self, session: &Session, limit: BatchLimit) -> Result<Found, StoreError> {
        let parameters: Parameters<'_> = vec![(&self.relay, Type::TEXT), (&self.route, Type::TEXT)];
        let asked = session.client().query_typed(&self.requests, &parameters);
        let requests = session.transaction("looking for replays", BEGIN, asked).await?;
        self.runs
            .keep_only(|id| requests.iter().any(|request| request.get::<_, i64>(0) == id));
        for request in &requests {
            let found = self.look(session, request, limit).await?;
            match found {
                (events, Some(look)) if events.is_empty() => self.runs.looked(look),
                (_, None) => {}
                found => return Ok(found),
            }
        }
        Ok((Vec::new(), None))
    }

    async fn look(&mut self, session: &Session, request: &Row, limit: BatchLimit) -> Result<Found, StoreError> {
        let id: i64 = request.get(0);
        let run = self.runs.of(id, request.get(1), request.get(2));
        if run.is_exhausted() {
            return Ok((Vec::new(), None));
        }
        let (events, bytes) = limits(limit);
        let waiting: Vec<i64> = run.waiting.iter().copied().collect();
        let mut parameters: Parameters<'_> = vec![
            (&id, Type::INT8),
            (&events, Type::INT8),
            (&bytes, Type::INT8),
            (&run.cursor, Type::INT8),
            (&waiting, Type::INT8_ARRAY),
        ];
        self.filter.bind(&mut parameters);
        let read = session.client().query_typed(&self.sql, &parameters);
        let rows = session.transaction(READING, BEGIN_READING, read).await?;
        let (mut found, mut look, mut beyond) = (Vec::new(), run.look(id), 0);
        let mut is_cut = false;
        for row in &rows {
            let (sequence, is_settled, fits): (i64, bool, bool) = (row.get(0), row.get(9), row.get(10));
            let is_beyond = sequence > run.cursor;
            if is_settled && fits {
                let mut event = self
                    .decoder
                    .event(row, 1, Position::new(0, 0))
                    .map_err(|error| failed(READING, error))?;
                event.event.replay = Some(id);
                found.push((Item::Replayed { request: id, sequence }, event));
            } else if is_settled && is_beyond || !look.pass_over(sequence) {
                // There is no room for it, or for passing over more: the next look begins with it.
                is_cut = true;
                break;
            }
            if is_beyond {
                beyond += 1;
                look.through = sequence;
            }
        }
        if !is_cut && beyond < events {
            look.through = run.cursor.max(run.up_to);
        }
        Ok((found, Some(look)))
    }
}

/// Reads what was passed over, and then what lies beyond the cursor, in one snapshot: an event that is settled meanwhile shall not
/// come before an earlier one of its key. Rows that wait come without their payload, and so do those for which there is no room.
fn sql(takes: &str, group: Group) -> String {
    let asked = asked(group);
    let rows = format!("SELECT sequence, id, {EVENT_COLUMNS}, {SETTLED} AS settled FROM onewrite.outbox WHERE");
    let taken = format!("{WANTED} AND {takes}");
    let payload = "CASE WHEN settled AND before < $3 THEN payload END";
    let results = EVENT_RESULTS.replace("payload", payload);
    format!(
        "{asked} SELECT sequence, id, {results}, settled, before < $3 FROM (\
         SELECT arms.*, sum(bytes) OVER (ORDER BY sequence ROWS UNBOUNDED PRECEDING) - bytes AS before FROM (\
         SELECT passed_and_beyond.*, CASE WHEN settled THEN octet_length(payload) ELSE 0 END AS bytes \
         FROM asked CROSS JOIN LATERAL (({rows} sequence = ANY ($5) AND {taken}) \
         UNION ALL ({rows} sequence > $4 AND {taken} ORDER BY sequence LIMIT $2)) AS passed_and_beyond) AS arms) AS measured \
         ORDER BY sequence"
    )
}
