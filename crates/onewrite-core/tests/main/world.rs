//! A pretended database, broker and operator around a route's [`Machine`], driven by one random seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use onewrite_core::error::{SinkError, StoreError, StoreFailure};
use onewrite_core::machine::{Effect, FEED, Machine, OnPoison, REDELIVERIES, RouteBehaviour};
use onewrite_core::{BatchLimit, Event, Outcome, ParkReason, Parking, Position, Settlement, Sourced};

/// What the pretended database holds about an event that was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aside {
    Parked,
    Held,
    Retry,
}

/// An incarnation of a pretended source.
#[derive(Default)]
struct Reader {
    /// Events still to be handed out again, and how far the table was read.
    again: Vec<u64>,
    cursor: u64,
    /// Rows of the redeliveries handed out, by position.
    handed_out: BTreeMap<Position, u64>,
    generation: u64,
}

pub struct World {
    pub random: fastrand::Rng,
    pub on_poison: OnPoison,
    pub now: Duration,
    /// The key of each committed event; its sequence is its index + 1.
    pub committed: Vec<Option<u8>>,
    /// Events that the broker refuses until an operator has mended and retried them.
    pub poison: BTreeSet<u64>,
    pub ever_poison: BTreeSet<u64>,
    /// Those of them whose row is no valid event until it is mended.
    bad_rows: BTreeSet<u64>,
    pub through: u64,
    pub pending: BTreeSet<u64>,
    pub aside: BTreeMap<u64, Aside>,
    /// What the broker holds, in order.
    pub log: Vec<u64>,
    pub machine: Machine,
    under_way: Vec<Effect>,
    readers: [Reader; 2],
    waiting: [bool; 2],
    /// Chance in percent that something fails.
    pub faults: u32,
}

