//! Transactions of applications.

use jiff::Timestamp;

use super::database::MemoryDatabase;
use super::state::{PlainRow, Row};

/// A transaction of an application. Dropping it rolls it back.
pub struct MemoryTransaction {
    database: MemoryDatabase,
    number: u64,
    rows: Vec<(u64, PlainRow)>,
}

impl MemoryTransaction {
    pub(super) fn new(database: MemoryDatabase) -> Self {
        let number = {
            let mut state = database.state();
            state.transactions += 1;
            state.transactions
        };
        Self {
            database,
            number,
            rows: Vec::new(),
        }
    }

    /// Appends events, in the order of the slice. Waits for every other transaction that has appended to one of their keys.
    pub async fn append(&mut self, events: &[onewrite::Event]) {
        for event in events {
            if let Some(key) = &event.key {
                self.lock(key).await;
            }
            self.insert(event.into());
        }
    }

    /// Inserts a row, locking nothing and checking nothing.
    pub fn insert(&mut self, row: PlainRow) {
        let mut state = self.database.state();
        state.last_sequence += 1;
        self.rows.push((state.last_sequence, row));
    }

    /// Makes everything visible at once.
    pub fn commit(mut self) {
        let mut state = self.database.state();
        state.commits += 1;
        let (commit, occurred_at) = (state.commits, Timestamp::now());
        for (sequence, plain) in self.rows.drain(..) {
            let row = Row {
                commit,
                plain,
                occurred_at,
            };
            state.rows.insert(sequence, row);
        }
    }

    /// Takes everything back.
    pub fn rollback(self) {}

    async fn lock(&self, key: &str) {
        let mut changes = self.database.changes();
        loop {
            changes.see();
            {
                let mut state = self.database.state();
                let holder = *state.locked_keys.entry(key.to_owned()).or_insert(self.number);
                if holder == self.number {
                    return;
                }
            }
            changes.changed().await;
        }
    }
}

impl Drop for MemoryTransaction {
    fn drop(&mut self) {
        self.database
            .state()
            .locked_keys
            .retain(|_, holder| *holder != self.number);
        self.database.changed();
    }
}
