//! A backlog through the relay, beside the raw limits of its two ends.

mod copy;
pub mod produce;
mod receive;
pub mod relay;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use serde::Serialize;

use crate::options::{Feed, Plan};
use crate::progress::{say, thousands};
use crate::servers::Servers;
use crate::slots;
use crate::workload::{PAYLOAD_BYTES, Workload};
use receive::Receiver;

/// Events of the warming up: enough for the broker's virtual machine to have compiled what it does most.
const WARM_UP: usize = 300_000;

/// What one run came to. Rates are events a second.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Run {
    /// The relay's feed.
    pub feed: Feed,
    /// The machine's limits, measured just before.
    pub limits: Limits,
    /// The relay.
    pub relay: f64,
    /// The most bytes of the relay that were resident at once.
    pub peak_bytes: u64,
    /// Seconds of CPU that the relay used.
    pub cpu_seconds: f64,
    /// Seconds of CPU that the database server used for the relay's drain.
    pub database_cpu_seconds: f64,
    /// And the broker.
    pub broker_cpu_seconds: f64,
}

/// What the machine does without a relay, in events a second.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Limits {
    /// COPY of the same rows out of the database.
    pub copy: f64,
    /// `pg_recvlogical` by itself, reading the same rows from the log.
    pub receive: f64,
    /// librdkafka by itself, sending the same bytes.
    pub produce: f64,
}

impl Limits {
    /// With their names.
    pub fn named(&self) -> [(&'static str, f64); 3] {
        [
            ("COPY of the rows", self.copy),
            ("pg_recvlogical alone", self.receive),
            ("librdkafka alone", self.produce),
        ]
    }
}

impl Run {
    /// The relay against the lower of the raw limits: reading as its feed reads, and writing.
    pub fn ratio(&self) -> f64 {
        let Limits { copy, receive, produce } = self.limits;
        let read = match self.feed {
            Feed::Poll => copy,
            Feed::Wal | Feed::Auto => receive,
        };
        self.relay / read.min(produce)
    }
}

/// The program that reads the log alone.
pub fn receiver() -> Result<PathBuf> {
    receive::program()
}

/// Fills an outbox once, and in each run measures the raw limits and then, for each feed, a relay of a new name, which begins
/// where the outbox begins.
pub async fn measure(servers: &Servers, plan: &Plan, receiver: PathBuf) -> Result<Vec<Run>> {
    let events = plan.events;
    say(format!(
        "drain: filling an outbox with {} events",
        thousands(events as f64)
    ));
    let workload = Arc::new(Workload::new());
    let (database, _) = servers.outbox("bench", Feed::Auto).await?;
    slots::create_original(&database).await?;
    workload.fill(&database, events).await?;
    let receiver = Receiver::new(receiver, &database, events * PAYLOAD_BYTES).await?;
    Workload::settle(&database).await?;
    say("drain: warming the broker up");
    produce::produce(servers, "bench.warm-up", workload.clone(), WARM_UP.min(events)).await?;
    let rate = |seconds: f64| events as f64 / seconds;
    let mut runs = Vec::new();
    for number in 1..=plan.runs {
        let copied = copy::copy(&database).await?;
        let received = receiver.receive(&database).await?;
        let produced = produce::produce(servers, &format!("bench.raw-{number}"), workload.clone(), events).await?;
        let limits = Limits {
            copy: rate(copied),
            receive: rate(received),
            produce: rate(produced),
        };
        for (name, rate) in limits.named() {
            say(format!("drain, run {number}: {name} {}/s", thousands(rate)));
        }
        for feed in &plan.feeds {
            let name = format!("bench-{feed}-{number}");
            let drained = relay::drain(servers, &servers.configuration(&name, &database, *feed), events).await?;
            slots::drop_left(&database).await?;
            let run = Run {
                feed: *feed,
                limits,
                relay: rate(drained.seconds),
                peak_bytes: drained.usage.peak_bytes,
                cpu_seconds: drained.usage.cpu_seconds,
                database_cpu_seconds: drained.database_cpu_seconds,
                broker_cpu_seconds: drained.broker_cpu_seconds,
            };
            say(format!("drain, {feed}, run {number}: {run}"));
            runs.push(run);
        }
    }
    Ok(runs)
}

impl fmt::Display for Run {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "relay {}/s, ratio {:.2}, {:.1} MB; CPU {:.1} s, PostgreSQL {:.1} s, Kafka {:.1} s",
            thousands(self.relay),
            self.ratio(),
            self.peak_bytes as f64 / 1e6,
            self.cpu_seconds,
            self.database_cpu_seconds,
            self.broker_cpu_seconds
        )
    }
}
