//! Removing what a run made, and what former runs that were killed left behind.

use std::sync::Arc;

use jiff::Timestamp;
use onewrite_core::error::chain;
use onewrite_core::verify::{ProvingGround, ReadBack, Run};
use onewrite_core::{Operations, StoreError};
use tokio::time::{Instant, sleep_until};

use super::limits::{FORGET_PATIENCE, FORGET_PAUSE, LEFT_BEHIND_AFTER};

/// What things are removed from.
pub struct Cleaner<'a> {
    /// The database with the events.
    pub ground: &'a dyn ProvingGround,
    /// The database with the relay.
    pub operations: &'a Arc<dyn Operations>,
    /// Where events may have arrived.
    pub destinations: Vec<&'a dyn ReadBack>,
}

/// A run that was interrupted by force.
#[derive(Debug, PartialEq, Eq)]
pub struct LeftBehind {
    /// The run.
    pub run: Run,
    /// Its relay.
    pub relay: String,
}

impl Cleaner<'_> {
    /// Removes all that a run made, the relay last: as long as it is recorded, the rest can be found. Returns what could not be
    /// removed, in words.
    pub async fn remove(&self, run: &Run, relay: &str) -> Vec<String> {
        let mut left = Vec::new();
        for destination in &self.destinations {
            if let Err(error) = destination.remove(&run.topic()).await {
                left.push(format!("{} at the broker: {}", run.topic(), chain(&error)));
            }
        }
        if let Err(error) = self.ground.remove(run).await {
            left.push(format!(
                "the events of {} in the outbox: {}",
                run.topic(),
                chain(&error)
            ));
        }
        if left.is_empty() {
            if let Err(error) = self.forget(relay).await {
                left.push(format!(
                    "the relay {relay:?} (`onewrite forget --relay {relay}`): {}",
                    chain(&error)
                ));
            }
        } else {
            left.push(format!(
                "the relay {relay:?}, by which the next run an hour from now finds the rest"
            ));
        }
        left
    }

    /// The runs that left something behind and are over for sure.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn left_behind(&self) -> Result<Vec<LeftBehind>, StoreError> {
        let status = self.operations.status().await?;
        let now = Timestamp::now();
        let relays = status.relays.into_iter().filter(|relay| relay.holder.is_none());
        let left = relays.filter_map(|relay| {
            let run = Run::of_relay(&relay.name)?;
            let over = now.duration_since(run.began).unsigned_abs() > LEFT_BEHIND_AFTER;
            over.then_some(LeftBehind { run, relay: relay.name })
        });
        Ok(left.collect())
    }

    /// Gives a relay up; the lease of one that was killed has to run out first.
    async fn forget(&self, relay: &str) -> Result<(), StoreError> {
        let deadline = Instant::now() + FORGET_PATIENCE;
        loop {
            match self.operations.forget(relay).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => sleep_until(Instant::now() + FORGET_PAUSE).await,
            }
        }
    }
}
