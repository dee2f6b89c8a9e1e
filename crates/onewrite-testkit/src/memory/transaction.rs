//! Transactions of applications.

use jiff::Timestamp;

use super::database::MemoryDatabase;
use super::server::Logged;
use super::state::{PlainRow, Row};

/// A transaction of an application. Dropping it rolls it back.
pub struct MemoryTransaction {
    database: MemoryDatabase,
    number: u64,
    rows: Vec<(u64, PlainRow)>,
    /// The sequences of all its rows.
    drawn: Vec<u64>,
    logged: bool,
}

impl MemoryTransaction {
    pub(super) fn new(database: MemoryDatabase) -> Self {
        let number = database.state().server.begin();
        Self {
            database,
            number,
            rows: Vec::new(),
            drawn: Vec::new(),
            logged: false,
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
        let sequence = state.last_sequence;
        state.drawn.insert(sequence);
        self.drawn.push(sequence);
        self.rows.push((sequence, row));
    }

    /// Its number.
    pub fn xid(&self) -> u64 {
        self.number
    }

    /// Writes its commit to the log, where it can be read from now on, while nobody sees its rows yet: so a commit looks that
    /// waits for a standby. Only [`commit`](Self::commit) can follow.
    pub fn log(&mut self) {
        let entry = Logged {
            xid: self.number,
            rows: self.rows.clone(),
        };
        self.database.state().server.log.push(entry);
        self.logged = true;
        self.database.changed();
    }

    /// Makes everything visible at once.
    pub fn commit(mut self) {
        if !self.logged {
            self.log();
        }
        let mut state = self.database.state();
        state.commits += 1;
        state.unflushed.clear();
        let (commit, occurred_at) = (state.commits, Timestamp::now());
        for (sequence, plain) in self.rows.drain(..) {
            let row = Row {
                commit,
                xid: self.number,
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
        let mut state = self.database.state();
        state.locked_keys.retain(|_, holder| *holder != self.number);
        state.server.end(self.number);
        for sequence in &self.drawn {
            state.drawn.remove(sequence);
        }
        drop(state);
        self.database.changed();
    }
}
