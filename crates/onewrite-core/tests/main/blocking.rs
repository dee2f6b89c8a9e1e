//! Poison under `on_poison = "block_key"`: no event of a key is set aside while an earlier one is on its way.

use std::time::Duration;

use onewrite_core::error::{SinkError, StoreError, StoreFailure};
use onewrite_core::machine::{Effect, FEED, Machine, OnPoison, REDELIVERIES, RouteBehaviour};
use onewrite_core::{Outcome, ParkReason, Position, Sourced};

use crate::world::event;

/// A route whose one key is written by hand, and what it has under way.
struct Hand {
    machine: Machine,
    now: Duration,
    under_way: Vec<Effect>,
}

impl Hand {
    fn new() -> Self {
        let behaviour = RouteBehaviour {
            on_poison: OnPoison::BlockKey,
            ..RouteBehaviour::default()
        };
        let mut hand = Self {
            machine: Machine::new("route", behaviour, Vec::new(), 1),
            now: Duration::ZERO,
            under_way: Vec::new(),
        };
        hand.go_on();
        hand.open(FEED);
        hand.open(REDELIVERIES);
        hand
    }

    /// Lets a minute pass, so that whatever waits for time is due.
    fn go_on(&mut self) {
        self.now += Duration::from_secs(60);
        let mut effects = self.machine.effects(self.now);
        while !effects.is_empty() {
            for effect in effects {
                match effect {
                    Effect::CallBack { seat } => {
                        self.end(|effect| matches!(effect, Effect::Wait { seat: waiting } if *waiting == seat));
                        self.machine.waited(seat);
                    }
                    effect => self.under_way.push(effect),
                }
            }
            effects = self.machine.effects(self.now);
        }
    }

    fn end(&mut self, picked: impl Fn(&Effect) -> bool) -> Option<Effect> {
        let at = self.under_way.iter().position(picked)?;
        Some(self.under_way.remove(at))
    }

    fn open(&mut self, seat: usize) {
        let opening = self.end(|effect| matches!(effect, Effect::Open { seat: opened } if *opened == seat));
        opening.expect("a closed seat is opened");
        self.machine.opened(seat, Ok(()), self.now);
        self.go_on();
    }

    fn ends_reading(&mut self, seat: usize, events: Vec<Sourced>) {
        if let Some(Effect::Wait { .. }) =
            self.end(|effect| matches!(effect, Effect::Wait { seat: waiting } if *waiting == seat))
        {
            self.machine.waited(seat);
            self.go_on();
        }
        let reading = self.end(|effect| matches!(effect, Effect::Read { seat: read, .. } if *read == seat));
        reading.expect("the seat reads");
        self.machine.read(seat, Ok(events), self.now);
        self.go_on();
    }

    fn loses(&mut self, seat: usize) {
        let reading = self.end(|effect| matches!(effect, Effect::Read { seat: read, .. } if *read == seat));
        reading.expect("the seat reads");
        let error = StoreError::new(StoreFailure::Unavailable, "no database");
        self.machine.read(seat, Err(error), self.now);
        self.go_on();
    }

    fn connects(&mut self) {
        self.end(|effect| matches!(effect, Effect::Connect))
            .expect("it connects");
        self.machine.connected(Ok(()), self.now);
        self.go_on();
    }

    /// Ends the delivery under way; returns what was in it.
    fn delivers(&mut self, outcomes: Vec<Outcome>) -> Vec<u64> {
        let delivering = self.end(|effect| matches!(effect, Effect::Deliver { .. }));
        let Some(Effect::Deliver { delivery, events }) = delivering else {
            panic!("nothing is being delivered: {:?}", self.under_way);
        };
        let sequences = events.iter().map(|event| event.id.as_u128() as u64).collect();
        drop(events);
        self.machine.delivered(delivery, Ok(()), outcomes, self.now);
        self.go_on();
        sequences
    }

    /// What a seat sets aside now, as recorded; `true` for what is only held.
    fn sets_aside(&mut self, seat: usize) -> Vec<(u64, bool)> {
        if self.is_reading(seat) {
            self.ends_reading(seat, Vec::new());
        }
        let parking = self.end(|effect| matches!(effect, Effect::Park { seat: parked, .. } if *parked == seat));
        let Some(Effect::Park { events, .. }) = parking else {
            return Vec::new();
        };
        self.machine.parked(seat, &events, Ok(()), self.now);
        self.go_on();
        let told = events
            .iter()
            .map(|parking| (parking.position.sequence, parking.reason == ParkReason::Held));
        told.collect()
    }

    fn is_reading(&self, seat: usize) -> bool {
        let mut reads = self.under_way.iter();
        reads.any(|effect| matches!(effect, Effect::Read { seat: read, .. } if *read == seat))
    }
}

fn good(sequence: u64) -> Sourced {
    Sourced::checked(Position::new(1, sequence), event(sequence, Some(1)))
}

fn bad(sequence: u64) -> Sourced {
    Sourced {
        defect: Some("its headers are no object".to_owned()),
        ..good(sequence)
    }
}

