//! The relay's own drain, counted at the broker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::broker::Ends;
use crate::process::Usage;
use crate::relay::{Configuration, Relay};
use crate::servers::Servers;
use crate::workload::TOPIC;

/// How long nothing may arrive before the relay counts as stuck.
const STUCK: Duration = Duration::from_secs(60);

/// Shortest and longest pause between two looks at the broker: a look is eight small requests, and the end of the drain is
/// known as exactly as the shortest is short.
const LOOKS: (Duration, Duration) = (Duration::from_millis(4), Duration::from_millis(250));

/// What a drain came to.
pub struct Drained {
    /// Seconds from the start of the process until the broker held the last event.
    pub seconds: f64,
    /// What the process had used by then.
    pub usage: Usage,
    /// Seconds of CPU that the database server used meanwhile, whatever for.
    pub database_cpu_seconds: f64,
    /// And the broker.
    pub broker_cpu_seconds: f64,
}

/// Starts a relay, and stops it when all events are at the broker.
///
/// # Errors
/// When it gets stuck, ends by itself, or delivers more than there was.
pub async fn drain(servers: &Servers, configuration: &Configuration, events: usize) -> Result<Drained> {
    let brokers = servers.kafka.bootstrap();
    let ends = Arc::new(tokio::task::spawn_blocking(move || Ends::connect(&brokers, TOPIC)).await??);
    let before = total(&ends).await?;
    let (database_before, broker_before) = servers.cpu_seconds()?;
    let began = Instant::now();
    let mut relay = Relay::start(configuration)?;
    let (mut arrived, mut moved) = (0, began);
    while arrived < events {
        tokio::time::sleep(pause(arrived, events, began.elapsed())).await;
        let now = total(&ends).await? - before;
        if now > arrived {
            (arrived, moved) = (now, Instant::now());
        }
        relay.is_running()?;
        ensure!(
            moved.elapsed() < STUCK,
            "the relay delivered {arrived} of {events} events, and none for {STUCK:?}:\n{}",
            relay.words()
        );
    }
    let seconds = began.elapsed().as_secs_f64();
    let usage = relay.usage()?;
    let (database_after, broker_after) = servers.cpu_seconds()?;
    relay.stop().await?;
    let delivered = total(&ends).await? - before;
    ensure!(
        delivered == events,
        "{delivered} records for {events} events, with no failure that explains it"
    );
    Ok(Drained {
        seconds,
        usage,
        database_cpu_seconds: database_after - database_before,
        broker_cpu_seconds: broker_after - broker_before,
    })
}

/// All that the broker has written down.
pub async fn total(ends: &Arc<Ends>) -> Result<usize> {
    let ends = Arc::clone(ends);
    tokio::task::spawn_blocking(move || ends.total()).await?
}

/// A quarter of the time that is probably left.
pub fn pause(arrived: usize, events: usize, elapsed: Duration) -> Duration {
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
}
