//! The keys behind whose parked event a route holds what follows.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// Keys that have an event parked, held, or under retry.
#[derive(Debug, Default)]
pub(super) struct BlockedKeys {
    keys: HashSet<Arc<str>>,
    /// Keys of events set aside since the database was last asked: its answer does not know of them.
    touched: HashSet<Arc<str>>,
    asking: bool,
    asked_at: Duration,
}

/// How often the database is asked whether a key is free again.
const ASK_INTERVAL: Duration = crate::limits::REDELIVERY_WAIT;

impl BlockedKeys {
    pub fn new(keys: impl IntoIterator<Item = Arc<str>>) -> Self {
        Self {
            keys: keys.into_iter().collect(),
            ..Self::default()
        }
    }

    pub fn contains(&self, key: &Arc<str>) -> bool {
        self.keys.contains(key)
    }

    /// Notes that an event of this key is set aside.
    pub fn add(&mut self, key: &Arc<str>) {
        self.keys.insert(key.clone());
        if self.asking {
            self.touched.insert(key.clone());
        }
    }

    /// Whether to ask the database now; `settled_down` when every event set aside is recorded there.
    pub fn ask(&mut self, now: Duration, settled_down: bool) -> bool {
        let due = !self.keys.is_empty() && !self.asking && settled_down && now >= self.asked_at + ASK_INTERVAL;
        if due {
            self.asking = true;
            self.touched.clear();
            self.asked_at = now;
        }
        due
    }

    /// When to ask next, if there is anything to ask.
    pub fn next_ask(&self) -> Option<Duration> {
        (!self.keys.is_empty() && !self.asking).then_some(self.asked_at + ASK_INTERVAL)
    }

    /// Takes the answer: the keys that still have events set aside; `None` when there was none.
    pub fn answered(&mut self, still_blocked: Option<Vec<Arc<str>>>) {
        self.asking = false;
        if let Some(still_blocked) = still_blocked {
            self.keys = still_blocked.into_iter().chain(self.touched.drain()).collect();
        }
    }
}
