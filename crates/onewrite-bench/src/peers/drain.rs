//! A backlog through a product's program, counted at the broker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tempfile::TempDir;
use tokio::process::Command;

use crate::broker::Ends;
use crate::drain::relay::{pause, total};
use crate::progress::say;
use crate::relay::Relay;
use crate::servers::Servers;
use crate::workload::TOPIC;

/// How long nothing may arrive before the rest counts as lost; a virtual machine needs some of it to start.
const LOST: Duration = Duration::from_secs(60);

/// How long nothing more may come before the drain counts as over: until then a record may still be repeated.
const REST: Duration = Duration::from_secs(1);

/// What a drain came to.
pub struct Drained {
    /// Events a second from the start of the process to the last record.
    pub from_start: f64,
    /// The same from the first records that were seen, which do not count, to the last.
    pub from_first: f64,
    /// Seconds of CPU from the start of the process to the last record.
    pub cpu_from_start: f64,
    /// The same from the first records that were seen.
    pub cpu_from_first: f64,
    /// The most bytes that were resident at once by then.
    pub peak_bytes: u64,
    /// Records that came, also those that were too many.
    pub records: usize,
}

/// Something seen: how many records had come when, and how much CPU was used by then.
#[derive(Clone, Copy)]
struct Look {
    records: usize,
    at: Instant,
    cpu_seconds: f64,
}

/// Starts a program and waits until its records have come; it goes on running.
///
/// # Errors
/// When it ends by itself, or nothing ever comes. That it loses or repeats something is told by the count.
pub async fn drain(servers: &Servers, command: Command, files: TempDir, events: usize) -> Result<(Relay, Drained)> {
    let brokers = servers.kafka.bootstrap();
    let ends = Arc::new(tokio::task::spawn_blocking(move || Ends::connect(&brokers, TOPIC)).await??);
    let before = total(&ends).await?;
    let began = Instant::now();
    let mut relay = Relay::start_other(command, &servers.postgres.data_directory(), files)?;
    let look = async |relay: &Relay| {
        let records = total(&ends).await? - before;
        let cpu_seconds = relay.usage_with_children()?.cpu_seconds;
        let at = Instant::now();
        anyhow::Ok(Look {
            records,
            at,
            cpu_seconds,
        })
    };
    let start = Look {
        records: 0,
        at: began,
        cpu_seconds: 0.0,
    };
    let (mut first, mut last) = (start, start);
    while last.records < events && last.at.elapsed() < LOST {
        tokio::time::sleep(pause(last.records, events, began.elapsed())).await;
        relay.is_running()?;
        let now = look(&relay).await?;
        if now.records > last.records {
            last = now;
        }
        if first.records == 0 {
            first = last;
        }
    }
    anyhow::ensure!(last.records > 0, "nothing came within {LOST:?}:\n{}", relay.words());
    if last.records < events {
        let missing = events - last.records;
        say(format!("{missing} events did not come:\n{}", relay.words()));
    }
    let peak_bytes = relay.usage_with_children()?.peak_bytes;
    let records = rest(&ends).await? - before;
    let drained = Drained {
        from_start: last.records as f64 / last.at.duration_since(start.at).as_secs_f64(),
        from_first: rate(first, last),
        cpu_from_start: last.cpu_seconds,
        cpu_from_first: last.cpu_seconds - first.cpu_seconds,
        peak_bytes,
        records,
    };
    Ok((relay, drained))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_had_come_by_the_first_look_do_not_count() {
        let at = Instant::now();
        let look = |records, seconds| Look {
            records,
            at: at + Duration::from_secs(seconds),
            cpu_seconds: 0.0,
        };
        assert_eq!(rate(look(100, 5), look(1_100, 10)), 200.0);
    }
}
