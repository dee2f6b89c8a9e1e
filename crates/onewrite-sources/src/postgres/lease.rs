//! The leases of a relay's groups, and the processes that share them.

use std::time::Duration;

use onewrite_core::routing::Group;
use onewrite_core::spread::Standing;
use onewrite_core::{Lease, Member};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

use super::session::{BEGIN, Parameters, transaction};

/// Keeps everybody else from giving out a lease of the relay `$1` and from changing its layout, until the transaction ends. The
/// advisory lock is of the class 1869506931, one above that of the keys' locks. (A row to lock is not there before the first lease.)
pub(super) const LOCK_LAYOUT: &str = "SELECT pg_advisory_xact_lock(1869506931, hashtext($1))";

/// Whether a row of `onewrite.relay` stands for a lease that lasts. One that was renewed in the future does not: the database's clock has
/// gone back since, and whoever is gone must not hold the lease for hours. Who lives renews it by the present clock within a second.
macro_rules! lasts {
    () => {
        "relay.holder IS NOT NULL AND relay.expires_at > clock_timestamp() \
         AND (relay.renewed_at > clock_timestamp() + interval '1 second') IS NOT TRUE"
    };
}

/// The same of a member, whose time is never longer than a lease can be (ten minutes).
macro_rules! lives {
    () => {
        "member.expires_at > clock_timestamp() AND member.expires_at < clock_timestamp() + interval '15 minutes'"
    };
}

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
pub(super) async fn claim(client: &Client, member: &Member, group: u32, ttl: Duration) -> Result<Option<Lease>, Error> {
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
    let rows = transaction(client, BEGIN, async {
        // The second statement's snapshot is taken when the first has the lock.
        let (locked, rows) = futures::join!(
            client.execute_typed(LOCK_LAYOUT, &lock),
            client.query_typed(CLAIM, &claim)
        );
        locked.and(rows)
    })
    .await?;
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
pub(super) async fn attend(client: &Client, member: &Member, ttl: Duration) -> Result<Standing, Error> {
    let (count, seconds) = (small(member.groups), ttl.as_secs_f64());
    let parameters: Parameters<'_> = vec![
        (&member.relay, Type::TEXT),
        (&member.id, Type::TEXT),
        (&member.holder, Type::TEXT),
        (&count, Type::INT2),
        (&seconds, Type::FLOAT8),
    ];
    let row = transaction(client, BEGIN, client.query_typed_one(ATTEND, &parameters)).await?;
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
pub(super) async fn leave(client: &Client, member: &Member) -> Result<(), Error> {
    const LEAVE: &str = "DELETE FROM onewrite.member WHERE relay = $1 AND id = $2";
    let parameters: Parameters<'_> = vec![(&member.relay, Type::TEXT), (&member.id, Type::TEXT)];
    let left = transaction(client, BEGIN, client.execute_typed(LEAVE, &parameters)).await;
    left.map(drop)
}

/// A number of groups as the columns have it.
pub(super) fn small(number: u32) -> i16 {
    i16::try_from(number).unwrap_or(i16::MAX)
}
