//! Space that should be free by now, and a retention that does not fit.

use std::time::Duration;

use onewrite::schema::postgres::{Rotation, SEGMENTS};
use onewrite_core::alarm::{Alarm, AlarmKind, AlarmThresholds};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Row};

use super::super::maintain::{Need, needs};
use super::transactions::{PREPARED_LOCK, STATEMENT};
use crate::behind::Behind;
use crate::words::{age, bytes, first_few};

/// A segment that holds something.
struct Segment {
    name: String,
    bytes: i64,
    /// How many turns ago its own was: 0 is the one that is written to, 3 the next one.
    turns_ago: i64,
    /// Ages of its first and its last event.
    oldest_seconds: f64,
    newest_seconds: f64,
}

impl Segment {
    /// Whether it should be empty by now: a whole turn has passed in which it could have been emptied. After the length of turns
    /// was changed, its age alone tells that.
    fn is_due(&self, rotation: Rotation) -> bool {
        self.turns_ago >= 2 && self.oldest_seconds >= rotation.seconds().into()
    }
}

/// What is wrong with segments, rotation and retention.
pub(super) async fn alarms(
    client: &Client,
    retention: Duration,
    thresholds: &AlarmThresholds,
) -> Result<Vec<Alarm>, Error> {
    let rotation = onewrite::postgres::current_rotation(client).await?;
    let routes = routes(client).await?;
    let mut alarms: Vec<Alarm> = rotation_short(rotation, retention).into_iter().collect();
    alarms.extend(routes.iter().filter_map(|route| route.retention_short(retention)));
    for segment in segments(client, rotation).await? {
        let mut reasons = needed(client, &segment, &routes, rotation).await?;
        if reasons.is_empty() && segment.is_due(rotation) && segment.newest_seconds > retention.as_secs_f64() {
            reasons.extend(used(client, &segment.name, thresholds.segment_used).await?);
        }
        if !reasons.is_empty() {
            alarms.push(blocked(&segment, &reasons));
        }
    }
    Ok(alarms)
}

fn rotation_short(rotation: Rotation, retention: Duration) -> Option<Alarm> {
    if rotation.fits(retention) {
        return None;
    }
    let (kept, turn) = (age(retention.as_secs_f64()), age(rotation.seconds().into()));
    let fitting = age(Rotation::for_retention(retention).seconds().into());
    Some(Alarm {
        kind: AlarmKind::RotationShort,
        subject: "rotation".to_owned(),
        message: format!(
            "events are to be kept for {kept} (source.retention), but segments are written to by turns of {turn}, and two turns later \
             it is too late to empty one: none ever is, and the table grows for ever. `onewrite migrate` sets turns of {fitting}, \
             which fit; or lower source.retention"
        ),
        figure: None,
    })
}

/// How far every route is.
async fn routes(client: &Client) -> Result<Vec<Behind>, Error> {
    // Of a route with several groups the one that is farthest behind.
    const ROUTES: &str = concat!(
        "SELECT DISTINCT ON (r.relay, r.name) r.relay, r.name, coalesce(",
        lasts!(),
        ", false), \
               extract(epoch FROM clock_timestamp() - relay.renewed_at)::float8, r.paused, r.halted, r.last_error, \
               extract(epoch FROM clock_timestamp() - least(beyond.at, left_behind.at))::float8 AS seconds \
        FROM onewrite.route r LEFT JOIN onewrite.relay ON relay.name = r.relay AND relay.lane_group = r.lane_group \
        LEFT JOIN LATERAL (SELECT o.occurred_at AS at FROM onewrite.outbox o \
            WHERE o.sequence > greatest(r.floor_sequence, r.window_sequence) \
            AND o.xid >= pg_snapshot_xmax(r.floor_snapshot::pg_snapshot) ORDER BY o.sequence LIMIT 1) AS beyond ON true \
        LEFT JOIN LATERAL (SELECT min(o.occurred_at) AS at \
            FROM unnest(r.pending) AS place JOIN onewrite.outbox o ON o.sequence = place) AS left_behind ON true \
        ORDER BY r.relay, r.name, seconds DESC NULLS LAST"
    );
    let rows = client.query_typed(ROUTES, &[]).await?;
    let route = |row: &Row| Behind {
        relay: row.get(0),
        route: row.get(1),
        is_run: row.get(2),
        seen_seconds_ago: row.get(3),
        paused: row.get(4),
        halted: row.get(5),
        last_error: row.get(6),
        seconds: row.get(7),
    };
    Ok(rows.iter().map(route).collect())
}

