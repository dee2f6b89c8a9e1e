//! How groups of lanes spread over the processes of a relay: each decides for itself, by what the database says of all.

use std::time::Duration;

use crate::limits::GROUPS_LOOK;

/// How the groups of a relay are spread, as one of its processes finds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The groups that nobody holds, ascending.
    pub free: Vec<u32>,
    /// How many groups each of the other live members of this layout holds.
    pub others: Vec<usize>,
    /// How many of the live members stand before this one in an order that all agree upon, so that not all reach for the same
    /// free group.
    pub rank: usize,
    /// Whether somebody holds a group in another layout; then none is to be had.
    pub other_layout: bool,
    /// When the first lease of another member runs out, unless it is renewed.
    pub next_expiry: Option<Duration>,
}

/// What a process does about its groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// It takes this free one, and looks again.
    Take(u32),
    /// It gives one up.
    GiveUp,
    /// It leaves things as they are.
    Stay,
}

impl Standing {
    /// What a process sees that leads (or does not) the one group of a relay that is not spread: whether the lease is to be had,
    /// it learns by claiming it.
    pub fn alone(leads: bool) -> Self {
        Self {
            free: if leads { Vec::new() } else { vec![0] },
            ..Self::default()
        }
    }

    /// What a process does that leads so many groups, those that it is giving up not counted. It takes a free group if no live
    /// member holds fewer, and gives one up if none is free and some member holds fewer by at least two. So the groups spread
    /// evenly, and what a dead process held is taken by those that hold least.
    pub fn next_move(&self, leads: usize) -> Move {
        let least = self.others.iter().copied().min().unwrap_or(leads);
        if self.other_layout {
            return Move::Stay;
        }
        if self.free.is_empty() {
            return if leads >= least + 2 { Move::GiveUp } else { Move::Stay };
        }
        if leads <= least {
            return Move::Take(self.free[self.rank % self.free.len()]);
        }
        Move::Stay
    }

    /// When to look again: every `interval`; sooner where a lease is about to run out, or a group is free and another's to take.
    pub fn look_again(&self, interval: Duration) -> Duration {
        if !self.free.is_empty() && !self.other_layout {
            return interval.min(GROUPS_LOOK);
        }
        match self.next_expiry {
            Some(expiry) => interval.min(expiry + EXPIRED),
            None => interval,
        }
    }
}

