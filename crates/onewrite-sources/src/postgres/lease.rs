//! The leases of a relay's groups, and the processes that share them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use onewrite_core::routing::Group;
use onewrite_core::spread::Standing;
use onewrite_core::store::{RouteControl, RouteReport};
use onewrite_core::{Lease, Member, StoreError, StoreFailure};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Row};

use super::error::failed;
use super::session::{BEGIN, Parameters, fenced, transaction};

/// How long a statement about a lease waits for a lock: a part of the lease's time, so that it can be tried again within that, and
/// between these. Whoever holds one for longer has stopped in the middle of something, and a relay that has given up would leave a
/// statement behind that waits on and keeps others waiting.
const LOCK_WAIT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
const LOCK_WAIT_PART: u32 = 4;

const TAKING: &str = "taking the lease";
const RENEWING: &str = "renewing the lease";
const ATTENDING: &str = "looking how groups are spread";

/// What statements about leases wait for.
const ROW: &str = "the lease's row in onewrite.relay";
const LAYOUT: &str = "the layout of the relay (an advisory lock of the class 1869506931)";

/// Keeps everybody else from giving out a lease of the relay `$1` and from changing its layout, until the transaction ends. The
/// advisory lock is of the class 1869506931, one above that of the keys' locks. (A row to lock is not there before the first lease.)
pub(super) const LOCK_LAYOUT: &str = "SELECT pg_advisory_xact_lock(1869506931, hashtext($1))";

/// Gives out a lease, unless somebody holds it or any of another layout; whoever held one of another layout is fenced then. An
/// epoch is never given out twice, so that it tells holders and groups of a relay apart. How the holder before found its events says
/// nothing of the new one; the slot stays written down, since it has to be dropped where it is not used any more.
const CLAIM: &str = concat!(
    "WITH relay_now AS (\
      SELECT coalesce(max(epoch), 0) AS last, \
             coalesce(bool_or(lane_groups <> $4 AND ",
    lasts!(),
    "), false) AS in_other_layout \
      FROM onewrite.relay WHERE name = $1), \
    fenced AS (\
      UPDATE onewrite.relay SET epoch = relay_now.last + 2 + lane_group, lane_groups = $4, holder = NULL, member = NULL, \
        expires_at = clock_timestamp(), feed = NULL, feed_reason = NULL \
      FROM relay_now WHERE name = $1 AND lane_groups <> $4 AND lane_group <> $3 AND NOT in_other_layout) \
    INSERT INTO onewrite.relay (name, lane_group, lane_groups, epoch, holder, member, renewed_at, expires_at) \
    SELECT $1, $3, $4, relay_now.last + 1, $2, $6, clock_timestamp(), clock_timestamp() + $5 * interval '1 second' \
    FROM relay_now WHERE NOT in_other_layout \
    ON CONFLICT (name, lane_group) DO UPDATE SET epoch = excluded.epoch, lane_groups = excluded.lane_groups, holder = excluded.holder, \
      member = excluded.member, renewed_at = excluded.renewed_at, expires_at = excluded.expires_at, \
      feed = NULL, feed_reason = NULL \
    WHERE (",
    lasts!(),
    ") IS NOT TRUE \
    RETURNING epoch"
);

/// See [`Outbox::claim`](onewrite_core::Outbox::claim).
pub(super) async fn claim(
    client: &Client,
    member: &Member,
    group: u32,
    ttl: Duration,
) -> Result<Option<Lease>, StoreError> {
    let (index, count, seconds) = (small(group), small(member.groups), ttl.as_secs_f64());
    let lock: Parameters<'_> = vec![(&member.relay, Type::TEXT)];
    let claim: Parameters<'_> = vec![
        (&member.relay, Type::TEXT),
        (&member.holder, Type::TEXT),
        (&index, Type::INT2),
        (&count, Type::INT2),
        (&seconds, Type::FLOAT8),
        (&member.id, Type::TEXT),
    ];
    let begin = begin(ttl);
    let claimed = transaction(client, &begin, async {
        // The second statement's snapshot is taken when the first has the lock.
        let (locked, rows) = futures::join!(
            client.execute_typed(LOCK_LAYOUT, &lock),
            client.query_typed(CLAIM, &claim)
        );
        let locked = locked.map_err(|error| waited(TAKING, LAYOUT, error));
        Ok(locked.and(rows.map_err(|error| waited(TAKING, ROW, error))))
    });
    let rows = claimed.await.map_err(|error| failed(TAKING, error))??;
    Ok(rows.first().map(|row| Lease {
        relay: member.relay.clone(),
        group: Group {
            index: group,
            count: member.groups,
        },
        holder: member.holder.clone(),
        epoch: row.get(0),
    }))
}