impl World {
    pub fn new(seed: u64, on_poison: OnPoison) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            on_poison,
            now: Duration::ZERO,
            committed: Vec::new(),
            poison: BTreeSet::new(),
            ever_poison: BTreeSet::new(),
            bad_rows: BTreeSet::new(),
            through: 0,
            pending: BTreeSet::new(),
            aside: BTreeMap::new(),
            log: Vec::new(),
            machine: Machine::new("route", behaviour(on_poison), Vec::new(), seed),
            under_way: Vec::new(),
            readers: Default::default(),
            waiting: [false; 2],
            faults: 15,
        }
    }

    /// One step: something is committed, something under way ends, an operator acts, time passes, or the relay is killed.
    pub fn step(&mut self) {
        match self.random.u32(0..100) {
            0..20 => self.commit(),
            20..22 if self.faults > 0 => self.crash(),
            22..24 => self.operate(),
            24..40 => self.pass_time(),
            _ => {
                self.finish_one();
            }
        }
        self.start_effects();
    }

    pub fn commit(&mut self) {
        let key = (!self.random.bool() || self.random.bool()).then(|| self.random.u8(0..4));
        self.committed.push(key);
        if self.random.u32(0..100) < self.faults / 3 {
            let sequence = self.committed.len() as u64;
            self.poison.insert(sequence);
            self.ever_poison.insert(sequence);
            if self.random.bool() {
                self.bad_rows.insert(sequence);
            }
        }
    }

    /// Retries every parked event, mended.
    pub fn retry_all(&mut self) {
        for (sequence, aside) in &mut self.aside {
            if *aside == Aside::Parked {
                *aside = Aside::Retry;
                self.poison.remove(sequence);
            }
        }
    }

    pub fn pass_time(&mut self) {
        self.now = match self.machine.next_wake(self.now) {
            Some(wake) if self.random.bool() => wake,
            _ => self.now + Duration::from_millis(self.random.u64(0..200)),
        };
    }

    pub fn start_effects(&mut self) {
        for effect in self.machine.effects(self.now) {
            if let Effect::CallBack { seat } = effect {
                assert!(self.waiting[seat], "a source that does not wait was called back");
                let at = self
                    .under_way
                    .iter()
                    .position(|effect| matches!(effect, Effect::Wait { seat: s } if *s == seat));
                self.under_way.remove(at.expect("it waits"));
                self.waiting[seat] = false;
                self.machine.waited(seat);
                self.start_effects();
            } else {
                if let Effect::Wait { seat } = effect {
                    self.waiting[seat] = true;
                }
                self.under_way.push(effect);
            }
        }
    }

    /// Ends something that is under way; `false` when nothing is.
    pub fn finish_one(&mut self) -> bool {
        if self.under_way.is_empty() {
            return false;
        }
        let at = self.random.usize(0..self.under_way.len());
        match self.under_way.swap_remove(at) {
            Effect::Open { seat } => self.open(seat),
            Effect::Read { seat, limit } => self.read(seat, limit),
            Effect::Wait { seat } => {
                self.waiting[seat] = false;
                self.machine.waited(seat);
            }
            Effect::Settle { seat, settlement } => self.settle(seat, &settlement),
            Effect::Park { seat, events } => self.park(seat, &events),
            Effect::AskBlockedKeys => {
                let keys = self.blocked();
                self.machine.blocked_keys(Ok(keys), self.now);
            }
            Effect::Connect => {
                let result = if self.fails() {
                    Err(SinkError::retry("no broker"))
                } else {
                    Ok(())
                };
                self.machine.connected(result, self.now);
            }
            Effect::CloseSink => self.machine.closed(),
            Effect::Deliver { delivery, events } => {
                let (result, outcomes) = self.deliver(&events);
                drop(events);
                self.machine.delivered(delivery, result, outcomes, self.now);
            }
            Effect::CallBack { .. } => unreachable!("calls back are answered at once"),
        }
        true
    }

    fn fails(&mut self) -> bool {
        self.random.u32(0..100) < self.faults
    }

    /// The relay dies: deliveries under way may or may not have got somewhere, everything else is forgotten.
    fn crash(&mut self) {
        for effect in std::mem::take(&mut self.under_way) {
            if let Effect::Deliver { events, .. } = effect {
                let _lost_with_the_relay = self.deliver(&events);
            }
        }
        self.waiting = [false; 2];
        self.machine = Machine::new("route", behaviour(self.on_poison), self.blocked(), self.random.u64(..));
    }

    fn operate(&mut self) {
        let Some(parked) = self
            .aside
            .iter()
            .find(|(_, aside)| **aside == Aside::Parked)
            .map(|(sequence, _)| *sequence)
        else {
            return;
        };
        self.aside.insert(parked, Aside::Retry);
        if self.random.bool() {
            self.poison.remove(&parked);
        }
    }

    fn blocked(&self) -> Vec<Arc<str>> {
        let keys: BTreeSet<_> = self.aside.keys().filter_map(|sequence| self.key(*sequence)).collect();
        keys.into_iter().map(|key| key.to_string().into()).collect()
    }

    pub fn key(&self, sequence: u64) -> Option<u8> {
        self.committed[sequence as usize - 1]
    }

    fn open(&mut self, seat: usize) {
        if self.fails() {
            let error = StoreError::new(StoreFailure::Unavailable, "no database");
            return self.machine.opened(seat, Err(error), self.now);
        }
        self.readers[seat] = Reader::default();
        if seat == FEED {
            self.readers[seat].again = self.pending.iter().copied().collect();
            self.readers[seat].cursor = self.through;
        }
        self.machine.opened(seat, Ok(()), self.now);
    }

    fn read(&mut self, seat: usize, limit: BatchLimit) {
        if self.fails() {
            let error = StoreError::new(StoreFailure::Unavailable, "no database");
            return self.machine.read(seat, Err(error), self.now);
        }
        let count = self.random.usize(1..=limit.events.min(8));
        let events = if seat == FEED {
            self.read_table(count)
        } else {
            self.read_aside(count)
        };
        self.machine.read(seat, Ok(events), self.now);
    }

    fn read_table(&mut self, count: usize) -> Vec<Sourced> {
        let reader = &mut self.readers[FEED];
        if !reader.again.is_empty() {
            let some: Vec<u64> = reader.again.drain(..count.min(reader.again.len())).collect();
            return some
                .into_iter()
                .map(|sequence| self.sourced(Position::new(0, sequence), sequence))
                .collect();
        }
        let last = (reader.cursor + count as u64).min(self.committed.len() as u64);
        let range = reader.cursor + 1..=last;
        reader.cursor = last;
        range
            .map(|sequence| self.sourced(Position::new(1, sequence), sequence))
            .collect()
    }

    fn read_aside(&mut self, count: usize) -> Vec<Sourced> {
        let under_way: BTreeSet<u64> = self.readers[REDELIVERIES].handed_out.values().copied().collect();
        let due = |(sequence, aside): (&u64, &Aside)| {
            let key = self.key(*sequence);
            let blocked = key.is_some()
                && self
                    .aside
                    .iter()
                    .any(|(other, aside)| self.key(*other) == key && *aside == Aside::Parked);
            let due = *aside == Aside::Retry || (*aside == Aside::Held && !blocked);
            (due && !under_way.contains(sequence)).then_some(*sequence)
        };
        let due: Vec<u64> = self.aside.iter().filter_map(due).take(count).collect();
        self.readers[REDELIVERIES].generation += 1;
        let generation = self.readers[REDELIVERIES].generation;
        due.into_iter()
            .map(|sequence| {
                let position = Position::new(generation, sequence);
                self.readers[REDELIVERIES].handed_out.insert(position, sequence);
                self.sourced(position, sequence)
            })
            .collect()
    }

    fn sourced(&self, position: Position, sequence: u64) -> Sourced {
        let is_bad = self.poison.contains(&sequence) && self.bad_rows.contains(&sequence);
        Sourced {
            defect: is_bad.then(|| "its headers are no object".to_owned()),
            ..Sourced::checked(position, event(sequence, self.key(sequence)))
        }
    }

    fn settle(&mut self, seat: usize, settlement: &Settlement) {
        let lost_reply = self.fails();
        if seat == FEED {
            self.settle_table(settlement);
        } else {
            self.settle_aside(settlement);
        }
        let result = if lost_reply {
            Err(StoreError::new(StoreFailure::Unavailable, "the reply was lost"))
        } else {
            Ok(())
        };
        self.machine.settled(seat, result, self.now);
    }

    fn settle_table(&mut self, settlement: &Settlement) {
        let through = settlement.through.expect("a settlement covers something");
        let pending: BTreeSet<u64> = settlement.pending.iter().map(|position| position.sequence).collect();
        let still_again: BTreeSet<u64> = if through.generation == 0 {
            self.pending.range(through.sequence + 1..).copied().collect()
        } else {
            BTreeSet::new()
        };
        let new_through = if through.generation == 0 {
            self.through
        } else {
            through.sequence
        };
        let new_pending: BTreeSet<u64> = pending.union(&still_again).copied().collect();
        for sequence in 1..=new_through {
            let settled = self.log.contains(&sequence) || self.aside.contains_key(&sequence);
            assert!(
                new_pending.contains(&sequence) || settled,
                "the floor passes the unsettled event {sequence}"
            );
        }
        assert!(new_through >= self.through, "progress goes backward");
        (self.through, self.pending) = (new_through, new_pending);
    }

    fn settle_aside(&mut self, settlement: &Settlement) {
        let through = settlement.through.expect("a settlement covers something");
        let covered: Vec<Position> = self.readers[REDELIVERIES]
            .handed_out
            .range(..=through)
            .map(|(position, _)| *position)
            .filter(|position| !settlement.pending.contains(position))
            .collect();
        for position in covered {
            let sequence = self.readers[REDELIVERIES]
                .handed_out
                .remove(&position)
                .expect("it was handed out");
            if self.log.contains(&sequence) && self.aside.get(&sequence) != Some(&Aside::Parked) {
                self.aside.remove(&sequence);
            } else {
                assert!(
                    self.aside.contains_key(&sequence),
                    "the parked event {sequence} is lost"
                );
            }
        }
    }

    fn park(&mut self, seat: usize, events: &[Parking]) {
        for parking in events {
            let sequence: u64 = parking.event.id.as_u128() as u64;
            let aside = if parking.reason == ParkReason::Held {
                Aside::Held
            } else {
                Aside::Parked
            };
            self.aside.insert(sequence, aside);
            self.readers[REDELIVERIES]
                .handed_out
                .retain(|_, handed_out| seat != REDELIVERIES || *handed_out != sequence);
        }
        let result = if self.fails() {
            Err(StoreError::new(StoreFailure::Unavailable, "the reply was lost"))
        } else {
            Ok(())
        };
        self.machine.parked(seat, events, result, self.now);
    }

    /// A sink that upholds its contract, however badly its broker behaves.
    fn deliver(&mut self, events: &[Event]) -> (Result<(), SinkError>, Vec<Outcome>) {
        let mut stopped = BTreeSet::new();
        let mut cut = false;
        let mut outcomes = Vec::new();
        for event in events {
            let sequence = event.id.as_u128() as u64;
            cut |= self.random.u32(0..400) < self.faults;
            let key = self.key(sequence);
            let poison = self.poison.contains(&sequence);
            // A format knows its poison whatever became of what stands before it.
            let outcome = match () {
                () if poison && self.random.bool() => Outcome::Failed(SinkError::park("poison")),
                () if cut || (key.is_some() && stopped.contains(&key)) => Outcome::Unknown,
                () if poison => Outcome::Failed(SinkError::park("poison")),
                () if self.fails() && self.random.bool() => Outcome::Failed(SinkError::retry("busy")),
                () if self.fails() => {
                    self.log.push(sequence);
                    Outcome::Unknown
                }
                () => {
                    self.log.push(sequence);
                    Outcome::Delivered
                }
            };
            if !matches!(outcome, Outcome::Delivered) {
                stopped.insert(key);
            }
            outcomes.push(outcome);
        }
        let result = if cut {
            Err(SinkError::reconnect("the connection broke"))
        } else {
            Ok(())
        };
        (result, outcomes)
    }
}

fn behaviour(on_poison: OnPoison) -> RouteBehaviour {
    RouteBehaviour {
        on_poison,
        in_flight: BatchLimit {
            events: 24,
            bytes: 1 << 20,
        },
        batch: BatchLimit {
            events: 5,
            bytes: 1 << 20,
        },
        ..RouteBehaviour::default()
    }
}

pub fn event(sequence: u64, key: Option<u8>) -> Event {
    Event {
        id: uuid::Uuid::from_u128(sequence.into()),
        topic: "topic".into(),
        key: key.map(|key| key.to_string().into()),
        event_type: None,
        payload: Default::default(),
        content_type: "application/json".into(),
        headers: Vec::new(),
        occurred_at: Default::default(),
        replay: None,
        headers_complete: false,
        verbatim: None,
    }
}
