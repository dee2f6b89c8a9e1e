//! From commit to consumer, at a rate that does not wait for anything.

mod consumer;
pub mod most;
pub mod table;
mod warming;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use onewrite_testkit::servers::Database;

use crate::figures::{AGAIN, Figures, Goal, Unit};
use crate::plan::{Feed, Plan};
use crate::relay::Relay;
use crate::servers::Servers;
use crate::slots;
use consumer::Consumer;
use table::{Outbox, OutboxAtOnce, Table};
pub use warming::warm;

/// How long an event may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// Milliseconds from commit to consumer of 99 in 100 events over the log.
const GOAL: Goal = Goal::below(10.0);

/// The greatest rate for which it holds: past it, it is told without a goal.
const GOAL_RATE: u32 = 5_000;

/// Events on a fixed schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Events a second.
    pub rate: u32,
    /// Events of a transaction.
    pub transaction: usize,
}

/// How long it took, three times.
#[derive(Clone, Copy, Debug)]
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
#[derive(Clone, Copy, Debug)]
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
    load: Load,
    warm_up: usize,
    beginning: Instant,
    committing: Vec<AtomicU64>,
    committed: Vec<AtomicU64>,
    consumed: Vec<AtomicU64>,
}

/// Runs a relay of each feed from an empty outbox, and events through it on a fixed schedule; `twice`: in each run a second
/// time, which tells the noise.
pub async fn measure(servers: &Servers, plan: &Plan, load: Load, twice: bool, figures: &mut Figures) -> Result<()> {
    servers.warm_up(plan).await?;
    for feed in &plan.feeds {
        let (database, configuration) = servers.outbox(&format!("bench-latency-{feed}"), *feed).await?;
        let relay = Relay::start(&configuration)?;
        for _ in 0..plan.runs {
            for again in ["", AGAIN].into_iter().take(if twice { 2 } else { 1 }) {
                let spans = run(servers, &database, &relay, load, plan.warm_up, plan.latency).await?;
                spans.note(figures, *feed, again);
            }
        }
        if load.rate <= GOAL_RATE && *feed != Feed::Poll {
            figures.expect(&format!("commit to consumer, {feed}, p99"), GOAL);
        }
        relay.stop().await?;
        slots::drop_left(&database).await?;
    }
    Ok(())
}

/// Events at one rate, through a relay that runs; those of the warming up do not count.
pub async fn run(
    servers: &Servers,
    database: &Database,
    relay: &Relay,
    load: Load,
    warm_up: Duration,
    lasting: Duration,
) -> Result<Spans> {
    let table: Arc<dyn Table> = match load.transaction {
        1 => Arc::new(Outbox),
        _ => Arc::new(OutboxAtOnce),
    };
    run_through(servers, database, &table, relay, load, warm_up, lasting).await
}

/// The same through any table that the relay follows.
pub async fn run_through(
    servers: &Servers,
    database: &Database,
    table: &Arc<dyn Table>,
    relay: &Relay,
    load: Load,
    warm_up: Duration,
    lasting: Duration,
) -> Result<Spans> {
    let times = Arc::new(Times::new(load, warm_up, lasting));
    let consumer = Consumer::start(&servers.kafka.bootstrap(), times.clone()).await?;
    writer::write(database, table, &times).await.context("writing events")?;
    consumer
        .finish()
        .await
        .with_context(|| format!("the relay said:\n{}", relay.words()))?;
    times.judge()
}

impl Spans {
    fn note(&self, figures: &mut Figures, feed: Feed, again: &str) {
        figures.note(format!("committed, {feed}{again}"), Unit::PerSecond, self.committed);
        for (span, found) in [
            ("commit to consumer", self.delivery),
            ("commit itself", self.commit),
            ("schedule to consumer", self.schedule),
        ] {
            for (percentile, value) in found.named() {
                let name = format!("{span}, {feed}, {percentile}{again}");
                figures.note(name, Unit::Milliseconds, value);
            }
        }
    }
}

impl Times {
    fn new(load: Load, warm_up: Duration, lasting: Duration) -> Self {
        let events = |time: Duration| (time.as_secs_f64() * f64::from(load.rate)) as usize;
        let empty = || (0..events(warm_up + lasting)).map(|_| AtomicU64::new(0)).collect();
        Self {
            load,
            warm_up: events(warm_up),
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

    /// When the schedule wants an event, with the others of its transaction.
    fn due(&self, event: usize) -> Duration {
        let first = event - event % self.load.transaction;
        Duration::from_secs_f64(first as f64 / f64::from(self.load.rate))
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
    fn events_of_a_transaction_are_due_together() {
        let load = Load {
            rate: 10_000,
            transaction: 10,
        };
        let times = Times::new(load, Duration::ZERO, Duration::from_secs(1));
        let due = [0, 9, 10, 9_999].map(|event| times.due(event).as_millis());
        assert_eq!((times.events(), due), (10_000, [0, 0, 1, 999]));
    }

    #[test]
    fn the_warm_up_does_not_count() {
        let load = Load {
            rate: 1_000,
            transaction: 1,
        };
        let times = Times::new(load, Duration::from_secs(5), Duration::from_millis(1_001));
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
