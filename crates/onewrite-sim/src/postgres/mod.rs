//! The simulated database read as PostgreSQL is: the real feed of `onewrite-sources`, with its snapshots of transaction numbers,
//! its windows and its way over the log. Simulated are the statements ([`table`]) and the reader of the log ([`tail`]).

mod registry;
mod table;
mod tail;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::routing::Share;
use onewrite_core::spread::Standing;
use onewrite_core::store::{Maintenance, RouteControl, RouteReport};
use onewrite_core::{Lease, Member, Outbox, Source, StoreError};
use onewrite_sources::postgres::feed::{Feed, Log};
use onewrite_testkit::memory::MemoryDatabase;

pub use registry::Registry;
use table::SimulatedTable;
use tail::Tail;

use crate::mutant::FeedBug;
use crate::process::Window;

/// A database as one process reads it.
pub struct SnapshotOutbox {
    /// What is read.
    pub database: MemoryDatabase,
    /// What the process sees of it.
    pub window: Window,
    /// The snapshots that were taken in this run.
    pub registry: Registry,
    /// Whether the log is followed.
    pub follows_log: bool,
    /// A bug that is planted.
    pub bug: Option<FeedBug>,
    /// By the epochs of leases.
    tails: Mutex<HashMap<i64, Weak<Tail>>>,
}

impl SnapshotOutbox {
    pub fn new(
        (database, registry): (&MemoryDatabase, &Registry),
        window: &Window,
        follows_log: bool,
        bug: Option<FeedBug>,
    ) -> Self {
        Self {
            database: database.clone(),
            window: window.clone(),
            registry: registry.clone(),
            follows_log,
            bug,
            tails: Mutex::default(),
        }
    }

    /// The reader of the log that the feeds of a lease share.
    fn tail(&self, lease: &Lease) -> Option<Arc<dyn Log>> {
        if !self.follows_log {
            return None;
        }
        let mut tails = self.tails.lock().expect("nobody panics while holding it");
        if let Some(tail) = tails.get(&lease.epoch).and_then(Weak::upgrade) {
            return Some(tail);
        }
        let tail = Arc::new(Tail::start(self, lease));
        tails.insert(lease.epoch, Arc::downgrade(&tail));
        Some(tail)
    }
}

#[async_trait]
impl Outbox for SnapshotOutbox {
    async fn claim(&self, member: &Member, group: u32, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        self.database.claim(member, group, ttl).await
    }

    async fn attend(&self, member: &Member, ttl: Duration) -> Result<Standing, StoreError> {
        self.database.attend(member, ttl).await
    }

    async fn leave(&self, member: &Member) -> Result<(), StoreError> {
        self.database.leave(member).await
    }

    async fn renew(
        &self,
        lease: &Lease,
        ttl: Duration,
        reports: &[RouteReport],
    ) -> Result<Vec<RouteControl>, StoreError> {
        self.database.renew(lease, ttl, reports).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.database.release(lease).await
    }

    async fn adopt(&self, lease: &Lease, shares: &[Share]) -> Result<(), StoreError> {
        self.database.adopt(lease, shares).await
    }

    async fn feed(&self, lease: &Lease, share: &Share) -> Result<Box<dyn Source>, StoreError> {
        let table = SimulatedTable::new(self, lease, share);
        Ok(Box::new(Feed::open(table, share, self.tail(lease)).await?))
    }

    async fn redeliveries(&self, lease: &Lease, share: &Share) -> Result<Box<dyn Source>, StoreError> {
        self.database.redeliveries(lease, share).await
    }

    async fn blocked_keys(&self, lease: &Lease, route: &str) -> Result<Vec<Arc<str>>, StoreError> {
        self.database.blocked_keys(lease, route).await
    }

    async fn halt(&self, lease: &Lease, route: &str, reason: &str) -> Result<(), StoreError> {
        self.database.halt(lease, route, reason).await
    }

    async fn maintain(&self, lease: &Lease) -> Result<Maintenance, StoreError> {
        self.database.maintain(lease).await
    }
}
