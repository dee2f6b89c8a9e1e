//! A slice of the simulation that every test run makes; `./x sim` makes as many as there is time for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use onewrite_sim::{Mutant, Trace, run};

/// Seeds of the slice.
const SEEDS: u64 = 1_000;

/// Seeds in which a planted bug has to be noticed.
const MUTANT_SEEDS: u64 = 300;

#[test]
fn a_thousand_seeds_keep_the_promise() {
    let next = AtomicU64::new(0);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= SEEDS {
                return;
            }
            if let Err(violation) = run(seed, None, &Trace::new(false)) {
                panic!("{violation}");
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
}

#[test]
fn a_seed_tells_the_same_story_twice() {
    for seed in 0..20 {
        let stories = [(); 2].map(|()| {
            let trace = Trace::new(false);
            run(seed, None, &trace).expect("the promise holds");
            trace.sum()
        });
        assert_eq!(stories[0], stories[1], "seed {seed}");
        assert!(stories[0].1 > 100, "seed {seed} tells hardly anything");
    }
}

#[test]
fn each_planted_bug_is_noticed() {
    for mutant in Mutant::ALL {
        let noticed = (0..MUTANT_SEEDS).find_map(|seed| run(seed, Some(*mutant), &Trace::new(false)).err());
        assert!(noticed.is_some(), "a relay that {mutant} goes unnoticed");
    }
}
