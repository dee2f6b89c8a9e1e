//! The windows against a model of a database: arbitrary transactions, commits, settlements and crashes.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::ledger::Ledger;

/// A snapshot is what it sees.
type Snapshot = Rc<BTreeSet<u64>>;

/// Rows, each with its transaction; a transaction is under way, committed or gone.
#[derive(Default)]
struct Database {
    rows: BTreeMap<u64, u64>,
    committed: Snapshot,
    open: Vec<u64>,
    transactions: u64,
}

impl Database {
    fn begin(&mut self) {
        self.transactions += 1;
        self.open.push(self.transactions);
    }

    fn insert(&mut self, pick: usize) {
        if !self.open.is_empty() {
            let sequence = self.rows.len() as u64 + 1;
            self.rows.insert(sequence, self.open[pick % self.open.len()]);
        }
    }

    fn end(&mut self, pick: usize, commit: bool) {
        if !self.open.is_empty() {
            let transaction = self.open.swap_remove(pick % self.open.len());
            if commit {
                Rc::make_mut(&mut self.committed).insert(transaction);
            }
        }
    }

    fn committed_rows(&self) -> BTreeSet<u64> {
        self.rows
            .iter()
            .filter(|(_, row)| self.committed.contains(row))
            .map(|(sequence, _)| *sequence)
            .collect()
    }

    fn read(&self, base: &Snapshot, upper: &Snapshot, cursor: u64, limit: usize) -> Vec<u64> {
        self.rows
            .range(cursor + 1..)
            .filter(|(_, row)| upper.contains(row) && !base.contains(row))
            .map(|(sequence, _)| *sequence)
            .take(limit)
            .collect()
    }
}

/// A source and what stands behind it, as an adapter drives them.
struct Incarnation {
    windows: Windows<Snapshot>,
    ledger: Ledger,
    /// What was handed out, by position.
    out: BTreeMap<Position, u64>,
    settled: BTreeSet<u64>,
    carried_out: bool,
}

impl Incarnation {
    fn new(progress: Progress<Snapshot>) -> Self {
        let (windows, ledger) = (Windows::new(progress), Ledger::default());
        Self {
            windows,
            ledger,
            out: BTreeMap::new(),
            settled: BTreeSet::new(),
            carried_out: false,
        }
    }

    fn poll(&mut self, database: &Database, limit: usize) {
        if !self.carried_out {
            self.carried_out = true;
            for sequence in self.windows.carried().to_vec() {
                self.note(Position::new(CARRIED, sequence), sequence);
            }
            return;
        }
        if self.windows.reading().is_none() {
            self.windows.open(database.committed.clone());
        }
        let reading = self.windows.reading().expect("a window is open");
        let rows = database.read(reading.base, reading.upper, reading.cursor, limit);
        for sequence in &rows {
            let position = self.windows.hand_out(*sequence);
            self.note(position, *sequence);
        }
        if rows.len() < limit {
            self.windows.complete();
        }
    }

    fn note(&mut self, position: Position, sequence: u64) {
        self.ledger.hand_out(position);
        assert!(
            !self.out.values().any(|other| *other == sequence),
            "{sequence} was handed out twice"
        );
        self.out.insert(position, sequence);
    }

    fn decide(&mut self, pick: usize, settle: bool) {
        let Some((position, sequence)) = self.out.iter().nth(pick % self.out.len().max(1)) else {
            return;
        };
        match settle {
            true => {
                self.ledger.settle(*position);
                self.settled.insert(*sequence);
            }
            false => self.ledger.retry(*position),
        }
    }
}

/// The rows that a record says are settled.
fn covered(progress: &Progress<Snapshot>, database: &Database) -> BTreeSet<u64> {
    let window = progress.window.clone().unwrap_or_default();
    database
        .rows
        .iter()
        .filter(|(sequence, row)| {
            let below = progress.floor.contains(row) || (window.contains(row) && **sequence <= progress.sequence);
            below && !progress.pending.contains(sequence)
        })
        .map(|(sequence, _)| *sequence)
        .collect()
}

