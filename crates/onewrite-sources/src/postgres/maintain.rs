//! Emptying segments of the outbox that nobody needs any more.

use std::time::Duration;

use onewrite::schema::postgres::SEGMENTS;
use onewrite_core::store::Maintenance;
use onewrite_core::{Lease, StoreError};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Row};

use super::error::failed;
use super::session::{BEGIN, fenced};

const EMPTYING: &str = "looking for segments to empty";

/// Longest wait for a segment's lock: while it waits, new readers of the outbox wait behind it.
const LOCK: &str = "SET LOCAL lock_timeout = '200ms'";

/// See [`Outbox::maintain`](onewrite_core::Outbox::maintain).
pub(super) async fn maintain(client: Client, lease: &Lease, retention: Duration) -> Result<Maintenance, StoreError> {
    let wrong = |error: Error| failed(EMPTYING, error);
    let keeper = Keeper { client, retention };
    let clock = keeper.clock(lease).await.map_err(wrong)?.ok_or_else(|| fenced(lease))?;
    let mut maintenance = Maintenance::default();
    for segment in 0..i64::from(SEGMENTS) {
        // The next one is about to be written to again, and inserts that are under way may be late for this one.
        if segment == clock.current || segment == (clock.current + 1) % i64::from(SEGMENTS) {
            continue;
        }
        let name = format!("outbox_{segment}");
        match keeper.empty(&name).await.map_err(wrong)? {
            Outcome::Nothing => {}
            Outcome::Emptied => maintenance.emptied.push(name),
            Outcome::Blocked(by) => maintenance.blocked.push(format!("{name}: {by}")),
        }
    }
    if retention.as_secs() > 2 * clock.rotation {
        maintenance.blocked.push(format!(
            "events are to be kept for {} s, but segments are written to in turn every {} s and never get so old; \
             `onewrite migrate` can set a rotation of at least half the retention",
            retention.as_secs(),
            clock.rotation
        ));
    }
    Ok(maintenance)
}

struct Keeper {
    client: Client,
    retention: Duration,
}

struct Clock {
    current: i64,
    rotation: u64,
}

enum Outcome {
    Nothing,
    Emptied,
    Blocked(String),
}

impl Keeper {
    /// Which segment is written to now; `None` when the lease is another's.
    async fn clock(&self, lease: &Lease) -> Result<Option<Clock>, Error> {
        const CLOCK: &str = "\
            SELECT floor(extract(epoch FROM clock_timestamp()) / value::bigint)::bigint % $3, value::bigint \
            FROM onewrite.setting, onewrite.relay \
            WHERE setting.name = 'rotation_seconds' AND relay.name = $1 AND relay.epoch = $2";
        let segments = i64::from(SEGMENTS);
        let row = self
            .client
            .query_typed_opt(
                CLOCK,
                &[
                    (&lease.relay, Type::TEXT),
                    (&lease.epoch, Type::INT8),
                    (&segments, Type::INT8),
                ],
            )
            .await?;
        Ok(row.map(|row| Clock {
            current: row.get(0),
            rotation: row.get::<_, i64>(1).unsigned_abs(),
        }))
    }

    async fn empty(&self, segment: &str) -> Result<Outcome, Error> {
        // First without the lock, so that a look that takes long disturbs nobody.
        let Some(newest) = self.newest(segment).await? else {
            return Ok(Outcome::Nothing);
        };
        if let Some(needed) = self.needed(segment).await? {
            return Ok(Outcome::Blocked(needed));
        }
        if self.is_recent(segment, 0).await? {
            return Ok(Outcome::Nothing);
        }
        self.client.batch_execute(BEGIN).await?;
        let outcome = self.empty_locked(segment, newest).await;
        let end = if matches!(outcome, Ok(Outcome::Emptied)) {
            "COMMIT"
        } else {
            "ROLLBACK"
        };
        self.client.batch_execute(end).await?;
        outcome
    }

