//! Which faults befall which window: a pure function of the seed.

use std::collections::HashSet;
use std::time::Duration;

use crate::fault::Fault;
use crate::limits::{FAULTS_IN_WINDOW, WINDOW_SECONDS};

/// A stretch of time with its faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// How long it lasts.
    pub length: Duration,
    /// What befalls it, and how long after its beginning; empty in a calm window.
    pub faults: Vec<(Duration, Fault)>,
}

/// The windows of a seed. The first is calm, since everything else is compared with it; of the others a quarter is. The faults
/// are dealt like cards, so that each comes once before any comes again; no two in a window act in the same place.
pub fn plan(seed: u64, windows: u32, faults: &[Fault]) -> Vec<Window> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut deck = Vec::new();
    (0..windows)
        .map(|number| {
            let length = Duration::from_millis(random.u64(WINDOW_SECONDS.start * 1000..=WINDOW_SECONDS.end * 1000));
            let calm = number == 0 || random.u8(0..4) == 0 || faults.is_empty();
            // One fault alone says more about its recovery; several at once find more.
            let wanted = if calm { 0 } else { *pick(&mut random, FAULTS_IN_WINDOW) };
            let drawn = draw(wanted, &mut deck, faults, &mut random);
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

/// Takes faults from the top of the deck, leaving those in place whose target is taken.
fn draw(wanted: usize, deck: &mut Vec<Fault>, faults: &[Fault], random: &mut fastrand::Rng) -> Vec<Fault> {
    let mut drawn: Vec<Fault> = Vec::new();
    let mut targets = HashSet::new();
    while drawn.len() < wanted {
        if deck.is_empty() {
            deck.extend(faults);
            random.shuffle(deck);
        }
        let Some(at) = deck.iter().position(|fault| targets.insert(fault.description().target)) else {
            break;
        };
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
