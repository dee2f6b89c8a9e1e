//! Emptying segments of the outbox that nobody needs any more.

mod needs;

use std::time::Duration;

use onewrite::schema::postgres::SEGMENTS;
use onewrite_core::alarm::AlarmThresholds;
use onewrite_core::store::Maintenance;
use onewrite_core::{Lease, StoreError, failpoint};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

use super::alarms;
use super::error::failed;
use super::session::{BEGIN_READING, Parameters, fenced};

pub(super) use needs::{Need, needs};

const EMPTYING: &str = "looking for segments to empty";

/// Longest wait for a segment's lock: while it waits, new readers of the outbox wait behind it.
const LOCK: &str = "SET LOCAL lock_timeout = '200ms'";

/// See [`Outbox::maintain`](onewrite_core::Outbox::maintain).
pub(super) async fn maintain(client: Client, lease: &Lease, retention: Duration) -> Result<Maintenance, StoreError> {
    let wrong = |error: Error| failed(EMPTYING, error);
    let keeper = Keeper {
        client,
        lease,
        retention,
    };
    let current = keeper.current().await.map_err(wrong)?.ok_or_else(|| fenced(lease))?;
    let mut emptied = Vec::new();
    for segment in 0..i64::from(SEGMENTS) {
        // The next one is about to be written to again, and inserts that are under way may be late for this one.
        if segment == current || segment == (current + 1) % i64::from(SEGMENTS) {
            continue;
        }
        let name = format!("outbox_{segment}");
        if keeper.empty(&name).await.map_err(wrong)? {
            emptied.push(name);
        }
    }
    if !emptied.is_empty() {
        keeper.forget_skipped().await.map_err(wrong)?;
    }
    let alarms = alarms::look(&keeper.client, retention, &AlarmThresholds::default()).await?;
    Ok(Maintenance { emptied, alarms })
}

struct Keeper<'a> {
    client: Client,
    lease: &'a Lease,
    retention: Duration,
}

impl Keeper<'_> {
    /// Which segment is written to now; `None` when the lease is another's.
    async fn current(&self) -> Result<Option<i64>, Error> {
        const CURRENT: &str = "\
            SELECT floor(extract(epoch FROM clock_timestamp()) / value::bigint)::bigint % $3 \
            FROM onewrite.setting, onewrite.relay \
            WHERE setting.name = 'rotation_seconds' AND relay.name = $1 AND relay.epoch = $2";
        let segments = i64::from(SEGMENTS);
        let mut parameters = self.lease_parameters();
        parameters.push((&segments, Type::INT8));
        let row = self.client.query_typed_opt(CURRENT, &parameters).await?;
        Ok(row.map(|row| row.get(0)))
    }

    /// Empties a segment if it holds anything and all of it may go; `false` when it stays as it is.
    async fn empty(&self, segment: &str) -> Result<bool, Error> {
        // First without the lock, so that a look that takes long disturbs nobody.
        let Some(newest) = self.newest(segment).await? else {
            return Ok(false);
        };
        self.client.batch_execute(BEGIN_READING).await?;
        let needed = !needs(&self.client, segment).await?.is_empty();
        self.client.batch_execute("COMMIT").await?;
        if needed || self.is_recent(segment, 0).await? {
            return Ok(false);
        }
        self.client.batch_execute(BEGIN_READING).await?;
        let emptied = match self.empty_locked(segment, newest).await {
            // Somebody uses it. It is left for the next time, and if that lasts, an alarm tells who.
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => false,
            other => other?,
        };
        if !emptied {
            self.client.batch_execute("ROLLBACK").await?;
            return Ok(false);
        }
        failpoint::reach("truncate.before");
        self.client.batch_execute("COMMIT").await?;
        failpoint::reach("truncate.after");
        Ok(true)
    }

    /// The same once more under the lock, where nothing can be added: only then is the answer true. Each look here is a few
    /// probes of an index, however large the segment is, since every reader of the outbox waits meanwhile.
    async fn empty_locked(&self, segment: &str, newest: i64) -> Result<bool, Error> {
        let lock = format!("{LOCK}; LOCK TABLE ONLY onewrite.{segment} IN ACCESS EXCLUSIVE MODE");
        self.client.batch_execute(&lock).await?;
        let may_go = needs(&self.client, segment).await?.is_empty()
            && !self.is_recent(segment, newest).await?
            && self.note_end_of_history(segment).await?;
        if may_go {
            let truncate = format!("TRUNCATE ONLY onewrite.{segment}");
            self.client.batch_execute(&truncate).await?;
        }
        Ok(may_go)
    }

    /// Writes down up to where the outbox's history is gone with this segment; `false` when the lease is another's by now.
    async fn note_end_of_history(&self, segment: &str) -> Result<bool, Error> {
        let note = format!(
            "UPDATE onewrite.relay SET emptied_through = greatest(emptied_through, newest.sequence), \
             emptied_until = greatest(emptied_until, newest.occurred_at) \
             FROM (SELECT sequence, occurred_at FROM onewrite.{segment} ORDER BY sequence DESC LIMIT 1) AS newest \
             WHERE relay.name = $1 AND relay.epoch = $2"
        );
        Ok(self.client.execute_typed(&note, &self.lease_parameters()).await? > 0)
    }

    /// Forgets that events were skipped which are gone.
    async fn forget_skipped(&self) -> Result<(), Error> {
        const FORGET: &str = "DELETE FROM onewrite.skipped_event AS skipped WHERE NOT EXISTS \
                              (SELECT FROM onewrite.outbox WHERE outbox.sequence = skipped.sequence)";
        self.client.execute_typed(FORGET, &[]).await.map(|_| ())
    }

    fn lease_parameters(&self) -> Parameters<'_> {
        vec![(&self.lease.relay, Type::TEXT), (&self.lease.epoch, Type::INT8)]
    }

    /// The highest sequence in it; `None` when it is empty.
    async fn newest(&self, segment: &str) -> Result<Option<i64>, Error> {
        let sql = format!("SELECT max(sequence) FROM onewrite.{segment}");
        Ok(self.client.query_typed_one(&sql, &[]).await?.get(0))
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
