//! The snapshots of a run. The simulated database counts commits where PostgreSQL keeps a snapshot; this knows which is which.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use onewrite_core::routing::{Group, Share};
use onewrite_core::windows::Progress;
use onewrite_sources::postgres::feed::Snapshot;
use onewrite_testkit::memory::State;

/// Every snapshot that was taken, and what was recorded with them. Clones are the same.
#[derive(Clone, Default)]
pub struct Registry(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    /// How many commits a snapshot sees.
    commits: HashMap<String, u64>,
    /// The first snapshot that saw so many.
    first: HashMap<u64, String>,
    /// What was recorded of a route in a group, with the bounds of its snapshots, the last at the end; a crash may bring one back.
    recorded: HashMap<(String, Group), Vec<Progress<Snapshot>>>,
}

impl Registry {
    /// Takes a snapshot, with this bound.
    pub fn take(&self, state: &State, low: i64) -> Snapshot {
        let taken = state.server.snapshot(state.commits);
        let mut known = self.known();
        known.first.entry(taken.commits).or_insert_with(|| taken.text.clone());
        known.commits.insert(taken.text.clone(), taken.commits);
        parse(&taken.text, low)
    }

    /// Progress as the database keeps it; noted for when the route is opened again.
    pub fn record(&self, share: &Share, progress: &Progress<Snapshot>) -> Progress<u64> {
        let mut known = self.known();
        let counted = known.counted(progress);
        let recorded = known.recorded.entry((share.route.clone(), share.group)).or_default();
        recorded.push(progress.clone());
        counted
    }

    /// What the database keeps, as snapshots again.
    pub fn restore(&self, share: &Share, progress: Progress<u64>) -> Progress<Snapshot> {
        let known = self.known();
        let recorded = known.recorded.get(&(share.route.clone(), share.group));
        let mut recorded = recorded.into_iter().flatten().rev();
        if let Some(found) = recorded.find(|recorded| known.counted(recorded) == progress) {
            return found.clone();
        }
        // Somebody adopted the route anew: nothing is known of the sequences of what the snapshot does not see.
        let snapshot = |commits: u64| match known.first.get(&commits) {
            Some(text) => parse(text, 0),
            None => parse(Snapshot::NOTHING, 0),
        };
        Progress {
            floor: snapshot(progress.floor),
            window: progress.window.map(snapshot),
            sequence: progress.sequence,
            pending: progress.pending,
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().expect("nobody panics while holding it")
    }
}

impl Known {
    fn counted(&self, progress: &Progress<Snapshot>) -> Progress<u64> {
        let commits = |snapshot: &Snapshot| self.commits.get(snapshot.text()).copied().unwrap_or_default();
        Progress {
            floor: commits(&progress.floor),
            window: progress.window.as_ref().map(commits),
            sequence: progress.sequence,
            pending: progress.pending.clone(),
        }
    }
}

fn parse(text: &str, low: i64) -> Snapshot {
    Snapshot::parse(text, low).expect("a simulated snapshot is one")
}