/// Renews a lease of the epoch `$2` for the holder `$9`, who is compared as well: where the database lost a claim or forgot the
/// relay, an epoch is given out again. Nobody waits for a route's row while having that of the lease: a report whose row is locked is
/// left out, and the answer says so. A route that has nothing new to tell is not written: every write leaves a dead row behind.
const RENEW: &str = "\
    WITH lease AS (UPDATE onewrite.relay SET renewed_at = clock_timestamp(), \
        expires_at = clock_timestamp() + $3 * interval '1 second' \
      WHERE name = $1 AND epoch = $2 AND holder = $9 RETURNING name, epoch), \
    free AS MATERIALIZED (SELECT route.relay, route.epoch, report.* \
      FROM lease, onewrite.route, unnest($4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::text[]) \
        AS report (name, state, delivered, failed, last_error) \
      WHERE route.relay = lease.name AND route.name = report.name AND route.epoch = lease.epoch \
        AND (report.delivered <> 0 OR report.failed <> 0 OR route.state <> report.state \
             OR route.last_error IS DISTINCT FROM report.last_error) \
      FOR NO KEY UPDATE OF route SKIP LOCKED), \
    reported AS (UPDATE onewrite.route SET state = free.state, delivered = route.delivered + free.delivered, \
        failed = route.failed + free.failed, last_error = free.last_error, updated_at = clock_timestamp() \
      FROM free WHERE route.relay = free.relay AND route.name = free.name AND route.epoch = free.epoch RETURNING route.name) \
    SELECT route.name, coalesce(bool_or(route.paused), false), min(route.halted), \
           coalesce(bool_or(route.name IN (SELECT name FROM reported)), false) \
    FROM lease LEFT JOIN onewrite.route ON route.relay = lease.name GROUP BY route.name ORDER BY route.name";

/// See [`Outbox::renew`](onewrite_core::Outbox::renew).
pub(super) async fn renew(
    client: &Client,
    lease: &Lease,
    ttl: Duration,
    (reports, unwritten): (&[RouteReport], &Unwritten),
) -> Result<Vec<RouteControl>, StoreError> {
    let reports = unwritten.with(lease, reports);
    let columns = ReportColumns::new(&reports);
    let seconds = ttl.as_secs_f64();
    let mut parameters: Parameters<'_> = vec![
        (&lease.relay, Type::TEXT),
        (&lease.epoch, Type::INT8),
        (&seconds, Type::FLOAT8),
    ];
    parameters.extend(columns.bind());
    parameters.push((&lease.holder, Type::TEXT));
    let begin = begin(ttl);
    let renewed = transaction(client, &begin, client.query_typed(RENEW, &parameters));
    let rows = renewed.await.map_err(|error| waited(RENEWING, ROW, error))?;
    if rows.is_empty() {
        return Err(fenced(lease));
    }
    let control = |row: &Row| {
        let route: Option<String> = row.get(0);
        let route = route?;
        if row.get(3) {
            unwritten.written(lease, &route);
        }
        Some(RouteControl {
            route,
            paused: row.get(1),
            halted: row.get(2),
        })
    };
    Ok(rows.iter().filter_map(control).collect())
}

/// What routes have reported and no answer says that it is written, by relay, group and route: deliveries and failures. Reports are
/// differences, so it goes with the next one.
#[derive(Default)]
pub(super) struct Unwritten(Mutex<HashMap<(String, u32, String), [u64; 2]>>);

impl Unwritten {
    /// Takes reports in, and returns them with what was there already.
    fn with(&self, lease: &Lease, reports: &[RouteReport]) -> Vec<RouteReport> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = |report: &RouteReport| {
            let key = (lease.relay.clone(), lease.group.index, report.route.clone());
            let [delivered, failed] = counts.entry(key).or_default();
            *delivered += report.delivered;
            *failed += report.failed;
            RouteReport {
                delivered: *delivered,
                failed: *failed,
                ..report.clone()
            }
        };
        reports.iter().map(&mut sum).collect()
    }

    fn written(&self, lease: &Lease, route: &str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.remove(&(lease.relay.clone(), lease.group.index, route.to_owned()));
    }
}

/// Reports as arrays.
struct ReportColumns<'a> {
    routes: Vec<&'a str>,
    states: Vec<&'a str>,
    delivered: Vec<i64>,
    failed: Vec<i64>,
    errors: Vec<Option<String>>,
}

impl<'a> ReportColumns<'a> {
    fn new(reports: &'a [RouteReport]) -> Self {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let words = |report: &RouteReport| report.last_error.as_ref().map(|words| words.replace('\0', "\u{fffd}"));
        Self {
            routes: reports.iter().map(|report| report.route.as_str()).collect(),
            states: reports.iter().map(|report| report.state.as_str()).collect(),
            delivered: reports.iter().map(|report| number(report.delivered)).collect(),
            failed: reports.iter().map(|report| number(report.failed)).collect(),
            errors: reports.iter().map(words).collect(),
        }
    }

