//! Each sink at the end of a relay, beside its client library alone on the same broker.

mod amqp1;
mod http;
mod kafka;
mod mqtt;
mod nats;
mod rabbitmq;
mod redis;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use onewrite_testkit::servers::Database;
use serde::Serialize;

use crate::options::{Feed, Plan};
use crate::process::Usage;
use crate::progress::{say, thousands};
use crate::relay::{Configuration, Relay};
use crate::servers::Servers;
use crate::workload::{TOPIC, TYPE, Workload};

/// How long nothing may be delivered before the relay counts as stuck, and the pause between two looks.
const STUCK: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(10);

/// A broker, and how to send to it.
#[async_trait(?Send)]
trait Subject: Send + Sync {
    /// The keys of the sink's section.
    fn sink(&self) -> String;

    /// Sends so many events by the client library alone, with as many under way at once as the sink has by default, and
    /// returns the seconds until the last was acknowledged.
    async fn alone(&self, workload: Arc<Workload>, events: usize) -> Result<f64>;
}

/// What one run came to. Rates are events a second.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Run {
    /// The sink's type.
    pub sink: &'static str,
    /// Events of the drain.
    pub events: usize,
    /// The client library by itself.
    pub alone: f64,
    /// The relay, from the start of its process until everything was recorded as settled.
    pub relay: f64,
    /// The most bytes of the relay that were resident at once.
    pub peak_bytes: u64,
    /// Seconds of CPU that the relay used.
    pub cpu_seconds: f64,
}

/// The sinks, and whether their brokers are so fast that a relay's start would take a part worth the name in a short drain: they
/// drain the longer backlog.
const SINKS: &[(&str, bool)] = &[
    ("kafka", true),
    ("rabbitmq", false),
    ("nats", false),
    ("amqp1", false),
    ("redis", true),
    ("mqtt", true),
    ("http", true),
];

/// Messages of a library that are under way at once: as many as the sinks have by default.
const WINDOW: usize = 1_000;

/// Fills two outboxes once, and then, for each sink, starts its broker and measures in each run the library and a relay of a new
/// name, which begins where the outbox begins.
pub async fn measure(servers: &Servers, plan: &Plan, wanted: &[String]) -> Result<Vec<Run>> {
    for name in wanted {
        let names: Vec<&str> = SINKS.iter().map(|(name, _)| *name).collect();
        ensure!(
            names.contains(&name.as_str()),
            "there is no sink {name:?} to measure; there are {}",
            names.join(", ")
        );
    }
    let sinks = SINKS
        .iter()
        .filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name));
    let workload = Arc::new(Workload::new());
    let outboxes = [
        Outbox::fill(servers, &workload, "few", plan.sink_events).await?,
        Outbox::fill(servers, &workload, "many", plan.events).await?,
    ];
    let mut runs = Vec::new();
    for (name, fast) in sinks {
        say(format!("sinks: {name}, starting the broker and warming it up"));
        let subject = subject(name, servers).await?;
        subject.alone(workload.clone(), plan.sink_events / 4).await?;
        let outbox = &outboxes[usize::from(*fast)];
        for number in 1..=plan.runs {
            let run = outbox.run(servers, &*subject, name, number, &workload).await?;
            say(format!(
                "sinks: {name}, run {number}: the library alone {}/s, the relay {}/s, {:.2} of it",
                thousands(run.alone),
                thousands(run.relay),
                run.relay / run.alone
            ));
            runs.push(run);
        }
    }
    Ok(runs)
}

/// A backlog, which every relay of a new name drains from its beginning.
struct Outbox {
    database: Database,
    events: usize,
}

impl Outbox {
    async fn fill(servers: &Servers, workload: &Workload, name: &str, events: usize) -> Result<Self> {
        say(format!(
            "sinks: filling an outbox with {} events",
            thousands(events as f64)
        ));
        let (database, _) = servers.outbox(&format!("bench-sinks-{name}"), Feed::Poll).await?;
        workload.fill(&database, events).await?;
        Workload::settle(&database).await?;
        Ok(Self { database, events })
    }

    async fn run(
        &self,
        servers: &Servers,
        subject: &dyn Subject,
        name: &'static str,
        number: usize,
        workload: &Arc<Workload>,
    ) -> Result<Run> {
        let events = self.events as f64;
        let alone = events / subject.alone(workload.clone(), self.events).await?;
        let relay = format!("bench-{name}-{number}");
        let configuration = Configuration {
            sink: subject.sink(),
            ..servers.configuration(&relay, &self.database, Feed::Poll)
        };
        let (seconds, usage) = drain(&self.database, &configuration).await?;
        Ok(Run {
            sink: name,
            events: self.events,
            alone,
            relay: events / seconds,
            peak_bytes: usage.peak_bytes,
            cpu_seconds: usage.cpu_seconds,
        })
    }
}

async fn subject(name: &str, servers: &Servers) -> Result<Box<dyn Subject>> {
    Ok(match name {
        "kafka" => Box::new(kafka::Subject::new(servers)),
        "rabbitmq" => Box::new(rabbitmq::Subject::start().await),
        "nats" => Box::new(nats::Subject::start().await),
        "amqp1" => Box::new(amqp1::Subject::start().await),
        "redis" => Box::new(redis::Subject::start().await),
        "mqtt" => Box::new(mqtt::Subject::start().await),
        _ => Box::new(http::Subject::start().await?),
    })
}

/// Headers as long as those that the relay adds to an event.
fn headers(number: usize) -> [(&'static str, String); 5] {
    [
        (
            "onewrite-id",
            uuid::Uuid::from_u128(number as u128).hyphenated().to_string(),
        ),
        ("onewrite-topic", TOPIC.to_owned()),
        ("onewrite-type", TYPE.to_owned()),
        ("onewrite-occurred-at", "2023-11-14T22:13:20.000001Z".to_owned()),
        ("content-type", "application/json".to_owned()),
    ]
}

/// Runs a relay until everything is settled: its seconds, and what it used.
async fn drain(database: &Database, configuration: &Configuration) -> Result<(f64, Usage)> {
    // What is recorded as settled within 50 ms; the count of deliveries in the status comes once a second.
    const SETTLED: &str = "\
        WITH last AS (SELECT sequence, xid FROM onewrite.outbox ORDER BY sequence DESC LIMIT 1) \
        SELECT cardinality(pending) = 0 \
               AND (pg_visible_in_snapshot(xid, floor_snapshot::pg_snapshot) OR coalesce(window_sequence >= sequence, false)), \
               coalesce(window_sequence, floor_sequence) \
        FROM onewrite.route, last WHERE relay = $1 AND name = 'all'";
    let client = database.connect().await;
    let settled = client.prepare(SETTLED).await?;
    let began = Instant::now();
    let mut relay = Relay::start(configuration)?;
    let (mut reached, mut moved) = (0, began);
    loop {
        tokio::time::sleep(LOOK).await;
        if let Some(row) = client.query_opt(&settled, &[&configuration.relay]).await? {
            if row.get(0) {
                break;
            }
            let now: i64 = row.get(1);
            if now > reached {
                (reached, moved) = (now, Instant::now());
            }
        }
        relay.is_running()?;
        ensure!(
            moved.elapsed() < STUCK,
            "the relay settled everything up to sequence {reached}, and nothing more for {STUCK:?}:\n{}",
            relay.words()
        );
    }
    let seconds = began.elapsed().as_secs_f64();
    let usage = relay.usage()?;
    relay.stop().await.context("after a sink's drain")?;
    Ok((seconds, usage))
}
