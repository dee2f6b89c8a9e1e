//! The source of new events: differences of snapshots, as a database would read them.

use std::collections::VecDeque;

use async_trait::async_trait;
use jiff::Timestamp;
use onewrite_core::routing::Share;
use onewrite_core::source::ParkReason;
use onewrite_core::windows::{CARRIED, Windows};
use onewrite_core::{BatchLimit, Lease, Parking, Position, Settlement, Source, Sourced, StoreError};

use super::changes::Watcher;
use super::database::MemoryDatabase;
use super::state::{Aside, ParkedRow, Row, Session, State};

/// Hands out what a route's recorded progress does not cover.
pub(super) struct Feed {
    database: MemoryDatabase,
    changes: Watcher,
    lease: Lease,
    share: Share,
    session: Session,
    windows: Windows<u64>,
    carried: VecDeque<u64>,
}

impl Feed {
    pub async fn open(database: &MemoryDatabase, lease: &Lease, share: &Share) -> Result<Self, StoreError> {
        let (progress, session) = database
            .call(|state| {
                state.fence(lease)?;
                let row = state.route(&share.relay, &share.route, share.group)?;
                Ok((row.progress.clone(), state.session()))
            })
            .await?;
        let windows = Windows::new(progress);
        Ok(Self {
            changes: database.changes(),
            database: database.clone(),
            lease: lease.clone(),
            share: share.clone(),
            session,
            carried: windows.carried().iter().copied().collect(),
            windows,
        })
    }

    fn read(&mut self, state: &State, limit: BatchLimit) -> Vec<Sourced> {
        let carried = self.read_carried(state, limit);
        if !carried.is_empty() {
            return carried;
        }
        if self.windows.reading().is_some() {
            let rest = self.read_window(state, limit);
            if !rest.is_empty() {
                return rest;
            }
        }
        if *self.windows.base() == state.commits {
            return Vec::new();
        }
        self.windows.open(state.commits);
        self.read_window(state, limit)
    }

    fn read_carried(&mut self, state: &State, limit: BatchLimit) -> Vec<Sourced> {
        let (mut events, mut room) = (Vec::new(), Room::new(limit));
        while room.is_left()
            && let Some(sequence) = self.carried.pop_front()
        {
            if let Some(row) = state.rows.get(&sequence) {
                room.take(row);
                events.push(row.sourced(Position::new(CARRIED, sequence)));
            }
        }
        events
    }

    fn read_window(&mut self, state: &State, limit: BatchLimit) -> Vec<Sourced> {
        let Some(reading) = self.windows.reading() else {
            return Vec::new();
        };
        let (base, upper) = (*reading.base, *reading.upper);
        let later = state.rows.range(reading.cursor + 1..);
        let mut rows =
            later.filter(|(_, row)| row.commit > base && row.commit <= upper && row.is_taken_by(&self.share));
        let (mut events, mut room) = (Vec::new(), Room::new(limit));
        while room.is_left() {
            let Some((sequence, row)) = rows.next() else {
                drop(rows);
                self.windows.complete();
                break;
            };
            room.take(row);
            events.push(row.sourced(self.windows.hand_out(*sequence)));
        }
        events
    }
}

#[async_trait]
impl Source for Feed {
    async fn next_batch(&mut self, limit: BatchLimit) -> Result<Vec<Sourced>, StoreError> {
        self.changes.see();
        let database = self.database.clone();
        database
            .call(|state| {
                state.serve(self.session)?;
                state.fence(&self.lease)?;
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
            .call_unflushed(|state| {
                state.serve(self.session)?;
                state.fence(&self.lease)?;
                self.windows.settle(settlement);
                state.record(&self.share, self.windows.progress())
            })
            .await
    }

    async fn park(&mut self, events: &[Parking]) -> Result<(), StoreError> {
        self.database.set_aside(&self.lease, &self.share, events).await
    }
}

impl MemoryDatabase {
    /// Sets events of the outbox aside for the holder of a lease.
    ///
    /// # Errors
    /// `Fenced`, and as the test asked for.
    pub async fn set_aside(&self, lease: &Lease, share: &Share, events: &[Parking]) -> Result<(), StoreError> {
        self.call(|state| {
            state.fence(lease)?;
            for parking in events {
                set_aside(state, share, parking.position.sequence, parking);
            }
            Ok(())
        })
        .await?;
        self.changed();
        Ok(())
    }
}

/// How much of a limit is left; at least one event is always let in.
pub(super) struct Room {
    events: usize,
    bytes: usize,
}

impl Room {
    pub fn new(limit: BatchLimit) -> Self {
        Self {
            events: limit.events.max(1),
            bytes: limit.bytes.max(1),
        }
    }

    pub fn is_left(&self) -> bool {
        self.events > 0 && self.bytes > 0
    }

    pub fn take(&mut self, row: &Row) {
        self.events -= 1;
        self.bytes = self.bytes.saturating_sub(row.plain.payload.len());
    }
}

/// Sets an event of the outbox aside. One that was set aside before, in a run that did not come to record it, stays as it is
/// when it only has to wait.
pub(super) fn set_aside(state: &mut State, share: &Share, sequence: u64, parking: &Parking) {
    let Some(row) = state.rows.get(&sequence).cloned() else {
        return;
    };
    let (aside, error) = words(&parking.reason);
    let same = |parked: &&mut ParkedRow| {
        parked.relay == share.relay && parked.route == share.route && parked.sequence == sequence
    };
    if let Some(parked) = state.parked.values_mut().find(same) {
        if aside == Aside::Parked {
            (parked.state, parked.error, parked.attempts) = (aside, error, parking.attempts.into());
        }
        return;
    }
    state.last_parked += 1;
    let parked = ParkedRow {
        relay: share.relay.clone(),
        route: share.route.clone(),
        sequence,
        state: aside,
        row,
        parked_at: Timestamp::now(),
        attempts: parking.attempts.into(),
        error,
    };
    state.parked.insert(state.last_parked, parked);
}

pub(super) fn words(reason: &ParkReason) -> (Aside, String) {
    match reason {
        ParkReason::Poison(words) => (Aside::Parked, words.clone()),
        ParkReason::Held => (Aside::Held, "waits behind a parked event of its key".to_owned()),
    }
}
