use std::collections::BTreeSet;

use bytes::Bytes;
use jiff::Timestamp;
use onewrite_core::Event;
use onewrite_core::Settlement;
use onewrite_core::routing::{Match, Pattern, shares};

use super::*;

const ALL: BatchLimit = BatchLimit {
    events: 100,
    bytes: usize::MAX,
};

fn routes() -> Vec<Share> {
    let topic = |topic: &str| Match {
        topic: Some(Pattern::new(topic)),
        event_type: None,
    };
    shares("shop", &[("a".to_owned(), topic("a")), ("b".to_owned(), topic("*"))])
}

fn event(topic: &str, commit: u64, index: u64, bytes: usize) -> Sourced {
    let event = Event {
        id: uuid::Uuid::nil(),
        topic: topic.into(),
        key: None,
        event_type: None,
        payload: Bytes::from(vec![0; bytes]),
        content_type: "text/plain".into(),
        headers: Vec::new(),
        occurred_at: Timestamp::UNIX_EPOCH,
        replay: None,
        headers_complete: false,
        verbatim: None,
    };
    Sourced::checked(Position::new(commit, index), event)
}

fn taken(subscription: &Subscription) -> Vec<u64> {
    match subscription.standing(ALL) {
        Standing::Ready(count) => subscription
            .take(count)
            .iter()
            .map(|sourced| sourced.position.generation)
            .collect(),
        _ => Vec::new(),
    }
}

/// Records everything up to a commit, but for the events of these.
fn settled(commit: u64, pending: &[u64]) -> Progress {
    let settlement = Settlement {
        through: Some(Position::new(commit, 1)),
        pending: pending.iter().map(|commit| Position::new(*commit, 1)).collect(),
    };
    Progress::default().settled(&BTreeSet::new(), &settlement)
}

#[test]
fn the_slot_stands_behind_every_route() {
    let hub = Arc::new(Hub::new(&routes()));
    let [a, b] = [0, 1].map(|at| hub.subscribe(&routes()[at], Progress::default()));
    assert!(hub.is_complete() && hub.interrupt() == Some(Interrupt::Restart));
    hub.begin();
    for (topic, commit) in [("a", 10), ("b", 20), ("a", 30), ("b", 40)] {
        assert!(hub.push(&event(topic, commit, 1, 1)));
        hub.reached(commit + 1);
    }
    assert_eq!((taken(&a), taken(&b)), (vec![10, 30], vec![20, 40]));
    assert_eq!(hub.low(), 10);
    a.recorded(&settled(30, &[]));
    assert_eq!(hub.low(), 20);
    b.recorded(&settled(40, &[20]));
    assert_eq!(hub.low(), 20);
    b.recorded(&settled(40, &[]));
    assert_eq!(hub.low(), 41);
    // A route that has gone holds what it had not settled, until it is back and has.
    assert!(hub.push(&event("a", 50, 1, 1)));
    hub.reached(60);
    drop(a);
    assert_eq!(hub.low(), 50);
    let a = hub.subscribe(&routes()[0], settled(30, &[]));
    assert_eq!((hub.low(), hub.interrupt()), (50, Some(Interrupt::Restart)));
    hub.begin();
    assert_eq!(hub.low(), 0);
    assert!(hub.push(&event("a", 50, 1, 1)));
    hub.reached(60);
    assert_eq!((hub.low(), taken(&a)), (50, vec![50]));
    a.recorded(&settled(50, &[]));
    assert_eq!(hub.low(), 60);
}

#[test]
fn a_new_run_brings_each_route_what_it_lacks_and_nothing_twice() {
    let hub = Arc::new(Hub::new(&routes()));
    let [a, b] = [0, 1].map(|at| hub.subscribe(&routes()[at], Progress::default()));
    let events = [("a", 10), ("b", 20), ("a", 30), ("b", 40)];
    hub.begin();
    for (topic, commit) in &events[..3] {
        assert!(hub.push(&event(topic, *commit, 1, 1)));
    }
    assert_eq!((taken(&a), taken(&b)), (vec![10, 30], vec![20]));
    drop(a);
    let a = hub.subscribe(&routes()[0], settled(30, &[10]));
    hub.begin();
    for (topic, commit) in events {
        assert!(hub.push(&event(topic, commit, 1, 1)));
    }
    assert_eq!((taken(&a), taken(&b)), (vec![10], vec![40]));
}

#[test]
fn a_route_without_room_holds_the_reader_and_one_large_event_fits() {
    let hub = Arc::new(Hub::new(&routes()));
    let [a, b] = [0, 1].map(|at| hub.subscribe(&routes()[at], Progress::default()));
    hub.begin();
    assert!(hub.push(&event("a", 10, 1, 2 * WAITING_BYTES)));
    assert!(hub.push(&event("b", 20, 1, 1)));
    assert!(a.is_behind(100) && b.is_behind(100));
    assert!(!hub.push(&event("a", 30, 1, 1)));
    // Nothing is about to come for anybody.
    assert!(!a.is_behind(100) && !b.is_behind(100));
    assert_eq!(taken(&a), [10]);
    assert!(hub.push(&event("a", 30, 1, 1)) && b.is_behind(100));
    hub.reached(100);
    assert!(!b.is_behind(100) && b.is_behind(101));
}

