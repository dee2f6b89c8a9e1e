//! How a route goes from reading the table to following the log, and from tick to tick. Pure.
//!
//! From one tick to the next, a route is owed the events of all transactions that the later snapshot sees and the earlier one
//! does not. Those whose commit lies behind the beginning of the subscription came over the log. The others are among the
//! transactions that had their id before the first tick that was begun *after* the subscription, and that this tick does not
//! see: such a transaction may have committed long ago without being visible (a commit that waits for a synchronous standby).
//! So the route keeps their ids, and where a snapshot sees one that did not come over the log, it reads that window from the
//! table.

use std::collections::HashSet;

use super::super::snapshot::Snapshot;
use super::shared::LogRow;
use super::ticks::Tick;

/// A route's place in the log.
#[derive(Debug)]
pub(crate) struct Follower {
    /// Ticks up to this number were begun before the subscription was.
    begun_before: u64,
    /// `None` until the first tick after the subscription.
    joined: Option<Joined>,
    /// What came and no tick has seen yet.
    left: Vec<LogRow>,
    /// Transactions that came, of those whose fate is unknown.
    streamed: HashSet<u64>,
}

#[derive(Debug)]
struct Joined {
    /// Transactions below this id may not have come over the log.
    below: u64,
    /// Those of them that no tick has seen so far, ascending.
    unknown: Vec<u64>,
}

/// How the window up to a tick's snapshot is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Window {
    /// From the table.
    Table,
    /// Its events came over the log.
    Events,
    /// Not at all: the table was read further than this tick.
    Passed,
}

impl Follower {
    /// One that has received nothing yet.
    pub fn new(begun_before: u64) -> Self {
        Self {
            begun_before,
            joined: None,
            left: Vec::new(),
            streamed: HashSet::new(),
        }
    }

    /// Whether the windows come over the log.
    pub fn has_joined(&self) -> bool {
        self.joined.is_some()
    }

    /// Whether something came that no tick has seen yet.
    pub fn has_left(&self) -> bool {
        !self.left.is_empty()
    }

    /// Goes on from `base`, up to which everything was read, to a tick before which `rows` came. The events are those of
    /// [`Window::Events`], in the order of their sequences.
    pub fn advance(&mut self, base: &Snapshot, rows: Vec<LogRow>, tick: &Tick) -> (Window, Vec<LogRow>) {
        self.take_in(rows);
        let by_table = match &mut self.joined {
            None => {
                self.join(tick);
                true
            }
            Some(joined) => joined.has_missed(&tick.snapshot, base, &self.streamed),
        };
        if self.joined.as_ref().is_some_and(|joined| joined.unknown.is_empty()) {
            self.streamed = HashSet::new();
        }
        let (seen, left) = std::mem::take(&mut self.left)
            .into_iter()
            .filter(|row| !base.sees(row.xid))
            .partition(|row| tick.snapshot.sees(row.xid));
        self.left = left;
        if tick.snapshot.extent() <= base.extent() {
            return (Window::Passed, Vec::new());
        }
        match by_table {
            true => (Window::Table, Vec::new()),
            false => (Window::Events, in_order(seen)),
        }
    }

    fn take_in(&mut self, rows: Vec<LogRow>) {
        let below = match &self.joined {
            None => u64::MAX,
            Some(joined) if joined.unknown.is_empty() => 0,
            Some(joined) => joined.below,
        };
        let xids = rows.iter().map(|row| row.xid);
        self.streamed.extend(xids.filter(|xid| *xid < below));
        self.left.extend(rows);
    }

    fn join(&mut self, tick: &Tick) {
        if tick.number <= self.begun_before {
            return;
        }
        // The tick before it has ended, so these are few: those that began since then.
        let open = tick.snapshot.xmax()..tick.xid;
        let unknown = tick.snapshot.in_progress().iter().copied().chain(open).collect();
        self.joined = Some(Joined {
            below: tick.xid,
            unknown,
        });
    }
}

impl Joined {
    /// Forgets the unknown transactions that `snapshot` sees, and tells whether one of them is neither in the table as it was
    /// read nor in what came.
    fn has_missed(&mut self, snapshot: &Snapshot, base: &Snapshot, streamed: &HashSet<u64>) -> bool {
        let mut missed = false;
        self.unknown.retain(|xid| {
            let seen = snapshot.sees(*xid);
            missed |= seen && !base.sees(*xid) && !streamed.contains(xid);
            !seen
        });
        missed
    }
}

fn in_order(mut rows: Vec<LogRow>) -> Vec<LogRow> {
    rows.sort_unstable_by_key(|row| row.sequence);
    rows
}

#[cfg(test)]
mod tests;
