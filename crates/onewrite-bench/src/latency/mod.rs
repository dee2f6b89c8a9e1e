//! From commit to consumer, at a rate that does not wait for anything.

mod consumer;
pub mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use onewrite_testkit::servers::Database;
use serde::Serialize;

use crate::options::{Feed, Plan};
use crate::progress::{say, thousands};
use crate::relay::Relay;
use crate::servers::Servers;
use crate::slots;
use consumer::Consumer;
use writer::{Outbox, Table};

/// Events a second.
pub const RATES: [u32; 2] = [1_000, 5_000];

/// Seconds before those that count: connections, statements and the broker's virtual machine get warm.
pub const WARM_UP: u32 = 5;

/// How long an event may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one run came to.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Run {
    /// The relay's feed.
    pub feed: Feed,
    /// Events a second.
    pub rate: u32,
    /// The three spans.
    pub spans: Spans,
}

/// How long it took, three times.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spans {
    /// Events a second that were committed: less than the rate where the machine did not manage it.
    pub committed: f64,
    /// From just before COMMIT is sent until a consumer has the record.
    pub delivery: Percentiles,
    /// The commit itself, which is part of that: from just before COMMIT is sent until it returned.
    pub commit: Percentiles,
    /// From the moment at which the schedule wanted the transaction to begin until a consumer has the record.
    pub schedule: Percentiles,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// 99 of 100 are faster.
    pub p99: f64,
    /// 999 of 1,000 are faster.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

/// When what happened to each event, in nanoseconds since one beginning; nought: not yet.
struct Times {
    rate: u32,
    /// Events before those that count.
    warm_up: usize,
    beginning: Instant,
    committing: Vec<AtomicU64>,
    committed: Vec<AtomicU64>,
    consumed: Vec<AtomicU64>,
}

/// Runs a relay of each feed from an empty outbox, and events through it on a fixed schedule, at each rate.
pub async fn measure(servers: &Servers, plan: &Plan) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for feed in &plan.feeds {
        let name = format!("bench-latency-{feed}");
        let (database, configuration) = servers.outbox(&name, *feed).await?;
        let relay = Relay::start(&configuration)?;
        for rate in RATES {
            for number in 1..=plan.runs {
                say(format!(
                    "latency, {feed}, run {number}: {rate} events a second for {:?}",
                    plan.latency
                ));
                let spans = run(servers, &database, &relay, rate, plan.latency).await?;
                let Percentiles { p50, p99, p999, max } = spans.delivery;
                say(format!(
                    "latency, {feed}, run {number}: p50 {p50:.1} ms, p99 {p99:.1} ms, p99.9 {p999:.1} ms, max {max:.1} ms, at {}/s",
                    thousands(spans.committed)
                ));
                runs.push(Run {
                    feed: *feed,
                    rate,
                    spans,
                });
            }
        }
        relay.stop().await?;
        slots::drop_left(&database).await?;
    }
    Ok(runs)
}

/// Events at one rate, through a relay that runs.
pub async fn run(servers: &Servers, database: &Database, relay: &Relay, rate: u32, lasting: Duration) -> Result<Spans> {
    let table: Arc<dyn Table> = Arc::new(Outbox);
    run_through(servers, database, &table, relay, rate, WARM_UP, lasting).await
}

/// The same through any table that the relay follows; the warm-up is in seconds.
pub async fn run_through(
    servers: &Servers,
    database: &Database,
    table: &Arc<dyn Table>,
    relay: &Relay,
    rate: u32,
    warm_up: u32,
    lasting: Duration,
) -> Result<Spans> {
    let events = (lasting.as_secs_f64() * f64::from(rate)) as usize;
    let times = Arc::new(Times::new(rate, (warm_up * rate) as usize, events));
    let consumer = Consumer::start(&servers.kafka.bootstrap(), times.clone()).await?;
    writer::write(database, table, &times).await.context("writing events")?;
    consumer
        .finish()
        .await
        .with_context(|| format!("the relay said:\n{}", relay.words()))?;
    times.judge()
}