/// How long after its time a lease is looked at: by then it has run out on the database's clock.
const EXPIRED: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn standing(free: &[u32], others: &[usize], rank: usize) -> Standing {
        Standing {
            free: free.to_vec(),
            others: others.to_vec(),
            rank,
            ..Standing::default()
        }
    }

    #[test]
    fn a_member_takes_what_nobody_with_less_will_take_and_gives_up_what_is_too_much() {
        for (free, others, leads, expected) in [
            (&[0, 1, 2][..], &[][..], 0, Move::Take(0)),
            (&[2], &[], 5, Move::Take(2)),
            (&[2], &[1, 2], 1, Move::Take(2)),
            (&[2], &[0, 2], 1, Move::Stay),
            (&[2], &[0], 2, Move::Stay),
            (&[], &[0], 2, Move::GiveUp),
            (&[], &[1], 2, Move::Stay),
            (&[], &[], 7, Move::Stay),
        ] {
            assert_eq!(
                standing(free, others, 0).next_move(leads),
                expected,
                "{free:?} {others:?} {leads}"
            );
        }
        assert_eq!(standing(&[3, 5], &[0, 0], 3).next_move(0), Move::Take(5));
        let other_layout = Standing {
            other_layout: true,
            ..standing(&[0], &[0], 0)
        };
        assert_eq!(other_layout.next_move(4), Move::Stay);
        assert_eq!(Standing::alone(true).next_move(1), Move::Stay);
        assert_eq!(Standing::alone(false).next_move(0), Move::Take(0));
    }

    #[test]
    fn a_lease_that_is_about_to_run_out_is_looked_at_in_time() {
        let interval = Duration::from_secs(1);
        let expiring = |next_expiry| Standing {
            next_expiry,
            ..standing(&[], &[1], 0)
        };
        assert_eq!(expiring(None).look_again(interval), interval);
        assert_eq!(expiring(Some(Duration::from_secs(9))).look_again(interval), interval);
        let soon = expiring(Some(Duration::from_millis(200))).look_again(interval);
        assert_eq!(soon, Duration::from_millis(210));
        assert_eq!(standing(&[1], &[0], 0).look_again(interval), GROUPS_LOOK);
    }

    /// A relay in a world where only the rule matters.
    struct World {
        groups: u32,
        /// Which member holds each group.
        held: BTreeMap<u32, usize>,
        /// Groups that their holder is about to let go.
        ending: Vec<u32>,
        alive: Vec<bool>,
    }

    impl World {
        fn of(&self, member: usize) -> usize {
            self.held.values().filter(|holder| **holder == member).count()
        }

        fn look(&mut self, member: usize) -> bool {
            let live: Vec<usize> = (0..self.alive.len()).filter(|member| self.alive[*member]).collect();
            let others = live.iter().filter(|other| **other != member);
            let standing = Standing {
                free: (0..self.groups)
                    .filter(|group| !self.held.contains_key(group))
                    .collect(),
                others: others.map(|other| self.of(*other)).collect(),
                rank: live.iter().position(|live| *live == member).unwrap_or_default(),
                ..Standing::default()
            };
            let own = self.held.iter().filter(|(_, holder)| **holder == member);
            let led: Vec<u32> = own
                .map(|(group, _)| *group)
                .filter(|group| !self.ending.contains(group))
                .collect();
            match standing.next_move(led.len()) {
                Move::Take(group) => _ = self.held.insert(group, member),
                Move::GiveUp => self.ending.extend(led.last()),
                Move::Stay => return false,
            }
            true
        }

        /// Every live member looks in this order, and then one that is giving up a group has done so, until nothing changes.
        fn settle(&mut self, order: &[usize]) {
            for _ in 0..1_000 {
                let mut moved = false;
                for member in order {
                    moved |= self.alive[*member] && self.look(*member);
                }
                if !moved && self.ending.is_empty() {
                    return;
                }
                if let Some(group) = self.ending.pop() {
                    self.held.remove(&group);
                }
            }
            panic!("it never comes to rest: {:?}", self.held);
        }

        fn assert_even(&self) {
            assert_eq!(self.held.len(), self.groups as usize, "a group is left alone");
            let live = (0..self.alive.len()).filter(|member| self.alive[*member]);
            let loads: Vec<usize> = live.map(|member| self.of(member)).collect();
            let (most, least) = (loads.iter().max(), loads.iter().min());
            assert!(
                most.zip(least).is_some_and(|(most, least)| most - least <= 1),
                "{loads:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_holdings_become_even_whoever_comes_and_goes(
            groups in 1_u32..=64,
            holders in prop::collection::vec(prop::option::of(0_usize..8), 64),
            alive in prop::collection::vec(any::<bool>(), 8),
            order in Just((0..8).collect::<Vec<usize>>()).prop_shuffle(),
            survivor in 0_usize..8,
        ) {
            let held = (0..groups).zip(holders).filter_map(|(group, holder)| Some((group, holder?)));
            let mut world = World { groups, held: held.collect(), ending: Vec::new(), alive };
            world.alive[survivor] = true;
            // What the dead hold runs out.
            let alive = world.alive.clone();
            world.held.retain(|_, holder| alive[*holder]);
            world.settle(&order);
            world.assert_even();
            for member in (0..8).filter(|member| *member != survivor) {
                world.alive[member] = !world.alive[member];
                let alive = world.alive.clone();
                world.held.retain(|_, holder| alive[*holder]);
                world.settle(&order);
                world.assert_even();
            }
        }
    }
}
