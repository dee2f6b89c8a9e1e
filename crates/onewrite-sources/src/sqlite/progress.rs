//! How far a route is: one row, and the book from which it is written.

use onewrite_core::{Lease, Position, Settlement, StoreError, StoreFailure};
use rusqlite::{OptionalExtension as _, Row};

use super::error::unreadable;
use super::worker::Worker;

/// The generation of events that the last incarnation left pending.
pub(super) const CARRIED: u64 = 0;
/// The generation of everything else.
pub(super) const FRESH: u64 = 1;

/// What is recorded: settled is all up to `sequence`, but for `pending`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub sequence: i64,
    /// Ascending.
    pub pending: Vec<i64>,
}

impl Progress {
    /// Reads it from a row's columns `sequence` and `pending`, which stand at `first` and after it.
    pub fn of_row(row: &Row<'_>, first: usize) -> rusqlite::Result<Self> {
        let text: String = row.get(first + 1)?;
        let mut pending: Vec<i64> = serde_json::from_str(&text).map_err(|error| unreadable(first + 1, error))?;
        pending.sort_unstable();
        pending.dedup();
        Ok(Self {
            sequence: row.get(first)?,
            pending,
        })
    }

    /// The text of the column `pending`.
    pub fn pending_text(&self) -> String {
        serde_json::json!(self.pending).to_string()
    }
}

/// Reads a route's progress, under the fence.
pub(super) async fn load(worker: &Worker, lease: &Lease, route: &str) -> Result<Progress, StoreError> {
    const LOAD: &str = "SELECT sequence, pending FROM onewrite_route WHERE relay = ?1 AND name = ?2";
    let names = (lease.relay.clone(), route.to_owned());
    let load = worker.fenced("reading the recorded progress", lease, move |transaction| {
        transaction
            .query_row(LOAD, names, |row| Progress::of_row(row, 0))
            .optional()
    });
    load.await?.ok_or_else(|| not_recorded(lease, route))
}

/// Records progress durably, unless the lease is another's by now.
pub(super) async fn record(worker: &Worker, lease: &Lease, route: &str, progress: &Progress) -> Result<(), StoreError> {
    const RECORD: &str = "UPDATE onewrite_route SET sequence = ?3, pending = ?4, \
                          updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE relay = ?1 AND name = ?2";
    let bound = (
        lease.relay.clone(),
        route.to_owned(),
        progress.sequence,
        progress.pending_text(),
    );
    let recorded = worker.fenced("recording progress", lease, move |transaction| {
        transaction.prepare_cached(RECORD)?.execute(bound)
    });
    match recorded.await? {
        0 => Err(not_recorded(lease, route)),
        _ => Ok(()),
    }
}

fn not_recorded(lease: &Lease, route: &str) -> StoreError {
    let words = format!(
        "route {route:?} of relay {:?} has no recorded progress; start the relay anew",
        lease.relay
    );
    StoreError::new(StoreFailure::Refused, words)
}

/// The book of one incarnation of a feed: what was read and handed out, and what is settled of it.
#[derive(Debug)]
pub(super) struct Book {
    recorded: Progress,
    /// What was pending in the beginning, ascending.
    carried: Vec<i64>,
    /// How many of them were read again, and how many are settled or pending by core's word.
    carried_read: usize,
    carried_done: usize,
    cursor: i64,
    /// Everything up to here is settled, or pending.
    floor: i64,
    handed_out: Option<Position>,
    settlement: Settlement,
}

impl Book {
    pub fn new(recorded: Progress) -> Self {
        Self {
            carried: recorded.pending.clone(),
            carried_read: 0,
            carried_done: 0,
            cursor: recorded.sequence,
            floor: recorded.sequence,
            handed_out: None,
            settlement: Settlement::default(),
            recorded,
        }
    }

    /// The carried events that are still to be read, ascending.
    pub fn carried_unread(&self) -> &[i64] {
        &self.carried[self.carried_read..]
    }

    /// Everything up to here was read.
    pub fn cursor(&self) -> i64 {
        self.cursor
    }

    /// Notes that the carried events up to this sequence were read, and which was handed out last.
    pub fn read_carried(&mut self, through: i64, handed_out: Option<Position>) {
        self.carried_read = self.carried.partition_point(|sequence| *sequence <= through);
        self.handed_out = handed_out.or(self.handed_out);
    }

