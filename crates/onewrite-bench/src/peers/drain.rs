//! A backlog through a product's program, counted at the broker.

use std::time::Duration;

use anyhow::{Result, ensure};
use tempfile::TempDir;
use tokio::process::Command;

use crate::drain::arrivals::{Arrivals, Look};
use crate::drain::relay;
use crate::progress::say;
use crate::relay::Relay;
use crate::servers::Servers;

/// How long the first record may take. A virtual machine starts in seconds, and on a busy machine in a minute.
const START: Duration = Duration::from_secs(180);

/// How long no further one may arrive before the rest counts as lost.
const LOST: Duration = Duration::from_secs(60);

/// How long nothing more may come before the drain counts as over: until then a record may still be repeated.
const REST: Duration = Duration::from_secs(1);

/// What a drain came to.
pub struct Drained {
    /// Events a second from the first records that were seen, which do not count, to the last; where all were seen at once, the next.
    pub rate: f64,
    /// The same from the start of the process.
    pub rate_with_start: f64,
    /// Seconds of CPU for a million events, from the first records that were seen; of Onewrite not measured.
    pub cpu: Option<f64>,
    /// The same from the start of the process.
    pub cpu_with_start: f64,
    /// The most megabytes that were resident at once by then.
    pub peak_megabytes: f64,
    /// Records that came, also those that were too many.
    pub records: usize,
}

impl Drained {
    /// What one of Onewrite came to, which fails where there are other records than events.
    pub fn of_onewrite(drained: &relay::Drained, events: usize) -> Self {
        Self {
            rate: drained.steady,
            rate_with_start: events as f64 / drained.seconds,
            cpu: None,
            cpu_with_start: drained.usage.cpu_seconds * 1e6 / events as f64,
            peak_megabytes: drained.usage.peak_megabytes(),
            records: events,
        }
    }
}

/// Starts a program and waits until its records have come; it goes on running.
///
/// # Errors
/// When it ends by itself, or nothing ever comes. That it loses or repeats something is told by the count.
pub async fn drain(servers: &Servers, command: Command, files: TempDir, events: usize) -> Result<(Relay, Drained)> {
    let arrivals = Arrivals::watch(servers).await?;
    let start = Look::start();
    let mut relay = Relay::start_other(command, &servers.postgres.data_directory(), files)?;
    let first = arrivals.until(&mut relay, start, 1, START).await?;
    ensure!(first.records > 0, "nothing came within {START:?}:\n{}", relay.words());
    let cpu_to_first = relay.usage_with_children()?.cpu_seconds;
    let last = arrivals.until(&mut relay, first, events, LOST).await?;
    let usage = relay.usage_with_children()?;
    if last.records < events {
        let (missing, words) = (events - last.records, relay.words());
        say(format!("{missing} events did not come within {LOST:?}:\n{words}"));
    }
    let (since, cpu_before) = if first.records < last.records {
        (first, cpu_to_first)
    } else {
        (start, 0.0)
    };
    let drained = Drained {
        rate: since.rate(last),
        rate_with_start: start.rate(last),
        cpu: Some(for_a_million(usage.cpu_seconds - cpu_before, since, last)),
        cpu_with_start: for_a_million(usage.cpu_seconds, start, last),
        peak_megabytes: usage.peak_megabytes(),
        records: rest(&arrivals).await?,
    };
    Ok((relay, drained))
}

/// All that has come when nothing more comes.
async fn rest(arrivals: &Arrivals) -> Result<usize> {
    let mut before = arrivals.total().await?;
    loop {
        tokio::time::sleep(REST).await;
        let now = arrivals.total().await?;
        if now == before {
            return Ok(now);
        }
        before = now;
    }
}

/// Seconds of CPU that were used between two looks, for a million events.
fn for_a_million(cpu_seconds: f64, first: Look, last: Look) -> f64 {
    cpu_seconds * 1e6 / (last.records - first.records) as f64
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn what_the_first_records_cost_does_not_count() {
        let at = Instant::now();
        let [first, last] = [100, 1_100].map(|records| Look { records, at });
        assert_eq!(for_a_million(0.5, first, last), 500.0);
    }
}
