//! The database itself, and what a test can do to it.

use std::sync::{Arc, Mutex, MutexGuard};

use onewrite_core::{Lease, StoreError, StoreFailure};

use super::changes::{Changes, Watcher};
use super::state::{LeaseBug, State};
use super::transaction::MemoryTransaction;

/// A database in memory that holds an outbox. Clones are the same database.
///
/// It is an [`Outbox`](onewrite_core::Outbox) and an [`Operations`](onewrite_core::Operations). A crash of a relay is dropping
/// the relay's future: sources are gone then, and what they recorded is still here.
#[derive(Clone, Default)]
pub struct MemoryDatabase {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    faults: Mutex<Faults>,
    changes: Changes,
}

struct Faults {
    percent: u32,
    random: fastrand::Rng,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            percent: 0,
            random: fastrand::Rng::with_seed(0),
        }
    }
}

/// What goes wrong with one call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    Unreachable,
    LostReply,
}

impl MemoryDatabase {
    /// An empty database.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a transaction of an application.
    pub fn begin(&self) -> MemoryTransaction {
        MemoryTransaction::new(self.clone())
    }

    /// From now on so many calls in a hundred fail with [`StoreFailure::Unavailable`]: half of them before they do anything,
    /// half of them after they have done everything. 0 ends it.
    pub fn set_faults(&self, percent: u32, seed: u64) {
        *self.shared.faults.lock().expect("no panic while it is held") = Faults {
            percent,
            random: fastrand::Rng::with_seed(seed),
        };
    }

    /// Lets every lease run out now, whatever its holder believes.
    pub fn expire_leases(&self) {
        for relay in self.state().relays.values_mut() {
            relay.expires_at = None;
        }
    }

    /// The server crashes and starts again: the relays' sessions have ended, and of the records of progress that nothing flushed came
    /// after, some number of the last ones are gone: it returns how many. What applications have under way they do again, so it is
    /// left alone.
    pub fn crash(&self, random: &mut fastrand::Rng) -> usize {
        let mut state = self.state();
        state.crashes += 1;
        let recorded = state.unflushed.len();
        let kept = random.usize(0..=recorded);
        state.take_back(kept);
        drop(state);
        self.changed();
        recorded - kept
    }

    /// Loses every replication slot, whoever reads it.
    pub fn lose_slots(&self) {
        self.state().server.slots.clear();
        self.changed();
    }

    /// A planted bug: from now on a replay is through without what was not recorded as settled when it came there.
    pub fn finish_replays_early(&self) {
        self.state().hasty_replays = true;
    }

    /// A planted bug: from now on maintenance empties segments whatever is settled of them.
    pub fn empty_early(&self) {
        self.state().hasty_emptying = true;
    }

    /// From now on its leases have this bug.
    pub fn plant(&self, bug: LeaseBug) {
        self.state().bug = Some(bug);
    }

    /// Whether a lease is the last of its group, so that what its holder writes is no zombie's.
    pub fn holds(&self, lease: &Lease) -> bool {
        self.state().holds(lease)
    }

    /// How many commits there were.
    pub fn commits(&self) -> u64 {
        self.state().commits
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("no panic while it is held")
    }

    /// One call of an adapter, whose commit is flushed, with all that came before: fails as the test asked for, and can be dropped
    /// before it does anything.
    ///
    /// # Errors
    /// `Unavailable`, as the test asked for, also when the work was done; and what the work returns.
    pub async fn call<T>(&self, work: impl FnOnce(&mut State) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let work = |state: &mut State| {
            let done = work(state)?;
            state.unflushed.clear();
            Ok(done)
        };
        self.call_unflushed(work).await
    }

    /// The same for what only reads, or records [progress](State::record) that a crash may take back.
    ///
    /// # Errors
    /// As of [`call`](Self::call).
    pub async fn call_unflushed<T>(
        &self,
        work: impl FnOnce(&mut State) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        tokio::task::yield_now().await;
        let trouble = self.trouble();
        if trouble == Trouble::Unreachable {
            return Err(StoreError::new(
                StoreFailure::Unavailable,
                "the database cannot be reached",
            ));
        }
        let done = work(&mut self.state());
        match trouble {
            Trouble::LostReply => Err(StoreError::new(StoreFailure::Unavailable, "the reply was lost")),
            _ => done,
        }
    }

    /// Wakes everybody who waits for something new.
    pub fn changed(&self) {
        self.shared.changes.tell();
    }

    /// Something to wait on: it changes with the database.
    pub fn changes(&self) -> Watcher {
        self.shared.changes.watch()
    }

    fn trouble(&self) -> Trouble {
        let mut faults = self.shared.faults.lock().expect("no panic while it is held");
        if faults.random.u32(0..100) >= faults.percent {
            Trouble::None
        } else if faults.random.bool() {
            Trouble::Unreachable
        } else {
            Trouble::LostReply
        }
    }
}