async fn segments(client: &Client, rotation: Rotation) -> Result<Vec<Segment>, Error> {
    let mut segments = Vec::new();
    for place in 0..i64::from(SEGMENTS) {
        let name = format!("outbox_{place}");
        let look = format!(
            "SELECT pg_total_relation_size('onewrite.{name}'::regclass), \
             ((floor(extract(epoch FROM clock_timestamp()) / $1)::bigint - $2) % $3 + $3) % $3, \
             extract(epoch FROM clock_timestamp() - first.occurred_at)::float8, \
             extract(epoch FROM clock_timestamp() - last.occurred_at)::float8 \
             FROM (SELECT occurred_at FROM onewrite.{name} ORDER BY sequence LIMIT 1) AS first, \
                  (SELECT occurred_at FROM onewrite.{name} ORDER BY sequence DESC LIMIT 1) AS last"
        );
        let (seconds, segments_in_all) = (i64::from(rotation.seconds()), i64::from(SEGMENTS));
        let binds = [
            (&seconds as _, Type::INT8),
            (&place as _, Type::INT8),
            (&segments_in_all as _, Type::INT8),
        ];
        let row = client.query_typed_opt(&look, &binds).await?;
        segments.extend(row.map(|row| Segment {
            name,
            bytes: row.get(0),
            turns_ago: row.get(1),
            oldest_seconds: row.get(2),
            newest_seconds: row.get(3),
        }));
    }
    Ok(segments)
}

/// What still needs a segment that should be empty by now.
async fn needed(
    client: &Client,
    segment: &Segment,
    routes: &[Behind],
    rotation: Rotation,
) -> Result<Vec<String>, Error> {
    if segment.is_due(rotation) {
        let needs = needs(client, &segment.name).await?;
        return Ok(needs.iter().map(|need| by_need(need, routes)).collect());
    }
    let two_turns = f64::from(2 * rotation.seconds());
    if segment.turns_ago > 0 || segment.oldest_seconds <= two_turns {
        return Ok(Vec::new());
    }
    // Most of it is new. The rest is a leftover of its turn before, and only a route that is as far behind keeps that.
    let behind = |route: &&Behind| route.seconds.is_some_and(|seconds| seconds > two_turns);
    Ok(routes.iter().filter(behind).map(Behind::keeps).collect())
}

fn blocked(segment: &Segment, reasons: &[String]) -> Alarm {
    let growing = match segment.turns_ago {
        0 => " It is being written to again and grows on.",
        3 => " It is written to again next, and grows on then.",
        _ => "",
    };
    Alarm {
        kind: AlarmKind::SegmentBlocked,
        subject: format!("segment {}", segment.name),
        message: format!(
            "it should be empty by now and holds {}, the oldest event recorded {} ago.{growing} Why: {}",
            bytes(segment.bytes),
            age(segment.oldest_seconds),
            first_few(reasons)
        ),
        figure: Some(segment.bytes as f64),
    }
}

fn by_need(need: &Need, routes: &[Behind]) -> String {
    let find = |relay: &str, name: &str| routes.iter().find(|route| route.relay == relay && route.route == name);
    match need {
        Need::NothingRecorded => {
            "no route has recorded any progress, so nothing counts as settled; start a relay with `onewrite run`"
                .to_owned()
        }
        Need::Route { relay, route } => find(relay, route).map_or_else(
            || format!("route {route:?} of relay {relay:?} has not settled all of it"),
            Behind::keeps,
        ),
        Need::Replay { id, relay, route } => {
            let remedy = find(relay, route).map_or(String::new(), Behind::remedy);
            format!(
                "replay {id} of route {route:?} of relay {relay:?} is not through with it; {remedy}; or give the replay up: \
                 DELETE FROM onewrite.replay WHERE id = {id};"
            )
        }
    }
}

/// The transaction that has used the segment for longest, if any has for so long.
async fn used(client: &Client, segment: &str, least: Duration) -> Result<Option<String>, Error> {
    let user = format!(
        "SELECT l.pid, p.gid, coalesce(a.usename::text, p.owner::text, ''), coalesce(a.state, ''), {STATEMENT}, \
                extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, p.prepared))::float8 AS seconds \
         FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid \
         LEFT JOIN (pg_prepared_xacts p {PREPARED_LOCK}) ON l.pid IS NULL AND own.virtualtransaction = l.virtualtransaction \
         WHERE l.relation = 'onewrite.{segment}'::regclass AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid() \
         AND coalesce(coalesce(a.xact_start, p.prepared) < clock_timestamp() - make_interval(secs => $1), true) \
         ORDER BY coalesce(a.xact_start, p.prepared) LIMIT 1"
    );
    let seconds = least.as_secs_f64();
    let row = client.query_typed_opt(&user, &[(&seconds, Type::FLOAT8)]).await?;
    Ok(row.map(|row| {
        let (pid, prepared): (Option<i32>, Option<&str>) = (row.get(0), row.get(1));
        let (user, state, statement, since): (&str, &str, &str, Option<f64>) =
            (row.get(2), row.get(3), row.get(4), row.get(5));
        let since = since.map_or(String::new(), |seconds| format!(" for {}", age(seconds)));
        match (pid, prepared) {
            (Some(pid), _) => format!(
                "the transaction of pid {pid} (user {user}, {state}: {statement}) has used it{since}. Let it end, or end it: \
                 SELECT pg_terminate_backend({pid});"
            ),
            (None, name) => format!(
                "the prepared transaction {:?} of {user} has used it{since}. Have it ended, or: ROLLBACK PREPARED",
                name.unwrap_or_default()
            ),
        }
    }))
}
