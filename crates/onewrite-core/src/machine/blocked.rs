//! The keys behind whose parked event a route holds what follows.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::limits::BLOCKED_KEYS_WAIT_MAX;

/// Keys that have an event parked, held, or under retry.
#[derive(Debug, Default)]
pub(super) struct BlockedKeys {
    keys: HashSet<Arc<str>>,
    /// Keys of events set aside since the database was last asked: its answer does not know of them.
    touched: HashSet<Arc<str>>,
    asking: bool,
    asked_at: Duration,
    /// Not to be asked before.
    ask_from: Duration,
}

/// How often the database is asked whether a key is free again, if that is answered at once.
const ASK_INTERVAL: Duration = crate::limits::REDELIVERY_WAIT;

impl BlockedKeys {
    pub fn new(keys: impl IntoIterator<Item = Arc<str>>) -> Self {
        Self {
            keys: keys.into_iter().collect(),
            ask_from: ASK_INTERVAL,
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
        let due = !self.keys.is_empty() && !self.asking && settled_down && now >= self.ask_from;
        if due {
            self.asking = true;
            self.touched.clear();
            self.asked_at = now;
        }
        due
    }

    /// When to ask next, if there is anything to ask.
    pub fn next_ask(&self) -> Option<Duration> {
        (!self.keys.is_empty() && !self.asking).then_some(self.ask_from)
    }

    /// Takes the answer: the keys that still have events set aside; `None` when there was none.
    ///
    /// The answer is as long as there are such keys, so its time says how soon to ask again: a tenth of the time is spent on it.
    pub fn answered(&mut self, still_blocked: Option<Vec<Arc<str>>>, now: Duration) {
        self.asking = false;
        self.ask_from = now + ASK_INTERVAL;
        if let Some(still_blocked) = still_blocked {
            let took = now.saturating_sub(self.asked_at);
            self.ask_from = (self.asked_at + ASK_INTERVAL).max(now + (9 * took).min(BLOCKED_KEYS_WAIT_MAX));
            self.keys = still_blocked.into_iter().chain(self.touched.drain()).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn asked_at(blocked: &mut BlockedKeys, now: Duration) -> Duration {
        let due = blocked.next_ask().expect("there is something to ask").max(now);
        assert!(blocked.ask(due, true), "it is due");
        due
    }

    #[test]
    fn a_quick_database_is_asked_every_half_second() {
        let mut blocked = BlockedKeys::new(["key".into()]);
        let first = asked_at(&mut blocked, 10 * SECOND);
        blocked.answered(Some(vec!["key".into()]), first + SECOND / 100);
        assert_eq!(asked_at(&mut blocked, first), first + ASK_INTERVAL);
    }

    /// With a million keys the answer takes seconds, and asking all the time would keep the database busy with nothing else.
    #[test]
    fn a_slow_database_is_asked_a_tenth_of_the_time() {
        let mut blocked = BlockedKeys::new(["key".into()]);
        let first = asked_at(&mut blocked, 10 * SECOND);
        blocked.answered(Some(vec!["key".into()]), first + 2 * SECOND);
        let second = asked_at(&mut blocked, first);
        assert_eq!(second, first + 20 * SECOND);
        blocked.answered(Some(vec!["key".into()]), second + 600 * SECOND);
        assert_eq!(
            asked_at(&mut blocked, second),
            second + 600 * SECOND + BLOCKED_KEYS_WAIT_MAX
        );
    }

    #[test]
    fn a_database_that_did_not_answer_is_asked_again_soon() {
        let mut blocked = BlockedKeys::new(["key".into()]);
        let first = asked_at(&mut blocked, 10 * SECOND);
        blocked.answered(None, first + 30 * SECOND);
        assert_eq!(asked_at(&mut blocked, first), first + 30 * SECOND + ASK_INTERVAL);
    }
}
