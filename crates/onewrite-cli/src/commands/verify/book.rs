//! The truth to compare with: what became of every event that verify wrote.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use onewrite_core::promise::Ledger;
use serde::Serialize;
use tokio::time::Instant;
use uuid::Uuid;

/// Events by their ids. Writers note what they know; what they cannot know is looked up afterwards.
#[derive(Debug, Default)]
pub struct Book(Mutex<HashMap<Uuid, Noted>>, Mutex<Tally>);

/// One event.
#[derive(Clone, Debug)]
pub struct Noted {
    /// Its key.
    pub key: String,
    /// Its number among the events that were written under its key, those that were rolled back included.
    pub number: u64,
    /// What became of it.
    pub fate: Fate,
    /// When that was known.
    pub known: Instant,
}

/// What became of an event's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// COMMIT returned.
    Committed,
    /// Nothing of it is there.
    RolledBack,
    /// COMMIT was not answered.
    Unknown,
}

/// How many events there are of each fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Events that are committed.
    pub committed: u64,
    /// Events that are not.
    pub rolled_back: u64,
    /// Events whose COMMIT was not answered. Afterwards each also counts as what it turned out to be.
    pub unanswered: u64,
    /// Transactions that failed before their COMMIT; their events count as rolled back.
    pub failed_transactions: u64,
}

impl Book {
    /// Notes the events of one transaction.
    pub fn note(&self, events: impl IntoIterator<Item = (Uuid, String, u64)>, fate: Fate) {
        let known = Instant::now();
        let (mut book, mut tally) = (lock(&self.0), lock(&self.1));
        for (id, key, number) in events {
            match fate {
                Fate::Committed => tally.committed += 1,
                Fate::RolledBack => tally.rolled_back += 1,
                Fate::Unknown => tally.unanswered += 1,
            }
            let noted = Noted {
                key,
                number,
                fate,
                known,
            };
            book.insert(id, noted);
        }
    }

    /// Notes a transaction that failed.
    pub fn note_failure(&self) {
        lock(&self.1).failed_transactions += 1;
    }

    /// How many events there are of each fate so far.
    pub fn tally(&self) -> Tally {
        *lock(&self.1)
    }

    /// The events whose fate is not known, and their keys.
    pub fn unknown(&self) -> (Vec<Uuid>, Vec<String>) {
        let book = lock(&self.0);
        let unknown = book.iter().filter(|(_, noted)| noted.fate == Fate::Unknown);
        let (ids, mut keys): (Vec<_>, Vec<_>) = unknown.map(|(id, noted)| (*id, noted.key.clone())).unzip();
        keys.sort_unstable();
        keys.dedup();
        (ids, keys)
    }

    /// Notes which of the events of unknown fate are committed; the others are not.
    pub fn resolve(&self, is_committed: impl Fn(&Uuid) -> bool) {
        let (mut book, mut tally) = (lock(&self.0), lock(&self.1));
        for (id, noted) in book.iter_mut().filter(|(_, noted)| noted.fate == Fate::Unknown) {
            if is_committed(id) {
                noted.fate = Fate::Committed;
                tally.committed += 1;
            } else {
                noted.fate = Fate::RolledBack;
                tally.rolled_back += 1;
            }
        }
    }

    /// The committed events with all that is known of them.
    pub fn committed(&self) -> Vec<(Uuid, Noted)> {
        let book = lock(&self.0);
        let committed = book.iter().filter(|(_, noted)| noted.fate == Fate::Committed);
        committed.map(|(id, noted)| (*id, noted.clone())).collect()
    }

    /// The ledger for the checker.
    pub fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::default();
        for (id, noted) in lock(&self.0).iter() {
            match noted.fate {
                Fate::Committed => ledger.committed(*id, Some((noted.key.clone(), noted.number))),
                Fate::RolledBack => ledger.rolled_back(*id),
                Fate::Unknown => {}
            }
        }
        ledger
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_answered_is_resolved_afterwards() {
        let (book, id) = (Book::default(), Uuid::from_u128);
        book.note([(id(1), "a".into(), 1), (id(2), "b".into(), 1)], Fate::Committed);
        book.note([(id(3), "a".into(), 2)], Fate::RolledBack);
        book.note([(id(4), "a".into(), 3), (id(5), "b".into(), 2)], Fate::Unknown);
        let (mut ids, keys) = book.unknown();
        ids.sort_unstable();
        assert_eq!((ids, keys), (vec![id(4), id(5)], vec!["a".to_owned(), "b".to_owned()]));
        book.resolve(|known| *known == id(4));
        let tally = book.tally();
        assert_eq!((tally.committed, tally.rolled_back, tally.unanswered), (3, 2, 2));
        assert_eq!((book.ledger().len(), book.committed().len()), (3, 3));
        assert!(book.unknown().0.is_empty());
    }
}
