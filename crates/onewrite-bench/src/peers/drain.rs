//! A backlog through a product's program, counted at the broker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tempfile::TempDir;
use tokio::process::Command;

use crate::broker::Ends;
use crate::drain::relay::{pause, total};
use crate::progress::say;
use crate::relay::Relay;
use crate::servers::Servers;
use crate::workload::TOPIC;

/// How long the first record may take. A virtual machine starts in seconds, and on a busy machine in a minute.
const START: Duration = Duration::from_secs(180);

/// How long no further one may arrive before the rest counts as lost.
const LOST: Duration = Duration::from_secs(60);

/// How long nothing more may come before the drain counts as over: until then a record may still be repeated.
const REST: Duration = Duration::from_secs(1);

/// What a drain came to.
pub struct Drained {
    /// Events a second from the start of the process to the last record.
    pub from_start: f64,
    /// The same from the first records that were seen, which do not count, to the last; none where all were seen at once.
    pub from_first: Option<f64>,
    /// Seconds of CPU for a million events, from the start of the process to the last record.
    pub cpu_from_start: f64,
    /// The same from the first records that were seen.
    pub cpu_from_first: Option<f64>,
    /// The most bytes that were resident at once by then.
    pub peak_bytes: u64,
    /// Records that came, also those that were too many.
    pub records: usize,
}

/// How many records had come when.
#[derive(Clone, Copy)]
struct Look {
    records: usize,
    at: Instant,
}

/// Starts a program and waits until its records have come; it goes on running.
///
/// # Errors
/// When it ends by itself, or nothing ever comes. That it loses or repeats something is told by the count.
pub async fn drain(servers: &Servers, command: Command, files: TempDir, events: usize) -> Result<(Relay, Drained)> {
    let brokers = servers.kafka.bootstrap();
    let ends = Arc::new(tokio::task::spawn_blocking(move || Ends::connect(&brokers, TOPIC)).await??);
    let before = total(&ends).await?;
    let start = Look {
        records: 0,
        at: Instant::now(),
    };
    let mut relay = Relay::start_other(command, &servers.postgres.data_directory(), files)?;
    let first = until(&mut relay, &ends, before, start, 1, START).await?;
    ensure!(first.records > 0, "nothing came within {START:?}:\n{}", relay.words());
    let cpu_to_first = relay.usage_with_children()?.cpu_seconds;
    let last = until(&mut relay, &ends, before, first, events, LOST).await?;
    let usage = relay.usage_with_children()?;
    if last.records < events {
        let missing = events - last.records;
        say(format!(
            "{missing} events did not come within {LOST:?}:\n{}",
            relay.words()
        ));
    }
    let at_once = first.records == last.records;
    let drained = Drained {
        from_start: rate(start, last),
        from_first: (!at_once).then(|| rate(first, last)),
        cpu_from_start: for_a_million(usage.cpu_seconds, start, last),
        cpu_from_first: (!at_once).then(|| for_a_million(usage.cpu_seconds - cpu_to_first, first, last)),
        peak_bytes: usage.peak_bytes,
        records: rest(&ends).await? - before,
    };
    Ok((relay, drained))
}

/// Looks until so many records have come, or no further ones for so long: when the last were first seen.
async fn until(
    relay: &mut Relay,
    ends: &Arc<Ends>,
    before: usize,
    began: Look,
    wanted: usize,
    patience: Duration,
) -> Result<Look> {
    let mut last = began;
    while last.records < wanted && last.at.elapsed() < patience {
        tokio::time::sleep(pause(last.records, wanted, began.at.elapsed())).await;
        relay.is_running()?;
        let records = total(ends).await? - before;
        if records > last.records {
            let at = Instant::now();
            last = Look { records, at };
        }
    }
    Ok(last)
}

/// All that has come when nothing more comes.
async fn rest(ends: &Arc<Ends>) -> Result<usize> {
    let mut before = total(ends).await?;
    loop {
        tokio::time::sleep(REST).await;
        let now = total(ends).await?;
        if now == before {
            return Ok(now);
        }
        before = now;
    }
}

/// Events a second between two looks.
fn rate(first: Look, last: Look) -> f64 {
    (last.records - first.records) as f64 / last.at.duration_since(first.at).as_secs_f64()
}

/// Seconds of CPU that were used between two looks, for a million events.
fn for_a_million(cpu_seconds: f64, first: Look, last: Look) -> f64 {
    cpu_seconds * 1e6 / (last.records - first.records) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_had_come_by_the_first_look_do_not_count() {
        let at = Instant::now();
        let look = |records, seconds| Look {
            records,
            at: at + Duration::from_secs(seconds),
        };
        let (first, last) = (look(100, 5), look(1_100, 10));
        assert_eq!(rate(first, last), 200.0);
        assert_eq!(for_a_million(0.5, first, last), 500.0);
    }
}