    fn bind(&self) -> Parameters<'_> {
        vec![
            (&self.routes, Type::TEXT_ARRAY),
            (&self.states, Type::TEXT_ARRAY),
            (&self.delivered, Type::INT8_ARRAY),
            (&self.failed, Type::INT8_ARRAY),
            (&self.errors, Type::TEXT_ARRAY),
        ]
    }
}

/// Begins a transaction that waits for locks for a part of `ttl` alone.
fn begin(ttl: Duration) -> String {
    let (least, most) = LOCK_WAIT;
    let wait = (ttl / LOCK_WAIT_PART).clamp(least, most);
    format!("{BEGIN}; SET LOCAL lock_timeout = '{}ms'", wait.as_millis())
}

/// What went wrong, and what was waited for where that took too long.
fn waited(doing: &str, what: &str, error: Error) -> StoreError {
    if error.code() != Some(&SqlState::LOCK_NOT_AVAILABLE) {
        return failed(doing, error);
    }
    let words = format!("{doing}: another transaction has locked {what} and does not end; pg_locks shows which");
    StoreError::new(StoreFailure::Unavailable, words).because(error)
}

/// Writes down that a member lives, forgets those that do not, and tells how the groups are spread. What is read is from before.
const ATTEND: &str = concat!(
    "WITH present AS (\
      INSERT INTO onewrite.member (relay, id, holder, lane_groups, expires_at) \
      VALUES ($1, $2, $3, $4, clock_timestamp() + $5 * interval '1 second') \
      ON CONFLICT (relay, id) DO UPDATE SET lane_groups = excluded.lane_groups, expires_at = excluded.expires_at), \
    dead AS (DELETE FROM onewrite.member WHERE relay = $1 AND id <> $2 AND NOT (",
    lives!(),
    ")), \
    held AS (\
      SELECT lane_group, lane_groups, member, expires_at FROM onewrite.relay \
      WHERE name = $1 AND ",
    lasts!(),
    "), \
    others AS (\
      SELECT id FROM onewrite.member \
      WHERE relay = $1 AND id <> $2 AND lane_groups = $4 AND ",
    lives!(),
    ") \
    SELECT ARRAY(SELECT one FROM generate_series(0, $4 - 1) AS one WHERE one NOT IN (SELECT lane_group FROM held) ORDER BY one), \
           ARRAY(SELECT (SELECT count(*) FROM held WHERE held.member = others.id AND held.lane_groups = $4) FROM others), \
           (SELECT count(*) FROM others WHERE id COLLATE \"C\" < $2), \
           EXISTS (SELECT FROM held WHERE lane_groups <> $4), \
           (SELECT extract(epoch FROM min(expires_at) - clock_timestamp())::float8 FROM held WHERE member IS DISTINCT FROM $2)"
);

/// See [`Outbox::attend`](onewrite_core::Outbox::attend).
pub(super) async fn attend(client: &Client, member: &Member, ttl: Duration) -> Result<Standing, StoreError> {
    let (count, seconds) = (small(member.groups), ttl.as_secs_f64());
    let parameters: Parameters<'_> = vec![
        (&member.relay, Type::TEXT),
        (&member.id, Type::TEXT),
        (&member.holder, Type::TEXT),
        (&count, Type::INT2),
        (&seconds, Type::FLOAT8),
    ];
    let row = transaction(client, BEGIN, client.query_typed_one(ATTEND, &parameters)).await;
    let row = row.map_err(|error| failed(ATTENDING, error))?;
    let number = |number: i64| usize::try_from(number).unwrap_or_default();
    let free: Vec<i32> = row.get(0);
    let others: Vec<i64> = row.get(1);
    let next_expiry: Option<f64> = row.get(4);
    Ok(Standing {
        free: free.into_iter().map(i32::cast_unsigned).collect(),
        others: others.into_iter().map(number).collect(),
        rank: number(row.get(2)),
        other_layout: row.get(3),
        next_expiry: next_expiry.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()),
    })
}

/// See [`Outbox::leave`](onewrite_core::Outbox::leave).
pub(super) async fn leave(client: &Client, member: &Member) -> Result<(), StoreError> {
    const LEAVE: &str = "DELETE FROM onewrite.member WHERE relay = $1 AND id = $2";
    let parameters: Parameters<'_> = vec![(&member.relay, Type::TEXT), (&member.id, Type::TEXT)];
    let left = transaction(client, BEGIN, client.execute_typed(LEAVE, &parameters)).await;
    left.map(drop).map_err(|error| failed("leaving the relay", error))
}

/// A number of groups as the columns have it.
pub(super) fn small(number: u32) -> i16 {
    i16::try_from(number).unwrap_or(i16::MAX)
}
