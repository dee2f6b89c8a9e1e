//! The engine's view of an SQLite outbox: leases, controls, and the way to sources.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::options::Options;
use onewrite_core::routing::{Group, Share};
use onewrite_core::spread::Standing;
use onewrite_core::store::{Maintenance, RouteControl, RouteReport};
use onewrite_core::{Lease, Member, Outbox, Source, StoreError, StoreFailure};
use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use tokio::sync::Mutex;

use super::feed::Feed;
use super::place::Place;
use super::redeliveries::Redeliveries;
use super::worker::{Worker, fenced_out};
use super::{adopt, maintain};

/// Why its events are in one group.
pub(crate) const NOT_SPREAD: &str = "an SQLite outbox is for one machine and is not spread over processes; leave groups at 1, by which several \
                                     processes of one name are an active one and its standbys";

/// Whether a row of `onewrite_relay` stands for a lease that lasts. One that was renewed in the future does not: the machine's clock has
/// gone back since, and whoever is gone must not hold the lease for hours. Who lives renews it by the present clock within a second.
pub(super) const LASTS: &str = "(holder IS NOT NULL AND expires_at > unixepoch('subsec') \
                                 AND (renewed_at > unixepoch('subsec') + 1) IS NOT TRUE)";

/// [`Outbox`] for SQLite.
pub struct SqliteOutbox {
    place: Place,
    retention: Duration,
    /// The connection of the small calls, opened anew after one that failed.
    worker: Mutex<Option<Arc<Worker>>>,
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
            worker: Mutex::new(None),
        })
    }

    /// Where the file is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    async fn worker(&self) -> Result<Arc<Worker>, StoreError> {
        let mut slot = self.worker.lock().await;
        if let Some(worker) = slot.as_ref().filter(|worker| !worker.is_broken()) {
            return Ok(worker.clone());
        }
        let worker = Arc::new(Worker::open(&self.place).await?);
        *slot = Some(worker.clone());
        Ok(worker)
    }
}

#[async_trait]
impl Outbox for SqliteOutbox {
    async fn claim(&self, member: &Member, _: u32, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        if member.groups > 1 {
            return Err(StoreError::new(StoreFailure::Refused, NOT_SPREAD));
        }
        let acquire = format!(
            "INSERT INTO onewrite_relay (name, epoch, holder, renewed_at, expires_at) \
             VALUES (?1, 1, ?2, unixepoch('subsec'), unixepoch('subsec') + ?3) \
             ON CONFLICT (name) DO UPDATE SET epoch = epoch + 1, holder = excluded.holder, \
               renewed_at = excluded.renewed_at, expires_at = excluded.expires_at \
             WHERE {LASTS} IS NOT TRUE RETURNING epoch"
        );
        let (name, who, seconds) = (member.relay.clone(), member.holder.clone(), ttl.as_secs_f64());
        let worker = self.worker().await?;
        let acquire = worker.run("taking the lease", move |connection| {
            connection
                .query_row(&acquire, (name, who, seconds), |row| row.get(0))
                .optional()
        });
        let epoch = acquire.await?;
        Ok(epoch.map(|epoch| Lease {
            relay: member.relay.clone(),
            group: Group::ALL,
            holder: member.holder.clone(),
            epoch,
        }))
    }

    async fn attend(&self, _: &Member, _: Duration) -> Result<Standing, StoreError> {
        Err(StoreError::new(StoreFailure::Refused, NOT_SPREAD))
    }

    async fn leave(&self, _: &Member) -> Result<(), StoreError> {
        Ok(())
    }

    async fn renew(
        &self,
        lease: &Lease,
        ttl: Duration,
        reports: &[RouteReport],
    ) -> Result<Vec<RouteControl>, StoreError> {
        let (relay, seconds, reports) = (lease.relay.clone(), ttl.as_secs_f64(), reports.to_vec());
        let worker = self.worker().await?;
        let renew = worker.fenced("renewing the lease", lease, move |transaction| {
            const RENEW: &str = "UPDATE onewrite_relay SET renewed_at = unixepoch('subsec'), \
                                     expires_at = unixepoch('subsec') + ?2 WHERE name = ?1 AND holder IS NOT NULL";
            if transaction.execute(RENEW, (&relay, seconds))? == 0 {
                return Ok(None);
            }
            report(transaction, &relay, &reports)?;
            controls(transaction, &relay).map(Some)
        });
        renew.await?.ok_or_else(|| fenced_out(lease))
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        const RELEASE: &str =
            "UPDATE onewrite_relay SET holder = NULL, expires_at = unixepoch('subsec') WHERE name = ?1 AND epoch = ?2";
        let (relay, epoch) = (lease.relay.clone(), lease.epoch);
        let worker = self.worker().await?;
        let release = worker.run("releasing the lease", move |connection| {
            connection.execute(RELEASE, (relay, epoch))
        });
        release.await.map(|_| ())
    }

    async fn adopt(&self, lease: &Lease, shares: &[Share]) -> Result<(), StoreError> {
        let (relay, shares) = (lease.relay.clone(), shares.to_vec());
        self.worker()
            .await?
            .fenced("adopting the routes", lease, move |transaction| {
                adopt::adopt(transaction, &relay, &shares)
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
        const KEYS: &str = "SELECT DISTINCT key FROM onewrite_parked_event \
                            WHERE relay = ?1 AND route = ?2 AND key IS NOT NULL";
        let (relay, route) = (lease.relay.clone(), route.to_owned());
        let worker = self.worker().await?;
        let keys = worker.run("reading blocked keys", move |connection| {
            // As the feed reads keys that are no texts: they are to be compared with those.
            let key = |row: &Row<'_>| Ok(Arc::from(String::from_utf8_lossy(row.get_ref(0)?.as_bytes()?)));
            connection
                .prepare_cached(KEYS)?
                .query_map((relay, route), key)?
                .collect()
        });
        keys.await
    }

    async fn halt(&self, lease: &Lease, route: &str, reason: &str) -> Result<(), StoreError> {
        const HALT: &str = "UPDATE onewrite_route SET halted = ?3, state = 'halted', \
                            updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE relay = ?1 AND name = ?2";
        let (relay, route, reason) = (lease.relay.clone(), route.to_owned(), reason.to_owned());
        let worker = self.worker().await?;
        let halt = worker.fenced("recording that the route halted", lease, move |transaction| {
            transaction.execute(HALT, (relay, route, reason))
        });
        halt.await.map(|_| ())
    }

    async fn maintain(&self, lease: &Lease) -> Result<Maintenance, StoreError> {
        // A connection of its own: while it waits for its turn, the lease can be renewed.
        let worker = Worker::open(&self.place).await?;
        maintain::maintain(&worker, lease, self.retention).await
    }
}

fn report(transaction: &Transaction<'_>, relay: &str, reports: &[RouteReport]) -> rusqlite::Result<()> {
    // A route that has nothing new to tell is not written.
    const REPORT: &str = "UPDATE onewrite_route SET state = ?3, delivered = delivered + ?4, failed = failed + ?5, last_error = ?6, \
                          updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE relay = ?1 AND name = ?2 \
                          AND (?4 <> 0 OR ?5 <> 0 OR state <> ?3 OR last_error IS NOT ?6)";
    let mut statement = transaction.prepare_cached(REPORT)?;
    for report in reports {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let (delivered, failed) = (number(report.delivered), number(report.failed));
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
