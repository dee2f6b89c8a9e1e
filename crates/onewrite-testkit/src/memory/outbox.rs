//! The database as the engine sees it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::routing::Share;
use onewrite_core::store::{Lease, Maintenance, RouteControl, RouteReport};
use onewrite_core::{Outbox, Source, StoreError};
use tokio::time::Instant;

use super::database::MemoryDatabase;
use super::feed::Feed;
use super::redeliveries::Redeliveries;
use super::state::{RouteRow, State};

#[async_trait]
impl Outbox for MemoryDatabase {
    async fn acquire(&self, relay: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        self.call(|state| {
            let now = Instant::now();
            let row = state.relays.entry(relay.to_owned()).or_default();
            if row.holder.is_some() && row.expires_at.is_some_and(|at| at > now) {
                return Ok(None);
            }
            row.epoch += 1;
            row.holder = Some(holder.to_owned());
            (row.renewed_at, row.expires_at) = (Some(now), Some(now + ttl));
            Ok(Some(Lease {
                relay: relay.to_owned(),
                holder: holder.to_owned(),
                epoch: row.epoch,
            }))
        })
        .await
    }

    async fn renew(
        &self,
        lease: &Lease,
        ttl: Duration,
        reports: &[RouteReport],
    ) -> Result<Vec<RouteControl>, StoreError> {
        self.call(|state| {
            state.fence(lease)?;
            let now = Instant::now();
            if let Some(row) = state.relays.get_mut(&lease.relay) {
                (row.renewed_at, row.expires_at) = (Some(now), Some(now + ttl));
            }
            for report in reports {
                let row = state.route(&lease.relay, &report.route)?;
                row.state = report.state;
                row.delivered += report.delivered;
                row.failed += report.failed;
                row.last_error.clone_from(&report.last_error);
            }
            let own = state.routes.iter().filter(|((relay, _), _)| *relay == lease.relay);
            let control = |((_, route), row): (&(String, String), &RouteRow)| RouteControl {
                route: route.clone(),
                paused: row.paused,
                halted: row.halted.clone(),
            };
            Ok(own.map(control).collect())
        })
        .await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.call(|state| {
            state.fence(lease)?;
            if let Some(row) = state.relays.get_mut(&lease.relay) {
                (row.holder, row.expires_at) = (None, None);
            }
            Ok(())
        })
        .await
    }

    async fn adopt(&self, lease: &Lease, shares: &[Share]) -> Result<(), StoreError> {
        self.call(|state| {
            state.fence(lease)?;
            adopt(state, lease, shares);
            Ok(())
        })
        .await?;
        self.changed();
        Ok(())
    }

    async fn feed(&self, lease: &Lease, share: &Share) -> Result<Box<dyn Source>, StoreError> {
        Ok(Box::new(Feed::open(self, lease, share).await?))
    }

    async fn redeliveries(&self, lease: &Lease, share: &Share) -> Result<Box<dyn Source>, StoreError> {
        Ok(Box::new(Redeliveries::open(self, lease, share).await?))
    }

    async fn blocked_keys(&self, lease: &Lease, route: &str) -> Result<Vec<Arc<str>>, StoreError> {
        self.call(|state| {
            state.fence(lease)?;
            let own = state
                .parked
                .values()
                .filter(|parked| parked.relay == lease.relay && parked.route == route);
            let keys: BTreeSet<&str> = own.filter_map(|parked| parked.row.plain.key.as_deref()).collect();
            Ok(keys.into_iter().map(Arc::from).collect())
        })
        .await
    }

    async fn halt(&self, lease: &Lease, route: &str, reason: &str) -> Result<(), StoreError> {
        self.call(|state| {
            state.fence(lease)?;
            state.route(&lease.relay, route)?.halted = Some(reason.to_owned());
            Ok(())
        })
        .await
    }

    /// Nothing is ever emptied: the whole history can be replayed.
    async fn maintain(&self, lease: &Lease) -> Result<Maintenance, StoreError> {
        self.call(|state| state.fence(lease)).await?;
        Ok(Maintenance::default())
    }
}

fn adopt(state: &mut State, lease: &Lease, shares: &[Share]) {
    let own = || {
        state
            .routes
            .iter()
            .filter(|((relay, _), _)| *relay == lease.relay)
            .map(|(_, row)| row)
    };
    let floor = own().map(|row| row.progress.floor).min().unwrap_or(0);
    // What is above the floor is read there.
    let pending: BTreeSet<u64> = own()
        .flat_map(|row| row.progress.pending.iter().copied())
        .filter(|sequence| state.rows.get(sequence).is_some_and(|row| row.commit <= floor))
        .collect();
    let mut adopted = Vec::new();
    for share in shares {
        let name = (lease.relay.clone(), share.route.clone());
        let taken = |sequence: &u64| state.rows.get(sequence).is_some_and(|row| row.is_taken_by(share));
        let fresh = || {
            RouteRow::new(
                share.definition(),
                floor,
                pending.iter().copied().filter(taken).collect(),
            )
        };
        let row = match state.routes.get(&name) {
            Some(row) if row.definition == share.definition() => row.clone(),
            Some(row) => RouteRow {
                paused: row.paused,
                halted: row.halted.clone(),
                delivered: row.delivered,
                failed: row.failed,
                ..fresh()
            },
            None => fresh(),
        };
        adopted.push((name, row));
    }
    state.routes.retain(|(relay, _), _| *relay != lease.relay);
    state.routes.extend(adopted);
}
