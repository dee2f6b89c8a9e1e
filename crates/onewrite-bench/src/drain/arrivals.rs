//! A backlog that arrives, counted at the broker.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::broker::Ends;
use crate::relay::Relay;
use crate::servers::Servers;
use crate::workload::TOPIC;

/// Shortest and longest pause between two looks at the broker: a look is eight small requests, and the end of the drain is
/// known as exactly as the shortest is short.
const LOOKS: (Duration, Duration) = (Duration::from_millis(4), Duration::from_millis(250));

/// What comes to the topic after what it held before.
pub struct Arrivals {
    ends: Ends,
    before: usize,
}

/// How many records had come when.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Records.
    pub records: usize,
    /// When they were first seen.
    pub at: Instant,
}

impl Arrivals {
    /// What comes from now on.
    pub async fn watch(servers: &Servers) -> Result<Self> {
        let ends = Ends::connect(servers.kafka.bootstrap(), TOPIC).await?;
        let before = ends.total().await?;
        Ok(Self { ends, before })
    }

    /// How many have come.
    pub async fn total(&self) -> Result<usize> {
        Ok(self.ends.total().await? - self.before)
    }

    /// Looks until so many have come, or no further ones for so long: the last look that found further ones.
    ///
    /// # Errors
    /// When the relay ends by itself.
    pub async fn until(&self, relay: &mut Relay, since: Look, wanted: usize, patience: Duration) -> Result<Look> {
        let mut last = since;
        while last.records < wanted && last.at.elapsed() < patience {
            let arrived = last.records - since.records;
            tokio::time::sleep(pause(arrived, wanted - since.records, since.at.elapsed())).await;
            let records = self.total().await?;
            if records > last.records {
                let at = Instant::now();
                last = Look { records, at };
            }
            relay.is_running()?;
        }
        Ok(last)
    }
}

impl Look {
    /// Before anything has come.
    pub fn start() -> Self {
        Self {
            records: 0,
            at: Instant::now(),
        }
    }

    /// Records a second from then to a later look; those that had come by then do not count.
    pub fn rate(self, last: Self) -> f64 {
        (last.records - self.records) as f64 / last.at.duration_since(self.at).as_secs_f64()
    }
}

/// A quarter of the time that is probably left.
fn pause(arrived: usize, events: usize, elapsed: Duration) -> Duration {
    let (shortest, longest) = LOOKS;
    if arrived == 0 {
        return longest / 10;
    }
    let left = elapsed.mul_f64((events - arrived) as f64 / arrived as f64);
    (left / 4).clamp(shortest, longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_become_frequent_near_the_end() {
        let (shortest, longest) = LOOKS;
        assert_eq!(pause(1, 1_000_000, Duration::from_secs(1)), longest);
        assert_eq!(pause(900, 1_000, Duration::from_millis(900)), Duration::from_millis(25));
        assert_eq!(pause(999_999, 1_000_000, Duration::from_secs(5)), shortest);
    }

    #[test]
    fn records_that_had_come_by_the_first_look_do_not_count() {
        let at = Instant::now();
        let look = |records, seconds| Look {
            records,
            at: at + Duration::from_secs(seconds),
        };
        assert_eq!(look(100, 5).rate(look(1_100, 10)), 200.0);
    }
}