    /// The same once more under the lock, where nothing can be added: only then is the answer true.
    async fn empty_locked(&self, segment: &str, newest: i64) -> Result<Outcome, Error> {
        let lock = format!("{LOCK}; LOCK TABLE ONLY onewrite.{segment} IN ACCESS EXCLUSIVE MODE");
        match self.client.batch_execute(&lock).await {
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                let by = "a transaction that is still open uses it; it is emptied once that has ended".to_owned();
                return Ok(Outcome::Blocked(by));
            }
            other => other?,
        }
        if let Some(needed) = self.needed(segment).await? {
            return Ok(Outcome::Blocked(needed));
        }
        if self.is_recent(segment, newest).await? {
            return Ok(Outcome::Nothing);
        }
        self.client
            .batch_execute(&format!("TRUNCATE ONLY onewrite.{segment}"))
            .await?;
        Ok(Outcome::Emptied)
    }

    /// The highest sequence in it; `None` when it is empty.
    async fn newest(&self, segment: &str) -> Result<Option<i64>, Error> {
        let sql = format!("SELECT max(sequence) FROM onewrite.{segment}");
        Ok(self.client.query_typed_one(&sql, &[]).await?.get(0))
    }

    /// Who needs an event of it: a route of any relay, or a replay.
    async fn needed(&self, segment: &str) -> Result<Option<String>, Error> {
        let routes = format!(
            "SELECT relay, name FROM onewrite.route WHERE EXISTS (SELECT 1 FROM onewrite.{segment} \
             WHERE xid >= pg_snapshot_xmin(floor_snapshot::pg_snapshot) \
             AND NOT pg_visible_in_snapshot(xid, floor_snapshot::pg_snapshot)) \
             OR EXISTS (SELECT 1 FROM onewrite.{segment} WHERE sequence = ANY(pending)) ORDER BY relay, name LIMIT 1"
        );
        let replays = format!(
            "SELECT id FROM onewrite.replay WHERE finished_at IS NULL \
             AND progress < (SELECT max(sequence) FROM onewrite.{segment}) \
             AND up_to >= (SELECT min(sequence) FROM onewrite.{segment}) ORDER BY id LIMIT 1"
        );
        let none = "SELECT 1 FROM onewrite.route LIMIT 1";
        let (any, route, replay) = futures::try_join!(
            self.client.query_typed_opt(none, &[]),
            self.client.query_typed_opt(&routes, &[]),
            self.client.query_typed_opt(&replays, &[])
        )?;
        let by_route = |row: Row| {
            let (relay, route): (&str, &str) = (row.get(0), row.get(1));
            format!("route {route:?} of relay {relay:?} has not settled all of it")
        };
        let by_replay = |row: Row| format!("replay {} is not through with it", row.get::<_, i64>(0));
        let by_nobody = any.is_none().then(|| "no route has recorded any progress".to_owned());
        Ok(by_nobody.or(route.map(by_route)).or(replay.map(by_replay)))
    }

    /// Whether an event above this sequence is younger than the retention.
    async fn is_recent(&self, segment: &str, above: i64) -> Result<bool, Error> {
        if self.retention.is_zero() {
            return Ok(false);
        }
        let seconds = self.retention.as_secs_f64();
        // The newest is most likely to be young; that spares looking at all of them again and again.
        let recent = format!(
            "SELECT coalesce((SELECT occurred_at FROM onewrite.{segment} WHERE sequence > $2 ORDER BY sequence DESC LIMIT 1) \
             > clock_timestamp() - $1 * interval '1 second', false) \
             OR EXISTS (SELECT 1 FROM onewrite.{segment} WHERE sequence > $2 \
                        AND occurred_at > clock_timestamp() - $1 * interval '1 second')"
        );
        let row = self
            .client
            .query_typed_one(&recent, &[(&seconds, Type::FLOAT8), (&above, Type::INT8)])
            .await?;
        Ok(row.get(0))
    }
}
