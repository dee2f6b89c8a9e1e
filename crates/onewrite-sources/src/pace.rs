//! How long a polling source waits before it looks again.

use std::time::Duration;

use onewrite_core::limits::{POLL_WAIT_MAX, POLL_WAIT_MIN};

/// Doubles from [`POLL_WAIT_MIN`] to [`POLL_WAIT_MAX`] while nothing is found.
#[derive(Debug)]
pub(crate) struct Pace(Duration);

impl Pace {
    /// The pace of a source that has just begun.
    pub fn new() -> Self {
        Self(POLL_WAIT_MIN)
    }

    /// The time to wait now.
    pub fn wait(&self) -> Duration {
        self.0
    }

    /// Notes whether the last look found anything.
    pub fn looked(&mut self, found: bool) {
        self.0 = if found {
            POLL_WAIT_MIN
        } else {
            (self.0 * 2).min(POLL_WAIT_MAX)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_slows_down_to_a_limit_and_starts_over() {
        let mut pace = Pace::new();
        let waits: Vec<_> = std::iter::repeat_with(|| {
            pace.looked(false);
            pace.wait().as_millis()
        })
        .take(9)
        .collect();
        assert_eq!(waits, [4, 8, 16, 32, 64, 128, 250, 250, 250]);
        pace.looked(true);
        assert_eq!(pace.wait(), POLL_WAIT_MIN);
    }
}