fn refused() -> Outcome {
    Outcome::Failed(SinkError::park("poison"))
}

const HELD: bool = true;
const POISON: bool = false;

/// Otherwise a retry of 2 delivers 2 and 3, and 1 may be read anew behind them: held, and overtaken.
#[test]
fn a_bad_row_waits_for_the_earlier_events_of_its_key() {
    let mut hand = Hand::new();
    hand.ends_reading(FEED, vec![good(1)]);
    hand.ends_reading(FEED, vec![bad(2), good(3)]);
    assert_eq!(hand.sets_aside(FEED), [], "1 has not arrived");
    hand.connects();
    assert_eq!(hand.delivers(vec![Outcome::Delivered]), [1]);
    assert_eq!(hand.sets_aside(FEED), [(2, POISON), (3, HELD)]);
}

#[test]
fn a_bad_row_waits_for_an_event_that_is_in_a_delivery() {
    let mut hand = Hand::new();
    hand.connects();
    hand.ends_reading(FEED, vec![good(1)]);
    hand.ends_reading(FEED, vec![bad(2)]);
    assert_eq!(hand.sets_aside(FEED), [], "1 has not arrived");
    assert_eq!(hand.delivers(vec![Outcome::Unknown]), [1]);
    assert_eq!(hand.sets_aside(FEED), [], "1 has still not arrived");
    assert_eq!(hand.delivers(vec![Outcome::Delivered]), [1]);
    assert_eq!(hand.sets_aside(FEED), [(2, POISON)]);
}

#[test]
fn a_bad_row_with_nothing_before_it_needs_no_sink() {
    let mut hand = Hand::new();
    hand.ends_reading(FEED, vec![bad(1), good(2)]);
    assert_eq!(hand.sets_aside(FEED), [(1, POISON), (2, HELD)]);
}

/// A format parks before the sink has sent anything, and a client library may while an earlier event is under way.
#[test]
fn an_event_that_the_sink_refuses_waits_for_an_earlier_one_that_failed() {
    let mut hand = Hand::new();
    hand.connects();
    hand.ends_reading(FEED, vec![good(1)]);
    hand.ends_reading(FEED, vec![good(2), good(3)]);
    assert_eq!(hand.delivers(vec![Outcome::Unknown]), [1]);
    let outcomes = vec![Outcome::Failed(SinkError::retry("busy")), refused(), Outcome::Unknown];
    assert_eq!(hand.delivers(outcomes), [1, 2, 3]);
    assert_eq!(hand.sets_aside(FEED), [], "1 has not arrived");
    let outcomes = vec![Outcome::Delivered, refused(), Outcome::Unknown];
    assert_eq!(hand.delivers(outcomes), [1, 2, 3]);
    assert_eq!(hand.sets_aside(FEED), [(2, POISON), (3, HELD)]);
}

/// As one that is parked by itself it could be retried alone, before the poison in front of it.
#[test]
fn an_event_that_the_sink_refuses_behind_poison_of_its_key_is_held() {
    let mut hand = Hand::new();
    hand.connects();
    hand.ends_reading(FEED, vec![good(1)]);
    hand.ends_reading(FEED, vec![good(2), good(3)]);
    assert_eq!(hand.delivers(vec![Outcome::Unknown]), [1]);
    assert_eq!(hand.delivers(vec![refused(), refused(), Outcome::Unknown]), [1, 2, 3]);
    assert_eq!(hand.sets_aside(FEED), [(1, POISON), (2, HELD), (3, HELD)]);
}

/// As one that is parked by itself it could be retried alone, before what is held in front of it.
#[test]
fn a_bad_row_of_a_blocked_key_is_held_and_found_again() {
    let mut hand = Hand::new();
    hand.connects();
    hand.ends_reading(FEED, vec![good(1)]);
    assert_eq!(hand.delivers(vec![refused()]), [1]);
    hand.ends_reading(FEED, vec![good(2), bad(3), good(4)]);
    assert_eq!(hand.sets_aside(FEED), [(1, POISON), (2, HELD), (3, HELD), (4, HELD)]);
    hand.ends_reading(REDELIVERIES, vec![good(1), good(2), bad(3), good(4)]);
    assert_eq!(hand.delivers(vec![Outcome::Delivered, Outcome::Delivered]), [1, 2]);
    assert_eq!(hand.sets_aside(REDELIVERIES), [(3, POISON), (4, HELD)]);
}

/// What stood before it may be given up, to be read again elsewhere: it is set aside all the same.
#[test]
fn a_bad_row_is_set_aside_when_what_was_before_it_is_given_up() {
    let mut hand = Hand::new();
    hand.ends_reading(REDELIVERIES, vec![good(1)]);
    hand.ends_reading(FEED, vec![bad(2), good(3)]);
    assert_eq!(hand.sets_aside(FEED), []);
    hand.loses(REDELIVERIES);
    hand.connects();
    assert_eq!(hand.sets_aside(FEED), [(2, POISON), (3, HELD)]);
}