impl Times {
    fn new(rate: u32, warm_up: usize, events: usize) -> Self {
        let empty = || (0..warm_up + events).map(|_| AtomicU64::new(0)).collect();
        Self {
            rate,
            warm_up,
            // The schedule begins when everybody is ready.
            beginning: Instant::now() + Duration::from_millis(500),
            committing: empty(),
            committed: empty(),
            consumed: empty(),
        }
    }

    fn events(&self) -> usize {
        self.consumed.len()
    }

    /// When the schedule wants an event.
    fn due(&self, event: usize) -> Duration {
        Duration::from_secs(1) / self.rate * u32::try_from(event).expect("far fewer")
    }

    /// Notes that something happened to an event now.
    fn note(&self, what: &[AtomicU64], event: usize) {
        let now = u64::try_from(self.beginning.elapsed().as_nanos()).expect("no century passes");
        what[event].store(now.max(1), Ordering::Relaxed);
    }

    fn judge(&self) -> Result<Spans> {
        let (mut first, mut last) = (u64::MAX, 0);
        let mut histograms = [(); 3].map(|()| Histogram::<u64>::new(3).expect("three digits are allowed"));
        for event in self.warm_up..self.events() {
            let at = |what: &[AtomicU64]| what[event].load(Ordering::Relaxed);
            let (committing, committed, consumed) = (at(&self.committing), at(&self.committed), at(&self.consumed));
            ensure!(consumed > 0, "event {event} was not consumed");
            (first, last) = (first.min(committing), last.max(committed));
            let due = u64::try_from(self.due(event).as_nanos())?;
            let spans = [
                consumed.saturating_sub(committing),
                committed - committing,
                consumed - due,
            ];
            for (histogram, span) in histograms.iter_mut().zip(spans) {
                histogram.record(span)?;
            }
        }
        let [delivery, commit, schedule] = histograms.map(|histogram| Percentiles::of(&histogram));
        Ok(Spans {
            committed: (self.events() - self.warm_up) as f64 / Duration::from_nanos(last - first).as_secs_f64(),
            delivery,
            commit,
            schedule,
        })
    }
}

impl Percentiles {
    fn of(histogram: &Histogram<u64>) -> Self {
        let milliseconds = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
        Self {
            p50: milliseconds(0.5),
            p99: milliseconds(0.99),
            p999: milliseconds(0.999),
            max: histogram.max() as f64 / 1e6,
        }
    }

    /// With their names.
    pub fn named(&self) -> [(&'static str, f64); 4] {
        [
            ("p50", self.p50),
            ("p99", self.p99),
            ("p99.9", self.p999),
            ("max", self.max),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_milliseconds() {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        (1..=1_000).for_each(|milliseconds| histogram.record(milliseconds * 1_000_000).unwrap());
        let found = Percentiles::of(&histogram);
        for (found, wanted) in [
            (found.p50, 500.0),
            (found.p99, 990.0),
            (found.p999, 999.0),
            (found.max, 1_000.0),
        ] {
            assert!((found - wanted).abs() / wanted < 0.002, "{found} instead of {wanted}");
        }
    }

    #[test]
    fn the_warm_up_does_not_count() {
        let times = Times::new(1_000, 5_000, 1_001);
        let set = |what: &[AtomicU64], event: usize, after: u64| {
            let due = u64::try_from(times.due(event).as_nanos()).unwrap();
            what[event].store(due + after, Ordering::Relaxed);
        };
        for event in times.warm_up..times.events() {
            set(&times.committing, event, 1_000_000);
            set(&times.committed, event, 2_000_000);
            set(&times.consumed, event, 5_000_000);
        }
        let spans = times.judge().unwrap();
        let near = |found: f64, wanted: f64| (found - wanted).abs() < 0.01;
        assert!(near(spans.committed, 1_000.0), "{spans:?}");
        assert!(
            near(spans.delivery.max, 4.0) && near(spans.commit.max, 1.0) && near(spans.schedule.p50, 5.0),
            "{spans:?}"
        );
    }
}