fn nothing() -> Progress<Snapshot> {
    Progress {
        floor: Snapshot::default(),
        window: None,
        sequence: 0,
        pending: Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_is_recorded_is_settled_and_the_rest_is_handed_out_once(
        steps in prop::collection::vec((0_u8..10, 0_usize..50), 1..120)
    ) {
        let mut database = Database::default();
        let mut recorded = nothing();
        let mut settled_ever = BTreeSet::new();
        let mut source = Incarnation::new(recorded.clone());
        for (step, pick) in steps {
            match step {
                0 => database.begin(),
                1 | 2 => database.insert(pick),
                3 => database.end(pick, pick % 4 > 0),
                4 | 5 => source.poll(&database, pick % 4 + 1),
                6 => source.decide(pick, true),
                7 => source.decide(pick, pick % 3 > 0),
                8 => if let Some(settlement) = source.ledger.settlement() {
                    source.windows.settle(&settlement);
                    recorded = source.windows.progress();
                    source.ledger.recorded();
                    settled_ever.extend(source.settled.iter().copied());
                    let covered = covered(&recorded, &database);
                    let open: Vec<_> = covered.difference(&settled_ever).collect();
                    prop_assert!(open.is_empty(), "{open:?} are not settled but below {recorded:?}");
                },
                _ if pick % 5 == 0 => source = Incarnation::new(recorded.clone()),
                _ => {
                    // The record that a source makes by itself, when it passed what concerns it not.
                    recorded = source.windows.progress();
                    let covered = covered(&recorded, &database);
                    prop_assert!(covered.is_subset(&settled_ever), "{covered:?} exceed {settled_ever:?}");
                }
            }
        }
        while !database.open.is_empty() {
            database.end(0, true);
        }
        let expected: BTreeSet<u64> =
            database.committed_rows().difference(&covered(&recorded, &database)).copied().collect();
        let mut last = Incarnation::new(recorded);
        (0..database.rows.len() + 5).for_each(|_| last.poll(&database, 3));
        prop_assert_eq!(&last.out.values().copied().collect::<BTreeSet<_>>(), &expected);
        (0..last.out.len()).for_each(|pick| last.decide(pick, true));
        if let Some(settlement) = last.ledger.settlement() {
            last.windows.settle(&settlement);
        }
        prop_assert_eq!(last.windows.progress().pending, Vec::<u64>::new());
        prop_assert_eq!(covered(&last.windows.progress(), &database), database.committed_rows());
    }
}

#[test]
fn a_window_without_events_moves_the_floor_with_the_one_before_it() {
    let mut windows = Windows::new(Progress {
        floor: 'a',
        window: None,
        sequence: 0,
        pending: vec![],
    });
    windows.open('b');
    let position = windows.hand_out(5);
    windows.complete();
    windows.open('c');
    windows.complete();
    assert_eq!((*windows.base(), windows.progress().floor), ('c', 'a'));
    windows.settle(&Settlement {
        through: Some(position),
        pending: vec![],
    });
    assert_eq!(
        windows.progress(),
        Progress {
            floor: 'c',
            window: None,
            sequence: 0,
            pending: vec![]
        }
    );
}

#[test]
fn what_was_pending_stays_so_until_it_is_settled() {
    let mut windows = Windows::new(Progress {
        floor: 'a',
        window: Some('b'),
        sequence: 7,
        pending: vec![3, 6],
    });
    assert_eq!(windows.carried(), [3, 6]);
    windows.settle(&Settlement {
        through: Some(Position::new(CARRIED, 3)),
        pending: vec![],
    });
    let progress = windows.progress();
    assert_eq!(
        progress,
        Progress {
            floor: 'a',
            window: Some('b'),
            sequence: 7,
            pending: vec![6]
        }
    );
}
