//! What a route says of itself: trouble with its source and with its sink, each until it is over.

use std::time::Duration;

use onewrite_core::error::{SinkError, StoreError, StoreFailure};
use onewrite_core::machine::{FEED, Machine, OnPoison, REDELIVERIES, RouteBehaviour};
use onewrite_core::store::{RouteControl, RouteState};
use onewrite_core::{Outcome, Position, Sourced};

use crate::world::event;

const NOW: Duration = Duration::from_secs(3_600);

fn opened() -> Machine {
    let mut machine = Machine::new("route", RouteBehaviour::default(), Vec::new(), 1);
    machine.effects(NOW);
    for seat in [FEED, REDELIVERIES] {
        machine.opened(seat, Ok(()), NOW);
    }
    machine
}

fn refused() -> StoreError {
    StoreError::new(StoreFailure::Refused, "permission denied for table outbox")
}

fn told(machine: &mut Machine) -> (RouteState, Option<String>) {
    let report = machine.report();
    (report.state, report.last_error)
}

fn words() -> Option<String> {
    Some("permission denied for table outbox".to_owned())
}

/// Delivers the one event that was read.
fn deliver(machine: &mut Machine) {
    machine.effects(NOW);
    machine.delivered(0, Ok(()), vec![Outcome::Delivered], NOW);
}

fn some() -> Vec<Sourced> {
    vec![Sourced::checked(Position::new(1, 1), event(1, None))]
}

#[test]
fn a_source_that_fails_is_told_until_it_is_read_again_whatever_the_sink_does() {
    let mut machine = opened();
    machine.connected(Ok(()), NOW);
    assert_eq!(told(&mut machine), (RouteState::Running, None));
    machine.read(REDELIVERIES, Ok(some()), NOW);
    machine.read(FEED, Err(refused()), NOW);
    assert_eq!(told(&mut machine), (RouteState::Retrying, words()));
    deliver(&mut machine);
    assert_eq!(told(&mut machine), (RouteState::Retrying, words()), "after a delivery");
    machine.connected(Ok(()), NOW);
    assert_eq!(
        told(&mut machine),
        (RouteState::Retrying, words()),
        "after a connection"
    );
    machine.read(REDELIVERIES, Ok(Vec::new()), NOW);
    assert_eq!(
        told(&mut machine),
        (RouteState::Retrying, words()),
        "the other seat was read"
    );
    machine.opened(FEED, Ok(()), NOW);
    assert_eq!(told(&mut machine), (RouteState::Retrying, words()), "it is only opened");
    machine.read(FEED, Ok(Vec::new()), NOW);
    assert_eq!(told(&mut machine), (RouteState::Running, None));
}

#[test]
fn what_the_sink_said_is_not_forgotten_over_a_source_that_comes_back() {
    let mut machine = opened();
    machine.connected(Err(SinkError::retry("no broker")), NOW);
    machine.opened(FEED, Err(refused()), NOW);
    assert_eq!(told(&mut machine), (RouteState::Retrying, words()));
    machine.opened(FEED, Ok(()), NOW);
    machine.read(FEED, Ok(Vec::new()), NOW);
    assert_eq!(told(&mut machine), (RouteState::Retrying, Some("no broker".to_owned())));
}

#[test]
fn a_pause_and_a_halt_are_graver() {
    let mut machine = opened();
    machine.read(FEED, Err(refused()), NOW);
    let mut control = RouteControl {
        route: "route".to_owned(),
        paused: true,
        halted: None,
    };
    machine.control(&control, NOW);
    assert_eq!(told(&mut machine), (RouteState::Paused, words()));
    control.halted = Some("the broker refuses everything".to_owned());
    machine.control(&control, NOW);
    assert_eq!(told(&mut machine).0, RouteState::Halted);
}

#[test]
fn a_halted_route_says_why_it_halted() {
    let halting = RouteBehaviour {
        on_poison: OnPoison::Halt,
        ..RouteBehaviour::default()
    };
    let mut machine = Machine::new("route", halting, Vec::new(), 1);
    machine.effects(NOW);
    machine.connected(Err(SinkError::halt("the topic is gone")), NOW);
    machine.opened(FEED, Err(refused()), NOW);
    assert_eq!(
        told(&mut machine),
        (RouteState::Halted, Some("the topic is gone".to_owned()))
    );
}
