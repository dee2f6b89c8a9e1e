//! The database as one that numbers its transactions and logs their commits, as PostgreSQL does: what is read by snapshots of
//! transaction numbers, or over the log, is read here.

use std::collections::{BTreeMap, BTreeSet};

use super::state::PlainRow;

/// Transactions and the log.
#[derive(Debug, Default)]
pub struct Server {
    last: u64,
    open: BTreeSet<u64>,
    /// The highest number of those that have ended.
    ended: u64,
    /// What was logged, in its order.
    pub log: Vec<Logged>,
    /// Up to where each replication slot was read.
    pub slots: BTreeMap<String, usize>,
}

/// An entry of the log: a transaction that committed.
#[derive(Clone, Debug)]
pub struct Logged {
    /// Its number.
    pub xid: u64,
    /// Its rows by their sequences.
    pub rows: Vec<(u64, PlainRow)>,
}

/// What had ended at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// PostgreSQL's text for it, `xmin:xmax:xid,xid,…`.
    pub text: String,
    /// How many commits it sees.
    pub commits: u64,
}

impl Server {
    /// Begins a transaction that writes, and returns its number.
    pub fn begin(&mut self) -> u64 {
        let xid = self.next();
        self.last += 1;
        self.open.insert(xid);
        xid
    }

    /// The number that the next one is to have.
    pub fn next(&self) -> u64 {
        // The first few are the server's own.
        self.last + 11
    }

    /// Ends one, either way. Only now can a snapshot see it.
    pub fn end(&mut self, xid: u64) {
        self.open.remove(&xid);
        self.ended = self.ended.max(xid);
    }

    /// What has ended by now; `commits` is how many of them committed rows.
    pub fn snapshot(&self, commits: u64) -> Snapshot {
        let xmax = self.ended.max(10) + 1;
        let running = self.open.range(..xmax).map(u64::to_string).collect::<Vec<_>>();
        let xmin = self.open.first().map_or(xmax, |first| xmax.min(*first));
        Snapshot {
            text: format!("{xmin}:{xmax}:{}", running.join(",")),
            commits,
        }
    }
}
