//! `./x sim`: runs seeds, or one of them aloud.

use std::ops::Range;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use onewrite_sim::{Mutant, Trace, Violation, run};

/// Seeds of `--full`: what an hour on two cores must have room for.
const FULL: u64 = 100_000;

/// Seeds after which a planted bug that was not noticed counts as not noticed at all.
const MUTANT_SEEDS: u64 = 300;

/// The engine under a seed: everything goes wrong, heals, and the promise is checked.
#[derive(Debug, Parser)]
#[command(name = "onewrite-sim", max_term_width = 120)]
#[command(after_help = "\
Examples:
  ./x sim                      ten thousand seeds
  ./x sim --seeds 0..500       these
  ./x sim --seed 42            one, aloud: every line of what happened
  ./x sim --minutes 30         as many as there is time for, from a random one on
  ./x sim --full               a hundred thousand
  ./x sim --mutants            whether each planted bug is noticed

A seed that shows a violation is printed; the same seed does the same again.")]
struct Options {
    /// One seed, aloud
    #[arg(long, conflicts_with_all = ["seeds", "minutes", "full", "mutants"])]
    seed: Option<u64>,
    /// Seeds from A to below B
    #[arg(long, value_name = "A..B", value_parser = range, conflicts_with_all = ["minutes", "full"])]
    seeds: Option<Range<u64>>,
    /// So long, from a random seed on
    #[arg(long, value_name = "M", conflicts_with = "full")]
    minutes: Option<u64>,
    /// A hundred thousand seeds
    #[arg(long)]
    full: bool,
    /// Relays with planted bugs: each must be noticed
    #[arg(long)]
    mutants: bool,
}

fn range(text: &str) -> Result<Range<u64>> {
    let (from, to) = text.split_once("..").context("expected A..B, such as 0..500")?;
    let range = from.trim().parse()?..to.trim().parse()?;
    anyhow::ensure!(!range.is_empty(), "{text} holds no seed");
    Ok(range)
}

fn main() -> ExitCode {
    let options = Options::parse();
    // A fault that panics inside a sink is one of those that happen; its words would hide the others.
    std::panic::set_hook(Box::new(|_| {}));
    let seeds = match &options {
        Options { seed: Some(seed), .. } => return one(*seed),
        Options { mutants: true, .. } => return mutants(options.seeds.clone().unwrap_or(0..MUTANT_SEEDS)),
        Options {
            minutes: Some(minutes), ..
        } => {
            let from = fastrand::u64(..u64::MAX / 2);
            println!("from seed {from} on");
            return many(from..u64::MAX, Some(Duration::from_secs(minutes * 60)));
        }
        Options { full: true, .. } => 0..FULL,
        Options { seeds, .. } => seeds.clone().unwrap_or(0..FULL / 10),
    };
    many(seeds, None)
}

fn one(seed: u64) -> ExitCode {
    match run(seed, None, &Trace::new(true)) {
        Ok(outcome) => {
            println!("{}", outcome.verdict);
            ExitCode::SUCCESS
        }
        Err(violation) => {
            println!("{violation}");
            ExitCode::FAILURE
        }
    }
}

/// Runs seeds on all cores until they or the time are over.
fn many(seeds: Range<u64>, time: Option<Duration>) -> ExitCode {
    let (next, began) = (AtomicU64::new(seeds.start), Instant::now());
    let (done, events, duplicates) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let violations = Mutex::new(Vec::<Violation>::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || time.is_some_and(|time| began.elapsed() > time) {
                return;
            }
            match run(seed, None, &Trace::new(false)) {
                Ok(outcome) => {
                    events.fetch_add(outcome.verdict.committed, Ordering::Relaxed);
                    duplicates.fetch_add(outcome.verdict.duplicates, Ordering::Relaxed);
                }
                Err(violation) => {
                    println!("{violation}");
                    violations.lock().expect("nobody panics").push(violation);
                }
            }
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            if done.is_multiple_of(1_000) {
                let rate = done as f64 / began.elapsed().as_secs_f64();
                eprintln!("{done} seeds, {rate:.0} a second");
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let violations = violations.into_inner().expect("nobody panics");
    println!(
        "{} seeds in {:.0?}: {} events committed, {} arrived again; violations: {}",
        done.into_inner(),
        began.elapsed(),
        events.into_inner(),
        duplicates.into_inner(),
        violations.len()
    );
    for violation in &violations {
        println!("  again, aloud: ./x sim --seed {}", violation.seed);
    }
    if violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn mutants(seeds: Range<u64>) -> ExitCode {
    let mut missed = 0;
    for mutant in Mutant::ALL {
        let noticed = seeds
            .clone()
            .find_map(|seed| run(seed, Some(*mutant), &Trace::new(false)).err());
        match noticed {
            Some(Violation { seed, words }) => {
                let first = words.lines().find(|line| line.contains("BROKEN")).unwrap_or(&words);
                println!("noticed: a relay that {mutant}; seed {seed}: {}", first.trim());
            }
            None => {
                println!(
                    "NOT NOTICED in {} seeds: a relay that {mutant}",
                    seeds.end - seeds.start
                );
                missed += 1;
            }
        }
    }
    if missed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