    /// Notes that everything up to `cursor` was read, and which event was handed out last.
    pub fn read_on(&mut self, cursor: i64, handed_out: Option<Position>) {
        self.cursor = cursor;
        self.handed_out = handed_out.or(self.handed_out);
    }

    /// Takes core's word on what was handed out.
    pub fn settle(&mut self, settlement: &Settlement) {
        self.settlement = settlement.clone();
    }

    /// What may be recorded now. It never falls back.
    pub fn progress(&mut self) -> Progress {
        let through = self.settlement.through;
        // Then what was read beyond the last event that was handed out concerns other routes, and is done with as well.
        let (floor, done) = match through {
            _ if through >= self.handed_out => (self.cursor, self.carried_read),
            Some(through) if through.generation == FRESH => (through.sequence.cast_signed(), self.carried.len()),
            Some(through) => {
                let done = self
                    .carried
                    .partition_point(|sequence| at(CARRIED, *sequence) <= through);
                (self.floor, done)
            }
            None => (self.floor, self.carried_done),
        };
        self.floor = self.floor.max(floor);
        self.carried_done = self.carried_done.max(done);
        let pending = self.settlement.pending.iter();
        let mut pending: Vec<i64> = pending.map(|position| position.sequence.cast_signed()).collect();
        pending.extend(&self.carried[self.carried_done..]);
        pending.sort_unstable();
        Progress {
            sequence: self.floor,
            pending,
        }
    }

    /// Notes what the database holds now.
    pub fn recorded(&mut self, progress: Progress) {
        self.recorded = progress;
    }

    /// What the database holds.
    pub fn last_recorded(&self) -> &Progress {
        &self.recorded
    }
}

/// A position.
pub(super) fn at(generation: u64, sequence: i64) -> Position {
    Position::new(generation, sequence.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(sequence: i64, pending: &[i64]) -> Book {
        Book::new(Progress {
            sequence,
            pending: pending.to_vec(),
        })
    }

    fn settlement(through: Position, pending: &[Position]) -> Settlement {
        Settlement {
            through: Some(through),
            pending: pending.to_vec(),
        }
    }

    fn shown(book: &mut Book) -> (i64, Vec<i64>) {
        let progress = book.progress();
        (progress.sequence, progress.pending)
    }

    #[test]
    fn nothing_moves_before_it_is_settled() {
        let mut book = book(10, &[3, 5]);
        assert_eq!(shown(&mut book), (10, vec![3, 5]));
        book.read_carried(5, Some(at(CARRIED, 5)));
        assert_eq!(shown(&mut book), (10, vec![3, 5]));
        book.settle(&settlement(at(CARRIED, 3), &[]));
        assert_eq!(shown(&mut book), (10, vec![5]));
        book.read_on(20, Some(at(FRESH, 18)));
        assert_eq!(shown(&mut book), (10, vec![5]));
        book.settle(&settlement(at(FRESH, 12), &[at(CARRIED, 5)]));
        assert_eq!(shown(&mut book), (12, vec![5]));
        book.settle(&settlement(at(FRESH, 18), &[at(CARRIED, 5), at(FRESH, 17)]));
        assert_eq!(shown(&mut book), (20, vec![5, 17]));
    }

    #[test]
    fn rows_of_other_routes_are_passed_once_nothing_is_under_way() {
        let mut book = book(10, &[3, 5]);
        book.read_carried(5, None);
        book.read_on(1_000, None);
        assert_eq!(shown(&mut book), (1_000, vec![]));
        book.read_on(2_000, Some(at(FRESH, 1_500)));
        assert_eq!(shown(&mut book), (1_000, vec![]));
        book.settle(&settlement(at(FRESH, 1_500), &[at(FRESH, 1_400)]));
        assert_eq!(shown(&mut book), (2_000, vec![1_400]));
        book.read_on(3_000, Some(at(FRESH, 2_500)));
        assert_eq!(shown(&mut book), (2_000, vec![1_400]));
    }

    #[test]
    fn what_was_not_read_again_stays_pending() {
        let mut book = book(10, &[3, 5, 7]);
        book.read_carried(3, Some(at(CARRIED, 3)));
        book.settle(&settlement(at(CARRIED, 3), &[]));
        assert_eq!(shown(&mut book), (10, vec![5, 7]));
        assert_eq!(book.carried_unread(), [5, 7]);
    }
}
