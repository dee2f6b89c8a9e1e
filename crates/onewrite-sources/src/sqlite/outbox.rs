//! The engine's view of an SQLite outbox: leases, controls, and the way to sources.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::options::Options;
use onewrite_core::routing::Share;
use onewrite_core::store::{Maintenance, RouteControl, RouteReport};
use onewrite_core::{Lease, Outbox, Source, StoreError};
use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use tokio::sync::OnceCell;

use super::feed::Feed;
use super::place::Place;
use super::redeliveries::Redeliveries;
use super::worker::Worker;

/// Rows that one deletion removes at the most: writers wait no longer than that takes.
const DELETE_ROWS: usize = 5_000;

/// Deletions in a row of one call of `maintain`.
const DELETE_ROUNDS: usize = 100;

/// [`Outbox`] for SQLite.
pub struct SqliteOutbox {
    place: Place,
    retention: Duration,
    worker: OnceCell<Worker>,
}

impl SqliteOutbox {
    /// Reads [`FIELDS`](super::FIELDS). It opens nothing yet.
    ///
    /// # Errors
    /// `Refused`, naming the key and what is wrong with it.
    pub fn from_options(options: &Options) -> Result<Self, StoreError> {
        Ok(Self {
            place: Place::from_options(options)?,
            retention: options.duration("retention").unwrap_or_default(),
            worker: OnceCell::new(),
        })
    }

    /// Where the file is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    async fn worker(&self) -> Result<&Worker, StoreError> {
        self.worker.get_or_try_init(|| Worker::open(&self.place)).await
    }
}

#[async_trait]
impl Outbox for SqliteOutbox {
    async fn acquire(&self, relay: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        const ACQUIRE: &str = "\
            INSERT INTO onewrite_relay (name, epoch, holder, renewed_at, expires_at) \
            VALUES (?1, 1, ?2, unixepoch('subsec'), unixepoch('subsec') + ?3) \
            ON CONFLICT (name) DO UPDATE SET epoch = epoch + 1, holder = excluded.holder, \
              renewed_at = excluded.renewed_at, expires_at = excluded.expires_at \
            WHERE holder IS NULL OR expires_at IS NULL OR expires_at <= unixepoch('subsec') RETURNING epoch";
        let (name, who, seconds) = (relay.to_owned(), holder.to_owned(), ttl.as_secs_f64());
        let acquire = self.worker().await?.run("taking the lease", move |connection| {
            connection
                .query_row(ACQUIRE, (name, who, seconds), |row| row.get(0))
                .optional()
        });
        let epoch = acquire.await?;
        Ok(epoch.map(|epoch| Lease {
            relay: relay.to_owned(),
            holder: holder.to_owned(),
            epoch,
        }))
    }

    async fn renew(
        &self,
        lease: &Lease,
        ttl: Duration,
        reports: &[RouteReport],
    ) -> Result<Vec<RouteControl>, StoreError> {
        let (relay, seconds, reports) = (lease.relay.clone(), ttl.as_secs_f64(), reports.to_vec());
        let renew = self
            .worker()
            .await?
            .fenced("renewing the lease", lease, move |transaction| {
                const RENEW: &str = "UPDATE onewrite_relay SET renewed_at = unixepoch('subsec'), \
                                 expires_at = unixepoch('subsec') + ?2 WHERE name = ?1";
                transaction.execute(RENEW, (&relay, seconds))?;
                report(transaction, &relay, &reports)?;
                controls(transaction, &relay)
            });
        renew.await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        const RELEASE: &str =
            "UPDATE onewrite_relay SET holder = NULL, expires_at = unixepoch('subsec') WHERE name = ?1 AND epoch = ?2";
        let (relay, epoch) = (lease.relay.clone(), lease.epoch);
        let release = self.worker().await?.run("releasing the lease", move |connection| {
            connection.execute(RELEASE, (relay, epoch))
        });
        release.await.map(|_| ())
    }

    async fn adopt(&self, lease: &Lease, shares: &[Share]) -> Result<(), StoreError> {
        let (relay, shares) = (lease.relay.clone(), shares.to_vec());
        self.worker()
            .await?
            .fenced("adopting the routes", lease, move |transaction| {
                adopt(transaction, &relay, &shares)
            })
            .await
    }

    async fn feed(&self, lease: &Lease, share: &Share) -> Result<Box<dyn Source>, StoreError> {
        Ok(Box::new(Feed::open(&self.place, lease, share).await?))
    }

    async fn redeliveries(&self, lease: &Lease, share: &Share) -> Result<Box<dyn Source>, StoreError> {
        Ok(Box::new(Redeliveries::open(&self.place, lease, share).await?))
    }

    async fn blocked_keys(&self, lease: &Lease, route: &str) -> Result<Vec<Arc<str>>, StoreError> {
        const KEYS: &str =
            "SELECT DISTINCT key FROM onewrite_parked_event WHERE relay = ?1 AND route = ?2 AND key IS NOT NULL";
        let (relay, route) = (lease.relay.clone(), route.to_owned());
        let keys = self.worker().await?.run("reading blocked keys", move |connection| {
            let key = |row: &Row<'_>| row.get::<_, String>(0).map(Arc::from);
            connection
                .prepare_cached(KEYS)?
                .query_map((relay, route), key)?
                .collect()
        });
        keys.await
    }

