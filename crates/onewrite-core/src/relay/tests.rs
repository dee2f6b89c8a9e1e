//! Leases that are lost, and end, at awkward moments.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Mutex;

use async_trait::async_trait;
use tokio::time::{sleep_until, timeout};

use super::*;
use crate::routing::Group;
use crate::source::Source;
use crate::spread::Standing;
use crate::store::{Maintenance, RouteReport};

const TTL: Duration = Duration::from_secs(10);

/// A database that has leases and nothing else, and what befalls them.
#[derive(Default)]
struct Leases {
    state: Mutex<State>,
    befalls: Befalls,
}

#[derive(Default)]
struct State {
    last_epoch: i64,
    held: BTreeMap<u32, i64>,
    looks: usize,
    /// When each renewal was begun.
    renewals: Vec<Instant>,
    released: Vec<i64>,
}

#[derive(Default)]
struct Befalls {
    /// At this look for a share, which takes long, all leases go to others, and are given up at once.
    lost_at_look: usize,
    /// The holder of this epoch may not record its routes.
    refused: i64,
    /// How long the first renewal takes, and how long it takes to ask for blocked keys.
    slow: Duration,
    /// What the other renewals come to.
    renewal: Renewal,
}

#[derive(Default)]
enum Renewal {
    #[default]
    Done,
    /// It fails at once.
    NotConnected,
    NotAnswered,
}

impl Leases {
    fn fence(&self, lease: &Lease) -> Result<(), StoreError> {
        let state = self.state.lock().unwrap();
        if state.held.get(&lease.group.index) == Some(&lease.epoch) {
            return Ok(());
        }
        Err(StoreError::new(StoreFailure::Fenced, "the lease is another's"))
    }
}

#[async_trait]
impl Outbox for Leases {
    async fn claim(&self, member: &Member, group: u32, _: Duration) -> Result<Option<Lease>, StoreError> {
        let mut state = self.state.lock().unwrap();
        state.last_epoch += 1;
        let epoch = state.last_epoch;
        state.held.insert(group, epoch);
        Ok(Some(Lease {
            relay: member.relay.clone(),
            group: Group {
                index: group,
                count: member.groups,
            },
            holder: member.holder.clone(),
            epoch,
        }))
    }

    async fn attend(&self, member: &Member, _: Duration) -> Result<Standing, StoreError> {
        let look = {
            let mut state = self.state.lock().unwrap();
            state.looks += 1;
            state.looks
        };
        if look == self.befalls.lost_at_look {
            self.state.lock().unwrap().held.clear();
            sleep_until(Instant::now() + TTL / 2).await; // slow on purpose
        }
        let state = self.state.lock().unwrap();
        Ok(Standing {
            free: (0..member.groups)
                .filter(|group| !state.held.contains_key(group))
                .collect(),
            ..Standing::default()
        })
    }

    async fn leave(&self, _: &Member) -> Result<(), StoreError> {
        Ok(())
    }

    async fn renew(&self, lease: &Lease, _: Duration, _: &[RouteReport]) -> Result<Vec<RouteControl>, StoreError> {
        self.fence(lease)?;
        let number = {
            let mut state = self.state.lock().unwrap();
            state.renewals.push(Instant::now());
            state.renewals.len()
        };
        match self.befalls.renewal {
            _ if number == 1 => sleep_until(Instant::now() + self.befalls.slow).await, // slow on purpose
            Renewal::Done => {}
            Renewal::NotConnected => return Err(StoreError::new(StoreFailure::Unavailable, "connection refused")),
            Renewal::NotAnswered => pending().await,
        }
        Ok(Vec::new())
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.fence(lease)?;
        self.state.lock().unwrap().released.push(lease.epoch);
        Ok(())
    }

    async fn adopt(&self, lease: &Lease, _: &[Share]) -> Result<(), StoreError> {
        if lease.epoch == self.befalls.refused {
            return Err(StoreError::new(StoreFailure::Refused, "no grant"));
        }
        self.fence(lease)
    }

    async fn feed(&self, _: &Lease, _: &Share) -> Result<Box<dyn Source>, StoreError> {
        Err(StoreError::new(StoreFailure::Unavailable, "it has no events"))
    }

    async fn redeliveries(&self, lease: &Lease, share: &Share) -> Result<Box<dyn Source>, StoreError> {
        self.feed(lease, share).await
    }

    async fn blocked_keys(&self, _: &Lease, _: &str) -> Result<Vec<Arc<str>>, StoreError> {
        sleep_until(Instant::now() + self.befalls.slow).await; // slow on purpose
        Ok(Vec::new())
    }

    async fn halt(&self, _: &Lease, _: &str, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    async fn maintain(&self, _: &Lease) -> Result<Maintenance, StoreError> {
        Ok(Maintenance::default())
    }
}

fn relay(outbox: &Arc<Leases>, groups: u32) -> Relay {
    Relay {
        groups,
        lease_ttl: TTL,
        ..Relay::new("shop", "one", Vec::new(), outbox.clone())
    }
}

/// A group that is lost and taken anew while the process looks is led twice for a moment; what ends the second must stay known.
#[tokio::test(start_paused = true)]
async fn a_group_taken_anew_before_its_first_end_is_noticed_is_ended_with_the_others() {
    let outbox = Arc::new(Leases {
        befalls: Befalls {
            // Two take the groups, and the third finds that all is well.
            lost_at_look: 4,
            refused: 4,
            ..Befalls::default()
        },
        ..Leases::default()
    });
    let ended = timeout(10 * TTL, relay(&outbox, 2).run(CancellationToken::new())).await;
    let refused = ended.expect("it ends, since it was refused what it needs");
    assert_eq!(refused.unwrap_err().failure, StoreFailure::Refused);
    let state = outbox.state.lock().unwrap();
    assert_eq!(state.released, [3], "what it led beside the one that was refused");
}

/// Leads until that ends by itself; returns how long after the beginning of the last renewal that succeeded.
async fn ended_after(befalls: Befalls) -> Duration {
    let outbox = Arc::new(Leases {
        befalls,
        ..Leases::default()
    });
    let mut relay = relay(&outbox, 1);
    let blocking = RouteBehaviour {
        on_poison: OnPoison::BlockKey,
        ..RouteBehaviour::default()
    };
    relay.routes = vec![Route {
        name: "blocking".to_owned(),
        behaviour: blocking,
        ..unrouted()
    }];
    let lease = relay.outbox.acquire("shop", "one", TTL).await.unwrap().unwrap();
    let ended = timeout(10 * TTL, relay.lead(lease, &CancellationToken::new())).await;
    let lost = ended.expect("a lease that cannot be renewed runs out").unwrap_err();
    assert_eq!(lost.failure, StoreFailure::Unavailable, "{lost}");
    let renewed_at = outbox.state.lock().unwrap().renewals[0];
    renewed_at.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_lease_runs_out_even_where_each_renewal_fails_at_once() {
    let after = ended_after(Befalls {
        renewal: Renewal::NotConnected,
        ..Befalls::default()
    });
    assert_eq!(after.await, TTL);
}

#[tokio::test(start_paused = true)]
async fn a_lease_runs_out_counted_from_the_renewal_before_the_routes_began() {
    for renewal in [Renewal::NotConnected, Renewal::NotAnswered] {
        let after = ended_after(Befalls {
            slow: TTL / 2,
            renewal,
            ..Befalls::default()
        });
        assert_eq!(after.await, TTL);
    }
}
