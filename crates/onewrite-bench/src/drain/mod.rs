//! A backlog through the relay, beside the raw limits of its two ends.

pub mod arrivals;
mod copy;
mod perf;
pub mod produce;
mod receive;
pub mod relay;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use onewrite_testkit::servers::Database;

use crate::figures::{AGAIN, Figures, Goal, Unit};
use crate::plan::{Feed, Plan};
use crate::progress::{say, thousands};
use crate::servers::Servers;
use crate::slots;
use crate::workload::{Shape, Workload};
use receive::Receiver;

/// Events of the warming up: enough for the broker's virtual machine to have compiled what it does most.
const WARM_UP: usize = 300_000;

/// Resident megabytes of the relay.
const MEMORY_GOAL: Goal = Goal::below(50.0).in_every_run();

const COPY: &str = "COPY of the rows";
const RECEIVE: &str = "pg_recvlogical alone";
const PRODUCE: &str = "librdkafka alone";
const PERF: &str = "Kafka's ProducerPerformance";

/// The program that reads the log alone.
pub fn receiver() -> Result<PathBuf> {
    receive::program()
}

/// Fills an outbox once, and in each run measures the raw limits and then, for each feed, a relay of a new name, which begins
/// where the outbox begins; with the first feed another one, which tells the noise.
pub async fn measure(servers: &Servers, plan: &Plan, figures: &mut Figures) -> Result<()> {
    let events = plan.events;
    let workload = Arc::new(Workload::new());
    let (database, _) = servers.outbox("bench", Feed::Auto).await?;
    slots::create_original(&database).await?;
    fill(&workload, &database, events).await?;
    let receiver = Receiver::new(receiver()?, &database, events * Shape::USUAL.payload_bytes).await?;
    say("drain: warming the broker up");
    produce::produce(servers, "bench.warm-up", workload.clone(), WARM_UP.min(events)).await?;
    for number in 1..=plan.runs {
        let copied = copy::copy(&database).await?;
        let received = receiver.receive(&database).await?;
        let produced = produce::produce(servers, &format!("bench.raw-{number}"), workload.clone(), events).await?;
        for (name, seconds) in [(COPY, copied), (RECEIVE, received), (PRODUCE, produced)] {
            figures.note(name, Unit::PerSecond, events as f64 / seconds);
        }
        let rate = perf::produce(servers, &format!("bench.perf-{number}"), &workload, events).await?;
        figures.note(PERF, Unit::PerSecond, rate);
        for (at, feed) in plan.feeds.iter().enumerate() {
            for again in ["", AGAIN].into_iter().take(if at == 0 { 2 } else { 1 }) {
                let relay = format!("bench-{feed}-{number}{}", again.replace(", ", "-"));
                let drained = relay::drain(servers, &servers.configuration(&relay, &database, *feed), events).await?;
                slots::drop_left(&database).await?;
                drained.note(figures, events, &format!("{feed}{again}"));
            }
        }
    }
    for feed in &plan.feeds {
        compare(figures, *feed);
        figures.expect(&format!("peak memory of the relay, {feed}"), MEMORY_GOAL);
    }
    Ok(())
}

/// Fills an outbox, and leaves nothing of that to be done later.
pub async fn fill(workload: &Workload, database: &Database, events: usize) -> Result<()> {
    say(format!("filling an outbox with {} events", thousands(events as f64)));
    workload.fill(database, events).await?;
    Workload::settle(database).await
}

/// The relay against the lower of the raw limits of the same run: reading as its feed reads, and writing.
fn compare(figures: &mut Figures, feed: Feed) {
    let (read, goal) = match feed {
        Feed::Poll => (COPY, Goal::at_least(0.6)),
        Feed::Wal | Feed::Auto => (RECEIVE, Goal::at_least(0.7)),
    };
    let relay = figures.runs(&format!("relay, {feed}")).iter();
    let limits = figures.runs(read).iter().zip(figures.runs(PRODUCE));
    let ratios: Vec<f64> = relay
        .zip(limits)
        .map(|(relay, (read, produce))| relay / read.min(*produce))
        .collect();
    let name = format!("relay / raw limit, {feed}");
    for ratio in ratios {
        figures.note(&name, Unit::Ratio, ratio);
    }
    figures.expect(&name, goal);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_feed_is_compared_with_the_lower_limit_of_the_same_run() {
        let mut figures = Figures::default();
        for (name, values) in [
            (COPY, [500_000.0, 400_000.0]),
            (RECEIVE, [100_000.0, 300_000.0]),
            (PRODUCE, [200_000.0, 100_000.0]),
            ("relay, wal", [69_000.0, 69_000.0]),
            ("relay, poll", [150_000.0, 60_000.0]),
        ] {
            for value in values {
                figures.note(name, Unit::PerSecond, value);
            }
        }
        compare(&mut figures, Feed::Wal);
        compare(&mut figures, Feed::Poll);
        assert_eq!(figures.runs("relay / raw limit, wal"), [0.69, 0.69]);
        assert_eq!(figures.runs("relay / raw limit, poll"), [0.75, 0.6]);
        let reached: Vec<Option<bool>> = figures.iter().map(|figure| figure.reached()).collect();
        assert_eq!(reached[5..], [Some(false), Some(true)]);
    }
}
