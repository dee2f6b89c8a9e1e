//! The source of what operators ask to be delivered again.

use std::collections::BTreeMap;

use async_trait::async_trait;
use onewrite_core::routing::{Share, UNROUTED};
use onewrite_core::{BatchLimit, Lease, Parking, Position, Settlement, Source, Sourced, StoreError};

use super::changes::Watcher;
use super::database::MemoryDatabase;
use super::feed::{Room, set_aside, words};
use super::state::{Aside, ParkedRow, ReplayRow, Row, Standing, State};

/// Hands out parked events under retry, held events that nothing blocks any more, and replays.
pub(super) struct Redeliveries {
    database: MemoryDatabase,
    changes: Watcher,
    lease: Lease,
    share: Share,
    generation: u64,
    /// What was handed out and is not settled.
    out: BTreeMap<Position, Item>,
}

/// What stands behind a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    /// An event that is set aside, by its number.
    Aside(i64),
    Replayed {
        request: i64,
        sequence: u64,
    },
}

impl Redeliveries {
    pub async fn open(database: &MemoryDatabase, lease: &Lease, share: &Share) -> Result<Self, StoreError> {
        database.call(|state| state.fence(lease)).await?;
        Ok(Self {
            changes: database.changes(),
            database: database.clone(),
            lease: lease.clone(),
            share: share.clone(),
            generation: 0,
            out: BTreeMap::new(),
        })
    }

    fn read(&mut self, state: &State, limit: BatchLimit) -> Vec<Sourced> {
        let mut found: Vec<(u64, Item, &Row)> = Vec::new();
        for (id, parked) in &state.parked {
            if !self.is_out(*id) && self.is_due(state, parked) {
                found.push((parked.sequence, Item::Aside(*id), &parked.row));
            }
        }
        found.sort_by_key(|(sequence, _, _)| *sequence);
        self.find_replayed(state, &mut found);
        self.generation += 1;
        let mut room = Room::new(limit);
        let mut events = Vec::new();
        for (at, (_, item, row)) in found.into_iter().enumerate() {
            if !room.is_left() {
                break;
            }
            room.take(row);
            let position = Position::new(self.generation, at as u64);
            let mut sourced = row.sourced(position);
            if let Item::Replayed { request, .. } = item {
                sourced.event.replay = Some(request);
            }
            self.out.insert(position, item);
            events.push(sourced);
        }
        events
    }

    fn is_out(&self, id: i64) -> bool {
        self.out.values().any(|item| *item == Item::Aside(id))
    }

    fn is_due(&self, state: &State, parked: &ParkedRow) -> bool {
        let Share { relay, route, .. } = &self.share;
        if parked.relay != *relay || !parked.row.plain.is_in(self.share.group) {
            return false;
        }
        match parked.state {
            Aside::Parked => false,
            Aside::Retry if route == UNROUTED || parked.route == UNROUTED => {
                parked.route == UNROUTED && parked.row.is_taken_by(&self.share)
            }
            Aside::Retry => parked.route == *route,
            Aside::Held => parked.route == *route && !state.is_blocked(parked),
        }
    }

    fn owns(&self, replay: &ReplayRow) -> bool {
        (&replay.request.relay, &replay.request.route) == (&self.share.relay, &self.share.route)
    }

    /// Passes over what is set aside: replays are through without it.
    fn pass_over(&self, state: &mut State) {
        let is_passed = |standing| standing == Standing::Aside || (standing == Standing::Waits && state.hasty_replays);
        let own = state.replays.iter().filter(|(_, replay)| self.owns(replay));
        let passed: Vec<(i64, u64)> = own
            .flat_map(|(id, replay)| {
                let left = state.left_of(replay, &self.share);
                left.filter(|(_, _, standing)| is_passed(*standing))
                    .map(|(sequence, _, _)| (*id, sequence))
            })
            .collect();
        for (id, sequence) in passed {
            if let Some(replay) = state.replays.get_mut(&id) {
                replay.settled.insert(sequence);
            }
        }
    }

    fn find_replayed<'a>(&self, state: &'a State, found: &mut Vec<(u64, Item, &'a Row)>) {
        for (id, replay) in state.replays.iter().filter(|(_, replay)| self.owns(replay)) {
            for (sequence, row, standing) in state.left_of(replay, &self.share) {
                let item = Item::Replayed { request: *id, sequence };
                // What waits is left to its first delivery: here it would overtake what comes before it.
                if standing == Standing::Settled && !self.out.values().any(|out| *out == item) {
                    found.push((sequence, item, row));
                }
            }
        }
    }

    fn record(&mut self, state: &mut State, settlement: &Settlement) {
        let Some(through) = settlement.through else { return };
        let covered =
            |(position, _): &(&Position, &Item)| **position <= through && !settlement.pending.contains(*position);
        let settled: Vec<Position> = self.out.iter().filter(covered).map(|(position, _)| *position).collect();
        for item in settled.iter().filter_map(|position| self.out.remove(position)) {
            match item {
                Item::Aside(id) => {
                    let delivered = |parked: &ParkedRow| parked.state != Aside::Parked;
                    if state.parked.get(&id).is_some_and(delivered) {
                        state.parked.remove(&id);
                    }
                }
                Item::Replayed { request, sequence } => {
                    if let Some(replay) = state.replays.get_mut(&request) {
                        replay.settled.insert(sequence);
                    }
                }
            }
        }
    }

    fn park_one(&mut self, state: &mut State, parking: &Parking) {
        match self.out.get(&parking.position).copied() {
            Some(Item::Aside(id)) => {
                let Share { relay, route, .. } = &self.share;
                let sequence = state.parked.get(&id).map(|parked| parked.sequence);
                // It belongs to this route now, which may have taken it over from that of what no other took.
                state.parked.retain(|other, row| {
                    *other == id || (&row.relay, &row.route, Some(row.sequence)) != (relay, route, sequence)
                });
                if let Some(parked) = state.parked.get_mut(&id) {
                    parked.route.clone_from(route);
                    (parked.state, parked.error) = words(&parking.reason);
                    parked.attempts += i64::from(parking.attempts);
                }
                // It stays, and its turn comes again as soon as that of the others of its key.
                self.out.remove(&parking.position);
            }
            Some(Item::Replayed { sequence, .. }) => set_aside(state, &self.share, sequence, parking),
            None => {}
        }
    }
}

#[async_trait]
impl Source for Redeliveries {
    async fn next_batch(&mut self, limit: BatchLimit) -> Result<Vec<Sourced>, StoreError> {
        self.changes.see();
        let database = self.database.clone();
        database
            .call(|state| {
                state.fence(&self.lease)?;
                self.pass_over(state);
                Ok(self.read(state, limit))
            })
            .await
    }

    async fn wait(&mut self) {
        self.changes.changed().await;
    }

    async fn settle(&mut self, settlement: &Settlement) -> Result<(), StoreError> {
        let database = self.database.clone();
        database
            .call(|state| {
                state.fence(&self.lease)?;
                self.record(state, settlement);
                Ok(())
            })
            .await?;
        self.database.changed();
        Ok(())
    }

    async fn park(&mut self, events: &[Parking]) -> Result<(), StoreError> {
        let database = self.database.clone();
        database
            .call(|state| {
                state.fence(&self.lease)?;
                events.iter().for_each(|parking| self.park_one(state, parking));
                Ok(())
            })
            .await?;
        self.database.changed();
        Ok(())
    }
}