#[test]
fn somebody_reads_as_long_as_somebody_is_there() {
    let hub = Arc::new(Hub::new(&routes()));
    let a = hub.subscribe(&routes()[0], Progress::default());
    assert!(hub.claim() && !hub.claim());
    assert!(!hub.leave());
    hub.fail(&StoreError::new(StoreFailure::Unavailable, "gone"));
    assert!(matches!(a.standing(ALL), Standing::Failed(StoreFailure::Unavailable, words) if words == "gone"));
    assert!(hub.claim() && hub.leave());
    let b = hub.subscribe(&routes()[1], Progress::default());
    assert!(hub.claim() && !hub.leave());
    drop((a, b));
    assert!(hub.leave());
    hub.end();
    let late = hub.subscribe(&routes()[0], Progress::default());
    assert!(matches!(late.standing(ALL), Standing::Failed(..)));
}

/// A message that is no part of a transaction is known by where it ends; the server sends what begins where the slot stands or
/// later, and so not what has ended there.
#[test]
fn the_slot_stands_before_a_message_that_is_no_part_of_a_transaction() {
    let hub = Arc::new(Hub::new(&routes()));
    let [a, b] = [0, 1].map(|at| hub.subscribe(&routes()[at], Progress::default()));
    hub.begin();
    hub.reached(100);
    assert!(hub.push(&event("a", 150, ALONE, 1)));
    assert_eq!((hub.low(), taken(&a)), (100, vec![150]));
    // What comes after it is behind its end, and not behind where it was read from.
    hub.reached(180);
    assert!(hub.push(&event("a", 200, ALONE, 1)));
    hub.reached(300);
    assert_eq!(hub.low(), 100);
    let settled = |through: u64, pending: &[u64]| {
        let settlement = Settlement {
            through: Some(Position::new(through, ALONE)),
            pending: pending.iter().map(|end| Position::new(*end, ALONE)).collect(),
        };
        Progress::default().settled(&BTreeSet::new(), &settlement)
    };
    a.recorded(&settled(150, &[]));
    assert_eq!(hub.low(), 180);
    // A route that goes holds it as well.
    drop(a);
    assert_eq!(hub.low(), 180);
    let a = hub.subscribe(&routes()[0], settled(150, &[]));
    hub.begin();
    for (end, next) in [(150, 180), (200, 300)] {
        assert!(hub.push(&event("a", end, ALONE, 1)));
        hub.reached(next);
    }
    assert_eq!((hub.low(), taken(&a)), (180, vec![200]));
    a.recorded(&settled(200, &[]));
    assert_eq!(hub.low(), 300);
    drop(b);
}

/// The record of a commit can begin where a message ends that is no part of its transaction.
#[test]
fn the_slot_does_not_pass_a_commit_that_begins_where_a_message_ends() {
    let hub = Arc::new(Hub::new(&routes()));
    let a = hub.subscribe(&routes()[0], Progress::default());
    let b = hub.subscribe(&routes()[1], Progress::default());
    hub.begin();
    hub.reached(100);
    assert!(hub.push(&event("a", 150, ALONE, 1)));
    a.recorded(&Progress::before(151));
    assert_eq!(hub.low(), 150);
    assert!(!a.is_behind(150) && a.is_behind(151));
    assert!(hub.push(&event("a", 150, 1, 1)));
    hub.reached(160);
    assert_eq!((hub.low(), taken(&a)), (150, vec![150, 150]));
    drop(b);
}

#[test]
fn a_route_that_failed_with_the_stream_holds_the_slot_until_it_is_back() {
    let hub = Arc::new(Hub::new(&routes()));
    let [a, b] = [0, 1].map(|at| hub.subscribe(&routes()[at], Progress::default()));
    hub.begin();
    assert!(hub.push(&event("b", 50, 1, 1)));
    hub.reached(100);
    hub.fail(&StoreError::new(StoreFailure::Unavailable, "gone"));
    // What it was given and has not settled, and else all that comes.
    assert_eq!((hub.low(), hub.is_complete()), (50, false));
    b.recorded(&settled(50, &[]));
    drop(a);
    let a = hub.subscribe(&routes()[0], Progress::default());
    assert!(!hub.is_complete());
    hub.begin();
    assert!(hub.push(&event("b", 200, 1, 1)));
    hub.reached(201);
    assert_eq!(hub.low(), 50);
    // It goes only now, and knows nothing of what came since.
    drop(b);
    assert_eq!(hub.low(), 50);
    let b = hub.subscribe(&routes()[1], settled(50, &[]));
    assert_eq!((hub.low(), hub.is_complete()), (50, true));
    hub.begin();
    assert!(hub.push(&event("b", 200, 1, 1)));
    hub.reached(201);
    assert_eq!((hub.low(), taken(&b), taken(&a)), (200, vec![200], vec![]));
}
