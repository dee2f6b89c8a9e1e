//! A backlog through the relay, beside the raw limits of its two ends.

mod copy;
mod produce;
mod relay;

use std::fmt;
use std::sync::Arc;

use anyhow::Result;
use serde::Serialize;

use crate::options::Plan;
use crate::progress::{say, thousands};
use crate::servers::Servers;
use crate::workload::Workload;

/// Events of the warming up: enough for the broker's virtual machine to have compiled what it does most.
const WARM_UP: usize = 300_000;

/// What one run came to. Rates are events a second.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Run {
    /// COPY of the same rows out of the database.
    pub copy: f64,
    /// librdkafka by itself, sending the same bytes.
    pub produce: f64,
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

impl Run {
    /// The lower of the raw limits.
    pub fn limit(&self) -> f64 {
        self.copy.min(self.produce)
    }

    /// The relay against the lower of the raw limits.
    pub fn ratio(&self) -> f64 {
        self.relay / self.limit()
    }
}

/// Fills an outbox once, and in each run measures the raw limits and then a relay of a new name, which begins where the
/// outbox begins.
pub async fn measure(servers: &Servers, plan: &Plan) -> Result<Vec<Run>> {
    let events = plan.events;
    say(format!(
        "drain: filling an outbox with {} events",
        thousands(events as f64)
    ));
    let workload = Arc::new(Workload::new());
    let (database, _) = servers.outbox("bench").await?;
    workload.fill(&database, events).await?;
    say("drain: warming the broker up");
    produce::produce(servers, "bench.warm-up", workload.clone(), WARM_UP.min(events)).await?;
    let mut runs = Vec::new();
    for number in 1..=plan.runs {
        let copied = copy::copy(&database).await?;
        let produced = produce::produce(servers, &format!("bench.raw-{number}"), workload.clone(), events).await?;
        let drained = relay::drain(servers, &database, &format!("bench-{number}"), events).await?;
        let run = Run {
            copy: events as f64 / copied,
            produce: events as f64 / produced,
            relay: events as f64 / drained.seconds,
            peak_bytes: drained.usage.peak_bytes,
            cpu_seconds: drained.usage.cpu_seconds,
            database_cpu_seconds: drained.database_cpu_seconds,
            broker_cpu_seconds: drained.broker_cpu_seconds,
        };
        say(format!("drain, run {number}: {run}"));
        runs.push(run);
    }
    Ok(runs)
}

impl fmt::Display for Run {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "COPY {}/s, librdkafka {}/s, relay {}/s, ratio {:.2}, {:.1} MB; CPU {:.1} s, PostgreSQL {:.1} s, Kafka {:.1} s",
            thousands(self.copy),
            thousands(self.produce),
            thousands(self.relay),
            self.ratio(),
            self.peak_bytes as f64 / 1e6,
            self.cpu_seconds,
            self.database_cpu_seconds,
            self.broker_cpu_seconds
        )
    }
}
