//! Which of a source's events are settled: the only place from which a [`Settlement`] comes, and so the only thing that
//! moves a floor.

use std::collections::{BTreeSet, VecDeque};

use crate::limits::PENDING_EVENTS_MAX;
use crate::position::{Position, Settlement};

/// The book of one incarnation of a source.
#[derive(Debug, Default)]
pub struct Ledger {
    /// What was handed out above `through`, ascending.
    open: VecDeque<(Position, Mark)>,
    /// Everything handed out at or below is settled, but for `pending`.
    through: Option<Position>,
    /// Events at or below `through` that wait for a retry, so that one of them does not hold the floor for all.
    pending: BTreeSet<Position>,
    /// Events in `open` that are settled.
    settled_above: usize,
    /// Settled events that no record of the source covers yet.
    unrecorded: usize,
    /// How many of them the settlement under way covers.
    offered: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Open,
    Retrying,
    Settled,
}

impl Ledger {
    /// Notes that the source handed out an event.
    ///
    /// # Panics
    /// When positions do not ascend: settling by a position would then cover events that were never delivered.
    pub fn hand_out(&mut self, position: Position) {
        let last = self.open.back().map(|(position, _)| *position).or(self.through);
        assert!(last < Some(position), "a source handed out {position} after {last:?}");
        self.open.push_back((position, Mark::Open));
    }

    /// Notes that an event is delivered, or parked durably.
    pub fn settle(&mut self, position: Position) {
        if self.pending.remove(&position) {
            self.unrecorded += 1;
        } else if let Some(mark) = self.mark(position)
            && *mark != Mark::Settled
        {
            *mark = Mark::Settled;
            self.settled_above += 1;
            self.unrecorded += 1;
            self.advance();
        }
    }

    /// Notes that an event failed and will be tried again: what was handed out after it need not wait for it.
    pub fn retry(&mut self, position: Position) {
        if let Some(mark) = self.mark(position)
            && *mark == Mark::Open
        {
            *mark = Mark::Retrying;
            self.advance();
        }
    }

    /// What may be recorded now, if it is more than what was recorded.
    pub fn settlement(&mut self) -> Option<Settlement> {
        let recordable = self.recordable();
        if recordable == 0 {
            return None;
        }
        self.offered = recordable;
        Some(Settlement {
            through: self.through,
            pending: self.pending.iter().copied().collect(),
        })
    }

    /// Notes that the source recorded the settlement given last.
    pub fn recorded(&mut self) {
        self.unrecorded -= self.offered;
        self.offered = 0;
    }

    /// Events between being handed out and being recorded as settled.
    pub fn in_flight(&self) -> usize {
        self.open.len() - self.settled_above + self.pending.len() + self.unrecorded
    }

    /// Settled events that a record would cover now.
    pub fn recordable(&self) -> usize {
        self.unrecorded - self.settled_above
    }

    fn mark(&mut self, position: Position) -> Option<&mut Mark> {
        let at = self
            .open
            .binary_search_by_key(&position, |(position, _)| *position)
            .ok()?;
        Some(&mut self.open[at].1)
    }

    fn advance(&mut self) {
        while let Some((position, mark)) = self.open.front().copied() {
            match mark {
                Mark::Settled => self.settled_above -= 1,
                Mark::Retrying if self.pending.len() < PENDING_EVENTS_MAX => {
                    self.pending.insert(position);
                }
                Mark::Retrying | Mark::Open => break,
            }
            self.through = Some(position);
            self.open.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(sequence: u64) -> Position {
        Position::new(1, sequence)
    }

    #[test]
    fn a_settlement_stops_below_the_first_open_event() {
        let mut ledger = Ledger::default();
        (1..=4).for_each(|sequence| ledger.hand_out(at(sequence)));
        ledger.settle(at(1));
        ledger.settle(at(3));
        assert_eq!(
            ledger.settlement(),
            Some(Settlement {
                through: Some(at(1)),
                pending: vec![]
            })
        );
        ledger.recorded();
        assert_eq!(ledger.settlement(), None);
        assert_eq!(ledger.in_flight(), 3);
    }

    #[test]
    fn an_event_under_retry_holds_nothing_back() {
        let mut ledger = Ledger::default();
        (1..=3).for_each(|sequence| ledger.hand_out(at(sequence)));
        ledger.retry(at(1));
        ledger.settle(at(2));
        ledger.settle(at(3));
        assert_eq!(
            ledger.settlement(),
            Some(Settlement {
                through: Some(at(3)),
                pending: vec![at(1)]
            })
        );
        ledger.recorded();
        ledger.settle(at(1));
        assert_eq!(
            ledger.settlement(),
            Some(Settlement {
                through: Some(at(3)),
                pending: vec![]
            })
        );
        ledger.recorded();
        assert_eq!(ledger.in_flight(), 0);
    }

    proptest! {
        /// Whatever happens in whatever order, a settlement covers exactly settled events, and each in the end.
        #[test]
        fn a_settlement_covers_settled_events_and_no_others(
            steps in prop::collection::vec((0_u64..40, 0_u8..4), 1..200)
        ) {
            let mut ledger = Ledger::default();
            let mut settled = std::collections::BTreeSet::new();
            let mut next = 0;
            for (pick, step) in steps {
                match step {
                    0 => { ledger.hand_out(at(next)); next += 1; }
                    1 if pick < next => { ledger.settle(at(pick)); settled.insert(at(pick)); }
                    2 if pick < next => ledger.retry(at(pick)),
                    _ => {
                        if let Some(settlement) = ledger.settlement() {
                            let through = settlement.through.expect("something was settled");
                            for sequence in 0..next {
                                let covered = at(sequence) <= through && !settlement.pending.contains(&at(sequence));
                                prop_assert!(!covered || settled.contains(&at(sequence)), "covers the open {sequence}");
                            }
                            ledger.recorded();
                        }
                    }
                }
            }
            (0..next).for_each(|sequence| ledger.settle(at(sequence)));
            ledger.settlement();
            ledger.recorded();
            prop_assert_eq!(ledger.in_flight(), 0);
            prop_assert_eq!(ledger.through, next.checked_sub(1).map(at));
        }
    }
}
