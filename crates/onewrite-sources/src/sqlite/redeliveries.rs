//! What operators ask to be delivered again: parked events, the held ones behind them, and replays.

mod aside;
mod replays;

use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use onewrite_core::limits::REDELIVERY_WAIT;
use onewrite_core::routing::Share;
use onewrite_core::{BatchLimit, Lease, Parking, Position, Settlement, Source, Sourced, StoreError};

use self::replays::Replays;
pub(super) use self::replays::count;
use super::parking::{park, park_again};
use super::place::Place;
use super::worker::Worker;
use crate::runs::Look;

/// Hands out redeliveries under a route's share.
pub(super) struct Redeliveries {
    worker: Worker,
    lease: Lease,
    share: Share,
    replays: Replays,
    generation: u64,
    /// What was handed out and is not settled.
    out: BTreeMap<Position, Item>,
}

/// What stands behind a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    /// A row of `onewrite_parked_event`, by its number.
    Aside(i64),
    /// An event of a replay.
    Replayed { request: i64, sequence: i64 },
}

impl Redeliveries {
    /// Opens the redeliveries of `share`.
    pub async fn open(place: &Place, lease: &Lease, share: &Share) -> Result<Self, StoreError> {
        let worker = Worker::open(place).await?;
        worker.fenced("opening the redeliveries", lease, |_| Ok(())).await?;
        Ok(Self {
            worker,
            lease: lease.clone(),
            share: share.clone(),
            replays: Replays::default(),
            generation: 0,
            out: BTreeMap::new(),
        })
    }

    async fn read_aside(&self, limit: BatchLimit) -> Result<Vec<(Item, Sourced)>, StoreError> {
        let share = self.share.clone();
        let out: HashSet<i64> = self
            .out
            .values()
            .filter_map(|item| match item {
                Item::Aside(id) => Some(*id),
                Item::Replayed { .. } => None,
            })
            .collect();
        let read = self.worker.run("reading events to deliver again", move |connection| {
            aside::read(connection, &share, &out, limit)
        });
        read.await
    }

    /// Commits the fence and gives the events their positions. `look` is the look at a replay that found them.
    async fn hand_out(&mut self, found: Vec<(Item, Sourced)>, look: Option<Look>) -> Result<Vec<Sourced>, StoreError> {
        self.worker.fenced("fencing", &self.lease, |_| Ok(())).await?;
        self.generation += 1;
        if let Some(look) = look {
            self.replays.runs.looked(look);
        }
        let mut events = Vec::with_capacity(found.len());
        for (at, (item, mut sourced)) in found.into_iter().enumerate() {
            sourced.position = Position::new(self.generation, at as u64);
            self.out.insert(sourced.position, item);
            if let Item::Replayed { request, sequence } = item {
                self.replays.runs.handed_out(request, sequence);
            }
            events.push(sourced);
        }
        Ok(events)
    }

    /// Removes what was delivered and records how far the replays are, in one transaction.
    async fn record(&self, delivered: Vec<i64>) -> Result<(), StoreError> {
        const REMOVE: &str = "DELETE FROM onewrite_parked_event WHERE id = ?1 AND state IN ('retry', 'held')";
        let progress = self.replays.runs.progress().collect::<Vec<_>>();
        let record = self
            .worker
            .fenced("recording redeliveries", &self.lease, move |transaction| {
                let mut remove = transaction.prepare_cached(REMOVE)?;
                for id in delivered {
                    remove.execute([id])?;
                }
                progress.iter().try_for_each(|run| replays::record(transaction, run))
            });
        record.await
    }
}

#[async_trait]
impl Source for Redeliveries {
    async fn next_batch(&mut self, limit: BatchLimit) -> Result<Vec<Sourced>, StoreError> {
        let mut found = self.read_aside(limit).await?;
        let mut look = None;
        if found.is_empty() {
            (found, look) = self.replays.read(&self.worker, &self.share, limit).await?;
        }
        if !found.is_empty() {
            return self.hand_out(found, look).await;
        }
        if self.replays.runs.any_to_finish() {
            self.record(Vec::new()).await?;
            self.replays.runs.recorded();
        }
        Ok(Vec::new())
    }

    async fn wait(&mut self) {
        if !self.replays.is_behind() {
            tokio::time::sleep(REDELIVERY_WAIT).await;
        }
    }

    async fn settle(&mut self, settlement: &Settlement) -> Result<(), StoreError> {
        let Some(through) = settlement.through else {
            return Ok(());
        };
        let covered = self
            .out
            .range(..=through)
            .filter(|(at, _)| settlement.pending.binary_search(at).is_err());
        let settled: Vec<(Position, Item)> = covered.map(|(at, item)| (*at, *item)).collect();
        let mut delivered = Vec::new();
        for (_, item) in &settled {
            match item {
                Item::Aside(id) => delivered.push(*id),
                Item::Replayed { request, sequence } => self.replays.runs.settled(*request, *sequence),
            }
        }
        self.record(delivered).await?;
        self.replays.runs.recorded();
        for (position, _) in settled {
            self.out.remove(&position);
        }
        Ok(())
    }

    async fn park(&mut self, events: &[Parking]) -> Result<(), StoreError> {
        let items: Vec<(Item, Parking)> = events
            .iter()
            .filter_map(|parking| self.out.get(&parking.position).map(|item| (*item, parking.clone())))
            .collect();
        let again: Vec<Position> = items
            .iter()
            .filter_map(|(item, parking)| matches!(item, Item::Aside(_)).then_some(parking.position))
            .collect();
        let share = self.share.clone();
        let parked = self.worker.fenced("parking events", &self.lease, move |transaction| {
            items.iter().try_for_each(|(item, parking)| match item {
                Item::Aside(id) => park_again(transaction, &share, *id, parking),
                Item::Replayed { sequence, .. } => park(transaction, &share, *sequence, parking),
            })
        });
        parked.await?;
        // They stay, and their turns come again as soon as those of the others of their keys.
        for position in again {
            self.out.remove(&position);
        }
        Ok(())
    }
}
