//! The relay's own drain, counted at the broker.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::arrivals::{Arrivals, Look};
use crate::figures::{Figures, Unit};
use crate::process::Usage;
use crate::relay::{Configuration, Relay};
use crate::servers::Servers;

/// How long nothing may arrive before the relay counts as stuck.
const STUCK: Duration = Duration::from_secs(60);

/// What a drain came to.
pub struct Drained {
    /// Seconds from the start of the process until the broker held the last event.
    pub seconds: f64,
    /// Events a second from the first look that found any until then, without the start of the process.
    pub steady: f64,
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
    let arrivals = Arrivals::watch(servers).await?;
    let (database_before, broker_before) = servers.cpu_seconds()?;
    let start = Look::start();
    let mut relay = Relay::start(configuration)?;
    let first = arrivals.until(&mut relay, start, 1, STUCK).await?;
    let last = arrivals.until(&mut relay, first, events, STUCK).await?;
    ensure!(
        last.records >= events,
        "the relay delivered {} of {events} events, and none for {STUCK:?}:\n{}",
        last.records,
        relay.words()
    );
    let usage = relay.usage()?;
    let (database_after, broker_after) = servers.cpu_seconds()?;
    relay.stop().await?;
    let delivered = arrivals.total().await?;
    ensure!(
        delivered == events,
        "{delivered} records for {events} events, with no failure that explains it"
    );
    // Where the first look found most of them, the rest is too few to tell more.
    let since = if first.records <= events / 2 { first } else { start };
    Ok(Drained {
        seconds: last.at.duration_since(start.at).as_secs_f64(),
        steady: since.rate(last),
        usage,
        database_cpu_seconds: database_after - database_before,
        broker_cpu_seconds: broker_after - broker_before,
    })
}

impl Drained {
    /// Notes the rate, the memory and the CPU of a drain of so many events; `which` ends the names, such as the feed.
    pub fn note(&self, figures: &mut Figures, events: usize, which: &str) {
        let events = events as f64;
        let millions = events / 1e6;
        figures.note(format!("relay, {which}"), Unit::PerSecond, events / self.seconds);
        let memory = self.usage.peak_megabytes();
        figures.note(format!("peak memory of the relay, {which}"), Unit::Megabytes, memory);
        for (who, seconds) in [
            ("the relay", self.usage.cpu_seconds),
            ("PostgreSQL", self.database_cpu_seconds),
            ("Kafka", self.broker_cpu_seconds),
        ] {
            let name = format!("CPU of {who} for a million events, {which}");
            figures.note(name, Unit::Seconds, seconds / millions);
        }
    }
}
