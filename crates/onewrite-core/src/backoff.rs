//! How long to wait before the next try, and when to stop trying for a while.

use std::time::Duration;

/// Exponential backoff with jitter: the n-th wait is between half and all of `first * 2^(n-1)`, at most `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait.
    pub first: Duration,
    /// The longest wait.
    pub max: Duration,
}

impl Backoff {
    /// The wait after `failures` failures in a row (at least 1). Jitter keeps many relays, or many keys, from returning
    /// to a broker in one wave.
    pub fn delay(&self, failures: u32, random: &mut fastrand::Rng) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        let full = self.first.saturating_mul(1 << doublings).min(self.max);
        full.mul_f64(0.5 + random.f64() / 2.0)
    }
}

/// Stops deliveries for a while when nothing gets through, and then lets a single one try.
#[derive(Clone, Debug)]
pub struct Breaker {
    backoff: Backoff,
    threshold: u32,
    failures: u32,
    closed_from: Option<Duration>,
}

impl Breaker {
    /// A closed breaker that opens after `threshold` failures in a row.
    pub fn new(backoff: Backoff, threshold: u32) -> Self {
        Self {
            backoff,
            threshold,
            failures: 0,
            closed_from: None,
        }
    }

    /// Notes that something got through.
    pub fn success(&mut self) {
        self.failures = 0;
        self.closed_from = None;
    }

    /// Notes that a delivery brought nothing through; `grave` opens at once, as when there is no connection. `after` is
    /// the broker's own wish for the wait.
    pub fn failure(&mut self, now: Duration, grave: bool, after: Option<Duration>, random: &mut fastrand::Rng) {
        self.failures = self.failures.saturating_add(1);
        if grave || after.is_some() || self.failures >= self.threshold {
            let wait = after.unwrap_or_else(|| self.backoff.delay(self.failures, random));
            self.closed_from = Some(now + wait);
        }
    }

    /// Whether anything may be tried now.
    pub fn allows(&self, now: Duration) -> bool {
        self.closed_from.is_none_or(|from| from <= now)
    }

    /// Whether the last word was a failure that opened it: then one delivery at a time tries, until one gets through.
    pub fn is_open(&self) -> bool {
        self.closed_from.is_some()
    }

    /// When the next try is due, while it is open.
    pub fn next_try(&self) -> Option<Duration> {
        self.closed_from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff {
        first: Duration::from_millis(100),
        max: Duration::from_secs(30),
    };

    #[test]
    fn waits_grow_to_the_longest_and_stay_there() {
        let mut random = fastrand::Rng::with_seed(1);
        for (failures, full) in [(1, 100), (2, 200), (5, 1_600), (10, 30_000), (1_000_000, 30_000)] {
            let delay = BACKOFF.delay(failures, &mut random).as_millis();
            assert!((full / 2..=full).contains(&delay), "{failures} failures: {delay} ms");
        }
    }

    #[test]
    fn the_breaker_opens_lets_one_try_and_closes() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut breaker = Breaker::new(BACKOFF, 2);
        breaker.failure(Duration::ZERO, false, None, &mut random);
        assert!(breaker.allows(Duration::ZERO));
        breaker.failure(Duration::ZERO, false, None, &mut random);
        assert!(!breaker.allows(Duration::ZERO) && breaker.is_open());
        assert!(breaker.allows(breaker.next_try().unwrap()));
        breaker.success();
        assert!(breaker.allows(Duration::ZERO) && !breaker.is_open());
    }
}
