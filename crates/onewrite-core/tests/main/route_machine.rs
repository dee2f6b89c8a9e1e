//! The promise I1 to I3 for the pure part, over arbitrary outcomes, crashes and interleavings.

use std::collections::{BTreeMap, BTreeSet};

use onewrite_core::machine::OnPoison;
use proptest::prelude::*;

use crate::world::{Aside, World};

/// Runs a world with faults, heals it, and lets it drain.
fn run(seed: u64, on_poison: OnPoison) -> World {
    let mut world = World::new(seed, on_poison);
    for _ in 0..600 {
        world.step();
    }
    world.faults = 0;
    for _ in 0..20_000 {
        world.retry_all();
        if !world.finish_one() || world.random.u8(..) < 40 {
            world.pass_time();
        }
        world.start_effects();
        let all_read = world.through == world.committed.len() as u64 && world.pending.is_empty();
        if all_read && world.aside.is_empty() {
            return world;
        }
    }
    panic!(
        "seed {seed}, {on_poison:?}: not drained: through {} of {}, pending {:?}, aside {:?}",
        world.through,
        world.committed.len(),
        world.pending,
        world.aside
    );
}

fn first_deliveries(world: &World) -> BTreeMap<Option<u8>, Vec<u64>> {
    let mut seen = BTreeSet::new();
    let mut order: BTreeMap<Option<u8>, Vec<u64>> = BTreeMap::new();
    for sequence in &world.log {
        if seen.insert(*sequence) {
            order.entry(world.key(*sequence)).or_default().push(*sequence);
        }
    }
    order
}

fn check(world: &World) {
    // I1: everything committed arrived. I2: nothing else did, since the log can only hold sequences of committed events.
    let arrived: BTreeSet<u64> = world.log.iter().copied().collect();
    assert_eq!(arrived, (1..=world.committed.len() as u64).collect::<BTreeSet<_>>());
    // I3: in the order of commits. With on_poison = park the key goes on without its poison.
    for (key, mut sequences) in first_deliveries(world) {
        if key.is_none() {
            continue;
        }
        if world.on_poison == OnPoison::Park {
            sequences.retain(|sequence| !world.ever_poison.contains(sequence));
        }
        assert!(sequences.is_sorted(), "key {key:?} arrived as {sequences:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_or_reordered_when_poison_is_parked(seed: u64) {
        check(&run(seed, OnPoison::Park));
    }

    #[test]
    fn nothing_is_lost_or_reordered_when_poison_blocks_its_key(seed: u64) {
        check(&run(seed, OnPoison::BlockKey));
    }
}

#[test]
fn a_stop_lets_everything_under_way_come_to_rest() {
    for seed in 0..200 {
        let mut world = World::new(seed, OnPoison::Park);
        world.faults = 0;
        for _ in 0..200 {
            world.step();
        }
        world.machine.stop();
        world.start_effects();
        for _ in 0..2_000 {
            if world.machine.is_stopped() {
                break;
            }
            if !world.finish_one() {
                world.pass_time();
            }
            world.start_effects();
        }
        assert!(
            world.machine.is_stopped(),
            "seed {seed}: the stop does not come to an end"
        );
        let recorded: BTreeSet<u64> = (1..=world.through).filter(|s| !world.pending.contains(s)).collect();
        let arrived: BTreeSet<u64> = world.log.iter().copied().collect();
        assert_eq!(
            arrived, recorded,
            "seed {seed}: without faults, a clean stop leaves nothing to repeat"
        );
    }
}

#[test]
fn a_halt_stands_until_it_is_lifted_and_loses_nothing() {
    let mut world = World::new(7, OnPoison::Halt);
    world.faults = 0;
    world.commit();
    world.poison.insert(1);
    for _ in 0..200 {
        world.finish_one();
        world.pass_time();
        world.start_effects();
    }
    assert!(
        world
            .machine
            .halt_to_record()
            .is_some_and(|reason| reason.contains("poison"))
    );
    assert!(world.log.is_empty());
    let control = |halted: Option<&str>| onewrite_core::store::RouteControl {
        route: "route".into(),
        paused: false,
        halted: halted.map(str::to_owned),
    };
    world.machine.control(&control(None), world.now);
    assert!(
        world.machine.halt_to_record().is_some(),
        "a control from before the halt was recorded lifts nothing"
    );
    world.machine.halt_recorded();
    world.machine.control(&control(Some("poison")), world.now);
    world.poison.clear();
    world.machine.control(&control(None), world.now);
    for _ in 0..200 {
        world.start_effects();
        world.finish_one();
        world.pass_time();
    }
    assert_eq!(world.log, [1]);
    assert!(!world.aside.values().any(|aside| *aside == Aside::Parked));
}
