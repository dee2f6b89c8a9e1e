//! Which transactions were read whole from the log. Pure.
//!
//! Where all that a snapshot sees and the last tick's does not is among them, the snapshot is a tick at once, wherever the log ends
//! and whatever of it is flushed: an event that it sees has come, so it is on the server's disk. The ids that it sees need not be; a
//! record of progress that has this snapshot has a later id itself, so a crash that takes those back takes the record as well.

use std::collections::HashSet;

use super::super::snapshot::Snapshot;
use super::limits::GATHERED_MAX;

/// The transactions that were read, of those that no tick has seen.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// The snapshot of the last tick; `None` before the first.
    reached: Option<Snapshot>,
    /// The log has the lower half of an id.
    read: HashSet<u32>,
}

impl Gathered {
    /// A transaction was read, or has nothing that would come.
    pub fn add(&mut self, xid: u32) {
        if self.read.len() >= GATHERED_MAX {
            // The next tick is one by its position.
            *self = Self::default();
        }
        self.read.insert(xid);
    }

    /// Whether all was read that `snapshot` sees and the last tick does not.
    pub fn holds(&self, snapshot: &Snapshot) -> bool {
        let Some(reached) = &self.reached else {
            return false;
        };
        let since = reached.xmax()..snapshot.xmax();
        since.end.saturating_sub(since.start) <= GATHERED_MAX as u64
            && since
                .filter(|xid| snapshot.sees(*xid))
                .chain(reached.ended_until(snapshot))
                .all(|xid| self.read.contains(&lower_half(xid)))
    }

    /// A tick came that sees this.
    pub fn reached(&mut self, snapshot: &Snapshot) {
        let xmax = snapshot.xmax();
        let whole = |xid: u32| xmax.saturating_add_signed(xid.wrapping_sub(lower_half(xmax)).cast_signed().into());
        self.read.retain(|xid| !snapshot.sees(whole(*xid)));
        self.reached = Some(snapshot.clone());
    }
}

/// What the log says of an id.
#[expect(clippy::cast_possible_truncation, reason = "that is what is asked for")]
pub(super) fn lower_half(xid: u64) -> u32 {
    xid as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> Snapshot {
        Snapshot::parse(text, 0).expect("a snapshot")
    }

    #[test]
    fn a_snapshot_is_held_when_all_that_it_sees_anew_was_read() {
        let mut gathered = Gathered::default();
        gathered.add(10);
        assert!(!gathered.holds(&snapshot("11:11:")), "nothing was reached yet");
        gathered.reached(&snapshot("10:13:10,12"));
        assert!(gathered.holds(&snapshot("10:13:10,12")));
        assert!(gathered.holds(&snapshot("12:13:12")), "10 was read");
        assert!(!gathered.holds(&snapshot("13:13:")), "12 was not");
        assert!(!gathered.holds(&snapshot("12:14:12")), "nor was 13");
        gathered.add(13);
        assert!(gathered.holds(&snapshot("12:14:12")));
        assert!(gathered.holds(&snapshot("10:15:10,12,14")), "14 has not ended");
    }

    #[test]
    fn what_a_tick_has_seen_is_forgotten_and_the_rest_is_kept() {
        let epoch = 7 << 32;
        let at = |xmax: u64| snapshot(&format!("{0}:{0}:", epoch + xmax));
        let mut gathered = Gathered::default();
        gathered.reached(&at(5));
        for xid in [u32::MAX, 4, 5, 6, 9] {
            gathered.add(xid);
        }
        gathered.reached(&at(6));
        assert_eq!(gathered.read, HashSet::from([6, 9]));
        assert!(gathered.holds(&at(7)) && !gathered.holds(&at(8)));
    }

    #[test]
    fn it_is_bounded_and_then_holds_nothing() {
        let mut gathered = Gathered::default();
        gathered.reached(&snapshot("10:10:"));
        for xid in 10..=(10 + GATHERED_MAX as u32) {
            gathered.add(xid);
        }
        assert!(gathered.read.len() == 1 && !gathered.holds(&snapshot("11:11:")));
    }
}
