//! Which faults befall which window: a pure function of the seed.

use std::collections::HashSet;
use std::time::Duration;

use crate::fault::{Fault, Target};
use crate::limits::{FAULTS_IN_WINDOW, SHORT_RUN, WINDOW_SECONDS};

/// A stretch of time with its faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// How long it lasts.
    pub length: Duration,
    /// What befalls it, and how long after its beginning; empty in a calm window.
    pub faults: Vec<(Duration, Fault)>,
}

/// The windows of a seed. The first is calm, since everything else is compared with it; of the others a quarter is. The faults
/// are dealt like cards, so that each comes once before any comes again; no two in a window act in the same place. In a short run only the
/// first window is calm, and the first fault that is dealt to a window acts where no other window's does, as far as there are such.
pub fn plan(seed: u64, windows: u32, faults: &[Fault]) -> Vec<Window> {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut deck, mut led) = (Vec::new(), HashSet::new());
    let short = windows <= SHORT_RUN;
    (0..windows)
        .map(|number| {
            let length = Duration::from_millis(random.u64(WINDOW_SECONDS.start * 1000..=WINDOW_SECONDS.end * 1000));
            let calm = number == 0 || (random.u8(0..4) == 0 && !short) || faults.is_empty();
            // One fault alone says more about its recovery; several at once find more.
            let wanted = if calm { 0 } else { *pick(&mut random, FAULTS_IN_WINDOW) };
            let drawn = draw(wanted, &mut deck, faults, &mut random, &led);
            if short {
                led.extend(drawn.first().map(|fault| fault.description().target));
            }
            let latest = u64::try_from(length.as_millis()).expect("a window is short") * 2 / 5;
            let mut placed: Vec<_> = drawn
                .into_iter()
                .map(|fault| (Duration::from_millis(random.u64(0..latest)), fault))
                .collect();
            placed.sort();
            Window { length, faults: placed }
        })
        .collect()
}

/// Takes faults from the top of the deck, leaving those in place whose target is taken; the first acts elsewhere than `led`, if any does.
fn draw(
    wanted: usize,
    deck: &mut Vec<Fault>,
    faults: &[Fault],
    random: &mut fastrand::Rng,
    led: &HashSet<Target>,
) -> Vec<Fault> {
    let mut drawn: Vec<Fault> = Vec::new();
    let mut targets = HashSet::new();
    while drawn.len() < wanted {
        if deck.is_empty() {
            deck.extend(faults);
            random.shuffle(deck);
        }
        let target = |fault: &Fault| fault.description().target;
        let elsewhere = deck.iter().position(|fault| !led.contains(&target(fault)));
        let at = match elsewhere.filter(|_| drawn.is_empty()) {
            Some(at) => Some(at),
            None => deck.iter().position(|fault| !targets.contains(&target(fault))),
        };
        let Some(at) = at else { break };
        targets.insert(target(&deck[at]));
        drawn.push(deck.remove(at));
    }
    drawn
}

fn pick<'a, T>(random: &mut fastrand::Rng, choices: &'a [T]) -> &'a T {
    &choices[random.usize(0..choices.len())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FAULTS;

    fn all() -> Vec<Fault> {
        FAULTS.iter().map(|known| known.fault).collect()
    }

    #[test]
    fn a_seed_has_one_plan_and_another_seed_another() {
        assert_eq!(plan(7, 40, &all()), plan(7, 40, &all()));
        assert_ne!(plan(7, 40, &all()), plan(8, 40, &all()));
    }

    #[test]
    fn about_a_quarter_is_calm_and_every_fault_comes() {
        let windows = plan(1, 400, &all());
        let calm = windows.iter().filter(|window| window.faults.is_empty()).count();
        assert!((60..140).contains(&calm), "{calm} of 400");
        let seen: HashSet<_> = windows
            .iter()
            .flat_map(|window| &window.faults)
            .map(|placed| placed.1)
            .collect();
        assert_eq!(seen.len(), FAULTS.len());
        assert!(windows[0].faults.is_empty());
    }

    /// As in the slices of `./x test`, whatever the machine can do and whichever seed is named.
    #[test]
    fn three_windows_of_a_short_run_have_faults_in_different_places() {
        let few: Vec<Fault> = all()
            .into_iter()
            .filter(|fault| {
                !matches!(
                    fault,
                    Fault::RelayClock | Fault::DatabaseDiskFull | Fault::BrokerDiskFull
                )
            })
            .collect();
        for (seed, faults) in (0..500).flat_map(|seed| [(seed, all()), (seed, few.clone())]) {
            let windows = plan(seed, SHORT_RUN, &faults);
            let places = |window: &Window| -> Vec<Target> {
                let placed = window.faults.iter();
                placed.map(|placed| placed.1.description().target).collect()
            };
            let places: Vec<_> = windows.iter().map(places).collect();
            assert!(places[0].is_empty(), "seed {seed}");
            let differ = |first: &Target, second: &Target| {
                let third = |third: &Target| third != first && third != second;
                first != second && places[3].iter().any(third)
            };
            let firsts = places[1].iter();
            let found = firsts.flat_map(|first| places[2].iter().map(move |second| (first, second)));
            assert!(
                found.into_iter().any(|(first, second)| differ(first, second)),
                "seed {seed}: {places:?}"
            );
        }
    }

    #[test]
    fn faults_of_a_window_act_in_different_places_and_begin_early() {
        for window in plan(3, 200, &all()) {
            let targets: HashSet<_> = window
                .faults
                .iter()
                .map(|placed| placed.1.description().target)
                .collect();
            assert_eq!(targets.len(), window.faults.len());
            assert!(window.faults.iter().all(|placed| placed.0 < window.length / 2));
            assert!((5..=20).contains(&window.length.as_secs()));
        }
    }
}