    async fn halt(&self, lease: &Lease, route: &str, reason: &str) -> Result<(), StoreError> {
        const HALT: &str = "UPDATE onewrite_route SET halted = ?3, state = 'halted' WHERE relay = ?1 AND name = ?2";
        let (relay, route, reason) = (lease.relay.clone(), route.to_owned(), reason.to_owned());
        let halt = self
            .worker()
            .await?
            .fenced("recording that the route halted", lease, move |transaction| {
                transaction.execute(HALT, (relay, route, reason))
            });
        halt.await.map(|_| ())
    }

    async fn maintain(&self, lease: &Lease) -> Result<Maintenance, StoreError> {
        let mut deleted = 0;
        for _ in 0..DELETE_ROUNDS {
            let retention = self.retention.as_secs_f64();
            let round = self
                .worker()
                .await?
                .fenced("deleting settled events", lease, move |transaction| {
                    delete_settled(transaction, retention)
                })
                .await?;
            deleted += round;
            if round < DELETE_ROWS {
                break;
            }
        }
        let emptied = if deleted == 0 {
            Vec::new()
        } else {
            vec![format!("onewrite_outbox of {deleted} events")]
        };
        Ok(Maintenance {
            emptied,
            blocked: Vec::new(),
        })
    }
}

fn report(transaction: &Transaction<'_>, relay: &str, reports: &[RouteReport]) -> rusqlite::Result<()> {
    const REPORT: &str = "UPDATE onewrite_route SET state = ?3, delivered = delivered + ?4, failed = failed + ?5, last_error = ?6, \
                          updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE relay = ?1 AND name = ?2";
    let mut statement = transaction.prepare_cached(REPORT)?;
    for report in reports {
        let (delivered, failed) = (report.delivered.cast_signed(), report.failed.cast_signed());
        statement.execute(params![
            relay,
            report.route,
            report.state.as_str(),
            delivered,
            failed,
            report.last_error
        ])?;
    }
    Ok(())
}

fn controls(transaction: &Transaction<'_>, relay: &str) -> rusqlite::Result<Vec<RouteControl>> {
    const CONTROLS: &str = "SELECT name, paused, halted FROM onewrite_route WHERE relay = ?1 ORDER BY name";
    let control = |row: &Row<'_>| {
        Ok(RouteControl {
            route: row.get(0)?,
            paused: row.get(1)?,
            halted: row.get(2)?,
        })
    };
    transaction
        .prepare_cached(CONTROLS)?
        .query_map([relay], control)?
        .collect()
}

/// See [`Outbox::adopt`].
fn adopt(transaction: &Transaction<'_>, relay: &str, shares: &[Share]) -> rusqlite::Result<()> {
    const RECORDED: &str = "SELECT name, definition, sequence, pending FROM onewrite_route WHERE relay = ?1";
    const ADOPT: &str = "INSERT INTO onewrite_route (relay, name, definition, sequence, pending) VALUES (?1, ?2, ?3, ?4, ?5) \
                         ON CONFLICT (relay, name) DO UPDATE SET definition = excluded.definition, \
                         sequence = excluded.sequence, pending = excluded.pending";
    let mut recorded: Vec<(String, String, i64, Vec<i64>)> = Vec::new();
    let mut statement = transaction.prepare(RECORDED)?;
    let mut rows = statement.query([relay])?;
    while let Some(row) = rows.next()? {
        let pending = serde_json::from_str(row.get_ref(3)?.as_str()?).unwrap_or_default();
        recorded.push((row.get(0)?, row.get(1)?, row.get(2)?, pending));
    }
    let floor = recorded.iter().map(|(_, _, sequence, _)| *sequence).min().unwrap_or(0);
    let mut pending: Vec<i64> = recorded
        .iter()
        .flat_map(|(_, _, _, pending)| pending)
        .copied()
        .collect();
    pending.retain(|sequence| *sequence <= floor);
    pending.sort_unstable();
    pending.dedup();
    let pending = serde_json::json!(pending).to_string();
    for share in shares {
        let definition = share.definition();
        if !recorded
            .iter()
            .any(|(name, recorded, ..)| *name == share.route && *recorded == definition)
        {
            transaction.execute(ADOPT, params![relay, share.route, definition, floor, pending])?;
        }
    }
    for (name, ..) in &recorded {
        if !shares.iter().any(|share| share.route == *name) {
            transaction.execute(
                "DELETE FROM onewrite_route WHERE relay = ?1 AND name = ?2",
                (relay, name),
            )?;
        }
    }
    Ok(())
}

/// Deletes some of what every route of every relay settled, no replay needs, and is past the retention.
fn delete_settled(transaction: &Transaction<'_>, retention_seconds: f64) -> rusqlite::Result<usize> {
    const DELETE: &str = "\
        WITH pending AS (SELECT value FROM onewrite_route, json_each(onewrite_route.pending)), \
        floor AS (SELECT min((SELECT min(sequence) FROM onewrite_route), \
          coalesce((SELECT min(progress) FROM onewrite_replay WHERE finished_at IS NULL), 9223372036854775807)) AS sequence) \
        DELETE FROM onewrite_outbox WHERE sequence IN (SELECT sequence FROM onewrite_outbox \
          WHERE sequence <= (SELECT sequence FROM floor) AND sequence NOT IN (SELECT value FROM pending) \
          AND occurred_at <= strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?1) ORDER BY sequence LIMIT ?2)";
    transaction.execute(DELETE, (format!("-{retention_seconds:.3} seconds"), DELETE_ROWS as i64))
}
