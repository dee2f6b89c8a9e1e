//! Which groups of lanes a process leads: it takes free ones, gives up what is too many, and hands all over when it is stopped.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Relay;
use crate::backoff::Backoff;
use crate::error::{StoreError, StoreFailure, chain};
use crate::failpoint;
use crate::limits::{BACKOFF_FIRST, BACKOFF_MAX};
use crate::routing::Group;
use crate::spread::{Move, Standing};
use crate::store::Lease;

impl Relay {
    /// Runs until `stop` is cancelled; then lets what is under way come to rest and gives its leases up. Everything that may
    /// pass is tried again for ever.
    ///
    /// # Errors
    /// When the database refuses what a relay cannot do without, and a person must change something first.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), StoreError> {
        let mut leads = Leads::default();
        let took_part = self.take_part(&mut leads, &stop).await;
        leads.led.values().for_each(|led| led.end.cancel());
        // As long as the others count on this process, they leave it what it gives up.
        let (_they_learn_it_in_time, ended) = tokio::join!(self.leave(), leads.end());
        took_part.and(ended)
    }

    /// Leads what is its share until it is stopped, or refused what it needs.
    async fn take_part(&self, leads: &mut Leads, stop: &CancellationToken) -> Result<(), StoreError> {
        let mut random = fastrand::Rng::new();
        let backoff = Backoff {
            first: BACKOFF_FIRST,
            max: BACKOFF_MAX,
        };
        let (mut failures, mut look_at) = (0, Instant::now());
        loop {
            // Everywhere in the engine the order of the branches is fixed, so that the same seed of a simulation runs the same way.
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(ended) = leads.running.join_next() => {
                    leads.ended(ended)?;
                    look_at = Instant::now() + self.interval();
                    continue;
                }
                () = sleep_until(look_at) => {}
            }
            let looked = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                looked = self.look(leads, stop) => looked,
            };
            look_at = Instant::now()
                + match looked {
                    Ok(wait) => {
                        failures = 0;
                        wait
                    }
                    Err(error) if error.failure == StoreFailure::Refused => return Err(error),
                    Err(error) => {
                        failures += 1;
                        let wait = backoff.delay(failures, &mut random);
                        tracing::warn!(error = %chain(&error), "the database cannot be reached; trying again in {wait:.1?}");
                        wait
                    }
                };
        }
    }

    /// Looks how the groups are spread, does what is to do, and returns when to look again.
    async fn look(&self, leads: &mut Leads, stop: &CancellationToken) -> Result<Duration, StoreError> {
        let member = self.as_member();
        let standing = match self.groups {
            1 => Standing::alone(!leads.led.is_empty()),
            _ => self.outbox.attend(&member, self.lease_ttl).await?,
        };
        leads.tell(
            self,
            standing.other_layout,
            "processes with another number of groups lead this relay; standing by until they have ended",
        );
        let interval = self.interval();
        match standing.next_move(leads.kept()) {
            Move::Stay => Ok(standing.look_again(interval)),
            Move::GiveUp => {
                leads.give_up();
                Ok(interval)
            }
            Move::Take(index) => {
                let lease = self.outbox.claim(&member, index, self.lease_ttl).await?;
                leads.tell(
                    self,
                    lease.is_none() && self.groups == 1,
                    "another process leads this relay; standing by",
                );
                match lease {
                    Some(lease) => {
                        failpoint::reach("lease.after");
                        leads.begin(self.clone(), lease, stop);
                        Ok(if self.groups == 1 { interval } else { Duration::ZERO })
                    }
                    None if self.groups == 1 => Ok(interval),
                    // Another process was faster.
                    None => Ok(standing.look_again(interval)),
                }
            }
        }
    }

    async fn leave(&self) {
        if self.groups == 1 {
            return;
        }
        // If they do not learn it, it counts as a member until its time runs out.
        let left = timeout(self.lease_ttl, self.outbox.leave(&self.as_member())).await;
        if let Ok(Err(error)) = left {
            tracing::debug!(error = %chain(&error), "the other processes could not be told that this one ends");
        }
    }
}

/// A group that is led under a lease.
struct LedGroup {
    /// Whose: a group that is lost may be taken anew before it is noticed that it is led no more.
    epoch: i64,
    end: CancellationToken,
}

/// How leading a group under a lease ended.
struct Ended {
    group: Group,
    epoch: i64,
    result: Result<(), StoreError>,
}

/// The groups that a process leads at present.
#[derive(Default)]
struct Leads {
    led: BTreeMap<u32, LedGroup>,
    running: JoinSet<Ended>,
    /// What was told last of why it stands by.
    told: Option<&'static str>,
}

impl Leads {
    /// How many it means to keep.
    fn kept(&self) -> usize {
        self.led.values().filter(|led| !led.end.is_cancelled()).count()
    }

    fn begin(&mut self, relay: Relay, lease: Lease, stop: &CancellationToken) {
        let (group, epoch) = (lease.group, lease.epoch);
        if group.is_all() {
            tracing::info!(relay = %lease.relay, epoch = lease.epoch, "this relay leads");
        } else {
            tracing::info!(relay = %lease.relay, epoch = lease.epoch, %group, "this process leads a group of lanes");
        }
        let end = stop.child_token();
        let led = LedGroup {
            epoch,
            end: end.clone(),
        };
        if let Some(before) = self.led.insert(group.index, led) {
            // It has another's lease by now, if it does not know of it yet.
            before.end.cancel();
        }
        self.running.spawn(async move {
            Ended {
                group,
                epoch,
                result: relay.lead(lease, &end).await,
            }
        });
    }

    /// Lets one group come to rest, so that another process can take it.
    fn give_up(&mut self) {
        if let Some((index, led)) = self.led.iter().rev().find(|(_, led)| !led.end.is_cancelled()) {
            tracing::info!(
                group = index,
                "another process leads fewer groups; this one is handed over"
            );
            led.end.cancel();
        }
    }

    /// Notes that a group is led no more.
    ///
    /// # Errors
    /// `Refused`, if that is why.
    fn ended(&mut self, ended: Result<Ended, JoinError>) -> Result<(), StoreError> {
        let Ended { group, epoch, result } = ended.map_err(|error| {
            StoreError::new(
                StoreFailure::Refused,
                "leading a group of lanes panicked; this is a bug",
            )
            .because(error)
        })?;
        if self.led.get(&group.index).is_some_and(|led| led.epoch == epoch) {
            self.led.remove(&group.index);
        }
        match result {
            Err(error) if error.failure == StoreFailure::Refused => Err(error),
            Err(error) => {
                tracing::warn!(error = %chain(&error), %group, "this relay no longer leads");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Waits until nothing is led any more.
    async fn end(&mut self) -> Result<(), StoreError> {
        let mut refused = Ok(());
        while let Some(ended) = self.running.join_next().await {
            refused = refused.and(self.ended(ended));
        }
        refused
    }

    /// Says why the process stands by, once for as long as it does.
    fn tell(&mut self, relay: &Relay, stands_by: bool, why: &'static str) {
        if !stands_by {
            self.told.take_if(|told| *told == why);
        } else if self.told.replace(why) != Some(why) {
            tracing::info!(relay = %relay.name, "{why}");
        }
    }
}
