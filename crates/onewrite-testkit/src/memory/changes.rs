//! Waiting for a change, in a fixed order: whoever waited first wakes first, so that the same seed of a simulation runs the
//! same way. tokio's `watch` wakes those that wait in a random order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// What changes. Clones are the same.
#[derive(Clone, Default)]
pub struct Changes(Arc<Shared>);

#[derive(Default)]
struct Shared {
    count: AtomicU64,
    notify: Notify,
}

/// Somebody who has seen some of the changes.
pub struct Watcher {
    changes: Changes,
    seen: u64,
}

impl Changes {
    /// Tells everybody who waits.
    pub fn tell(&self) {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        self.0.notify.notify_waiters();
    }

    /// Somebody who has seen all changes so far.
    pub fn watch(&self) -> Watcher {
        Watcher {
            changes: self.clone(),
            seen: self.count(),
        }
    }

    fn count(&self) -> u64 {
        self.0.count.load(Ordering::SeqCst)
    }
}

impl Watcher {
    /// Counts everything so far as seen.
    pub fn see(&mut self) {
        self.seen = self.changes.count();
    }

    /// Returns when there is a change that was not seen, which counts as seen then.
    pub async fn changed(&mut self) {
        loop {
            let notified = self.changes.0.notify.notified();
            let count = self.changes.count();
            if count != self.seen {
                self.seen = count;
                return;
            }
            notified.await;
        }
    }
}
