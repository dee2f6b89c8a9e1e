//! The room for what is under way: bytes, taken and given back.
//!
//! Whoever finds too little waits, and is woken when half of it is free, so that one waking serves many records. A record that needs more
//! than that would never have its turn while others take what becomes free: when it finds too little, nobody gets anything out of turn
//! until it has been served.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::limits::IN_FLIGHT_BYTES;

const HALF: usize = IN_FLIGHT_BYTES / 2;

/// The room of one producer.
#[derive(Default)]
pub(super) struct Hold {
    taken: AtomicUsize,
    /// Who waits for room where turns are kept, the first in front.
    queue: Mutex<VecDeque<Waiting>>,
    /// The weight that the first in the queue waits for; 0 where there is no queue.
    wanted: AtomicUsize,
}

struct Waiting {
    /// Of its batch.
    slot: usize,
    weight: usize,
}

/// What a change means for those who wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Wakes {
    Nobody,
    Everybody,
}

impl Hold {
    /// Takes room for a record of the batch at `slot`, if there is any and it is its turn. A record larger than all the room gets it when
    /// nothing else is there.
    pub(super) fn reserve(&self, slot: usize, weight: usize) -> (bool, Wakes) {
        if self.wanted.load(SeqCst) == 0 {
            if self.take(weight) {
                return (true, Wakes::Nobody);
            }
            if weight <= HALF {
                return (false, Wakes::Nobody);
            }
        }
        let mut queue = self.queue();
        match queue.iter_mut().find(|waiting| waiting.slot == slot) {
            Some(waiting) => waiting.weight = weight,
            None => queue.push_back(Waiting { slot, weight }),
        }
        // Before the room is looked at: what is given back after that sees it.
        let mut wakes = self.keep_turns(&mut queue);
        let its_turn = queue.front().is_none_or(|first| first.slot == slot);
        let taken = its_turn && self.take(weight);
        if taken && !queue.is_empty() {
            queue.pop_front();
            _ = self.keep_turns(&mut queue);
            wakes = Wakes::Everybody;
        }
        (taken, wakes)
    }

    /// Gives room back.
    pub(super) fn release(&self, weight: usize) -> Wakes {
        let before = self.taken.fetch_sub(weight, SeqCst);
        let after = before - weight;
        let wanted = self.wanted.load(SeqCst);
        let serves_the_first = wanted > 0 && after + wanted <= IN_FLIGHT_BYTES;
        if after == 0 || (before > HALF && after <= HALF) || serves_the_first {
            Wakes::Everybody
        } else {
            Wakes::Nobody
        }
    }

    /// The batch at `slot` waits for no room: nobody has to let it go first.
    pub(super) fn withdraw(&self, slot: usize) -> Wakes {
        if self.wanted.load(SeqCst) == 0 {
            return Wakes::Nobody;
        }
        let mut queue = self.queue();
        let before = queue.len();
        queue.retain(|waiting| waiting.slot != slot);
        if queue.len() == before {
            return Wakes::Nobody;
        }
        _ = self.keep_turns(&mut queue);
        Wakes::Everybody
    }

    fn take(&self, weight: usize) -> bool {
        self.taken
            .fetch_update(SeqCst, SeqCst, |taken| {
                (taken == 0 || taken + weight <= IN_FLIGHT_BYTES).then_some(taken + weight)
            })
            .is_ok()
    }

    /// Turns are kept as long as somebody waits for more than half; the others serve themselves.
    fn keep_turns(&self, queue: &mut VecDeque<Waiting>) -> Wakes {
        let kept = queue.iter().any(|waiting| waiting.weight > HALF);
        if !kept {
            queue.clear();
        }
        let before = self.wanted.load(SeqCst);
        self.wanted.store(queue.front().map_or(0, |first| first.weight), SeqCst);
        if before != 0 && !kept {
            Wakes::Everybody
        } else {
            Wakes::Nobody
        }
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIGHT: usize = IN_FLIGHT_BYTES / 4;
    const HEAVY: usize = IN_FLIGHT_BYTES - LIGHT / 2;

    fn full() -> Hold {
        let hold = Hold::default();
        for _ in 0..4 {
            assert_eq!(hold.reserve(1, LIGHT), (true, Wakes::Nobody));
        }
        hold
    }

    #[test]
    fn a_heavy_record_has_its_turn_while_others_want_what_becomes_free() {
        let hold = full();
        assert!(!hold.reserve(2, HEAVY).0);
        for left in (0..4).rev() {
            let wakes = hold.release(LIGHT);
            assert_eq!(wakes == Wakes::Everybody, left == 2 || left == 0, "{left} are left");
            if left > 0 {
                assert!(!hold.reserve(1, LIGHT).0, "out of its turn");
                assert!(!hold.reserve(2, HEAVY).0, "there is not enough yet");
            }
        }
        assert_eq!(hold.reserve(2, HEAVY), (true, Wakes::Everybody));
        // The others as before, without turns.
        assert!(!hold.reserve(1, LIGHT).0);
        assert_eq!(hold.release(HEAVY), Wakes::Everybody);
        assert_eq!(hold.reserve(3, LIGHT), (true, Wakes::Nobody));
    }

    #[test]
    fn the_first_is_told_as_soon_as_there_is_room_for_it() {
        let hold = full();
        assert!(!hold.reserve(2, HALF + 1).0);
        assert_eq!(hold.release(LIGHT), Wakes::Nobody);
        assert_eq!(hold.release(1), Wakes::Nobody);
        assert_eq!(hold.release(LIGHT - 1), Wakes::Everybody, "half is free");
        assert!(!hold.reserve(2, HALF + 1).0);
        assert_eq!(hold.release(1), Wakes::Everybody, "as much as it needs");
        assert!(hold.reserve(2, HALF + 1).0);
    }

    #[test]
    fn a_heavy_record_that_nobody_waits_with_any_more_holds_nobody_up() {
        let hold = full();
        assert!(!hold.reserve(2, HEAVY).0);
        assert_eq!(hold.release(LIGHT), Wakes::Nobody);
        assert!(!hold.reserve(3, LIGHT).0);
        assert_eq!(hold.withdraw(2), Wakes::Everybody);
        assert_eq!(hold.withdraw(2), Wakes::Nobody);
        assert_eq!(hold.reserve(3, LIGHT), (true, Wakes::Nobody));
    }

    #[test]
    fn light_records_have_their_turn_between_heavy_ones() {
        let hold = full();
        for (slot, weight) in [(2, HEAVY), (3, LIGHT), (4, HEAVY)] {
            assert!(!hold.reserve(slot, weight).0);
        }
        (0..4).for_each(|_| _ = hold.release(LIGHT));
        assert!(!hold.reserve(3, LIGHT).0 && !hold.reserve(4, HEAVY).0);
        assert!(hold.reserve(2, HEAVY).0);
        assert_eq!(hold.release(HEAVY), Wakes::Everybody);
        assert!(!hold.reserve(4, HEAVY).0);
        assert_eq!(hold.reserve(3, LIGHT), (true, Wakes::Everybody));
        assert!(!hold.reserve(3, LIGHT).0, "the next turn is another's");
        assert_eq!(hold.release(LIGHT), Wakes::Everybody);
        assert!(hold.reserve(4, HEAVY).0);
    }
}
