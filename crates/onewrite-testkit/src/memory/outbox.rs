//! The database as the engine sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::routing::{Group, Share};
use onewrite_core::spread::Standing;
use onewrite_core::store::{Lease, Maintenance, Member, RouteControl, RouteReport};
use onewrite_core::{Outbox, Source, StoreError};
use tokio::time::Instant;

use super::database::MemoryDatabase;
use super::feed::Feed;
use super::redeliveries::Redeliveries;
use super::state::{LeaseBug, MemberRow, RelayRow, RouteKey, RouteRow, State};

#[async_trait]
impl Outbox for MemoryDatabase {
    async fn claim(&self, member: &Member, group: u32, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        self.call(|state| Ok(claim(state, member, group, ttl))).await
    }

    async fn attend(&self, member: &Member, ttl: Duration) -> Result<Standing, StoreError> {
        self.call(|state| Ok(attend(state, member, ttl))).await
    }

    async fn leave(&self, member: &Member) -> Result<(), StoreError> {
        self.call(|state| {
            state.members.remove(&(member.relay.clone(), member.id.clone()));
            Ok(())
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
            if let Some(row) = state.relays.get_mut(&(lease.relay.clone(), lease.group.index)) {
                (row.renewed_at, row.expires_at) = (Some(now), Some(now + ttl));
            }
            for report in reports {
                let row = state.route(&lease.relay, &report.route, lease.group)?;
                row.state = report.state;
                row.delivered += report.delivered;
                row.failed += report.failed;
                row.last_error.clone_from(&report.last_error);
            }
            Ok(controls(state, &lease.relay))
        })
        .await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.call(|state| {
            state.fence(lease)?;
            if let Some(row) = state.relays.get_mut(&(lease.relay.clone(), lease.group.index)) {
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
            state.route(&lease.relay, route, lease.group)?.halted = Some(reason.to_owned());
            Ok(())
        })
        .await
    }

    async fn maintain(&self, lease: &Lease) -> Result<Maintenance, StoreError> {
        self.call(|state| {
            state.fence(lease)?;
            Ok(state.maintain())
        })
        .await
    }
}

fn claim(state: &mut State, member: &Member, group: u32, ttl: Duration) -> Option<Lease> {
    let now = Instant::now();
    let Member { relay, groups, .. } = member;
    let mixes = state.bug == Some(LeaseBug::MixesLayouts);
    if !mixes && state.leases(relay).any(|row| row.groups != *groups && row.is_held(now)) {
        return None;
    }
    let mut last = state.leases(relay).map(|row| row.epoch).max().unwrap_or(0);
    let key = (relay.clone(), group);
    if state.relays.get(&key).is_some_and(|row| row.is_held(now)) {
        return None;
    }
    last += 1;
    let lease = Lease {
        relay: relay.clone(),
        group: Group {
            index: group,
            count: *groups,
        },
        holder: member.holder.clone(),
        epoch: last,
    };
    // Whoever held a group in another layout may still believe that it does.
    for ((of, _), row) in &mut state.relays {
        if of == relay && row.groups != *groups && !mixes {
            last += 1;
            (row.epoch, row.groups, row.holder) = (last, *groups, None);
        }
    }
    let row = RelayRow {
        epoch: lease.epoch,
        groups: *groups,
        holder: Some(member.holder.clone()),
        member: member.id.clone(),
        renewed_at: Some(now),
        expires_at: Some(now + ttl),
    };
    state.relays.insert(key, row);
    Some(lease)
}

fn attend(state: &mut State, member: &Member, ttl: Duration) -> Standing {
    let now = Instant::now();
    let Member { relay, id, groups, .. } = member;
    let present = MemberRow {
        groups: *groups,
        expires_at: now + ttl,
    };
    state.members.insert((relay.clone(), id.clone()), present);
    state.members.retain(|_, row| row.expires_at > now);
    let same_layout = state.members.iter().filter(|(_, row)| row.groups == *groups);
    let live: Vec<&String> = same_layout.map(|((_, id), _)| id).collect();
    let held = || {
        state
            .leases(relay)
            .filter(|row| row.groups == *groups && row.is_held(now))
    };
    let is_free = |group: &u32| {
        let row = state.relays.get(&(relay.clone(), *group));
        !row.is_some_and(|row| row.is_held(now))
    };
    let of_others = held().filter(|row| row.member != *id);
    Standing {
        free: (0..*groups).filter(is_free).collect(),
        others: live
            .iter()
            .filter(|other| **other != id)
            .map(|other| held().filter(|row| row.member == **other).count())
            .collect(),
        rank: live.iter().take_while(|other| **other != id).count(),
        other_layout: state.bug != Some(LeaseBug::MixesLayouts)
            && state.leases(relay).any(|row| row.groups != *groups && row.is_held(now)),
        next_expiry: of_others.filter_map(|row| row.expires_at).min().map(|at| at - now),
    }
}

/// What is asked of each route; one that halted in a group is halted.
fn controls(state: &State, relay: &str) -> Vec<RouteControl> {
    let mut controls: BTreeMap<&str, RouteControl> = BTreeMap::new();
    for ((of, route, _), row) in &state.routes {
        if of != relay {
            continue;
        }
        let control = controls.entry(route).or_insert_with(|| RouteControl {
            route: route.clone(),
            paused: false,
            halted: None,
        });
        control.paused |= row.paused;
        control.halted = control.halted.take().or_else(|| row.halted.clone());
    }
    controls.into_values().collect()
}

fn adopt(state: &mut State, lease: &Lease, shares: &[Share]) {
    let own = state.routes.iter().filter(|((relay, _, _), _)| *relay == lease.relay);
    let recorded: BTreeMap<RouteKey, RouteRow> = own.map(|(key, row)| (key.clone(), row.clone())).collect();
    let is_current = !recorded.is_empty() && recorded.values().all(|row| row.groups == lease.group.count);
    let is_own = |(_, _, group): &RouteKey| !is_current || *group == lease.group.index;
    let groups: Vec<Group> = match is_current {
        true => vec![lease.group],
        false => Group::each(lease.group.count).collect(),
    };
    let before: BTreeMap<&RouteKey, &RouteRow> = recorded.iter().filter(|(key, _)| is_own(key)).collect();
    let beginning = Beginning::of(state, before.values().copied());
    let mut adopted = Vec::new();
    for share in groups
        .iter()
        .flat_map(|group| shares.iter().map(|share| share.in_group(*group)))
    {
        let key = (lease.relay.clone(), share.route.clone(), share.group.index);
        let row = match before.get(&key) {
            Some(row) if row.definition == share.definition() => (*row).clone(),
            _ => beginning.of_share(state, &share, &before, is_current),
        };
        adopted.push((key, row));
    }
    state.routes.retain(|key, _| key.0 != lease.relay || !is_own(key));
    state.routes.extend(adopted);
}

/// Where a route that is new or takes other events begins.
struct Beginning {
    floor: u64,
    pending: BTreeSet<u64>,
}

impl Beginning {
    /// The lowest of the recorded floors, with what is pending below it: what is above it is read there.
    fn of<'a>(state: &State, recorded: impl Iterator<Item = &'a RouteRow> + Clone) -> Self {
        let floor = recorded.clone().map(|row| row.progress.floor).min().unwrap_or(0);
        let below = |sequence: &u64| state.rows.get(sequence).is_some_and(|row| row.commit <= floor);
        let pending = recorded
            .flat_map(|row| row.progress.pending.iter().copied())
            .filter(below);
        Self {
            floor,
            pending: pending.collect(),
        }
    }

    /// The row of a share that begins here; what people asked of the route, and what it has done, is kept.
    fn of_share(
        &self,
        state: &State,
        share: &Share,
        before: &BTreeMap<&RouteKey, &RouteRow>,
        in_group: bool,
    ) -> RouteRow {
        let taken = |sequence: &u64| state.rows.get(sequence).is_some_and(|row| row.is_taken_by(share));
        let mut row = RouteRow::new(share, self.floor, self.pending.iter().copied().filter(taken).collect());
        for ((_, route, _), old) in before {
            if *route != share.route {
                continue;
            }
            row.paused |= old.paused;
            row.halted = row.halted.take().or_else(|| old.halted.clone());
            if in_group || share.group.index == 0 {
                row.delivered += old.delivered;
                row.failed += old.failed;
            }
        }
        row
    }
}
