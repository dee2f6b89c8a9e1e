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

use crate::figures::{Figures, Goal, Unit};
use crate::plan::{Feed, Plan};
use crate::process::Usage;
use crate::progress::{say, thousands};
use crate::relay::{Configuration, Relay};
use crate::servers::Servers;
use crate::settled::Settled;
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

/// A sink against its client library alone on the same broker.
const GOAL: Goal = Goal::at_least(0.8);

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
pub async fn measure(servers: &Servers, plan: &Plan, wanted: &[String], figures: &mut Figures) -> Result<()> {
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
    for (name, fast) in sinks {
        say(format!("sinks: {name}, starting the broker and warming it up"));
        let subject = subject(name, servers).await?;
        subject.alone(workload.clone(), plan.sink_events / 4).await?;
        let outbox = &outboxes[usize::from(*fast)];
        for number in 1..=plan.runs {
            outbox.run(servers, &*subject, name, number, &workload, figures).await?;
        }
        figures.expect(&format!("{name}: relay / library alone"), GOAL);
    }
    Ok(())
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
        name: &str,
        number: usize,
        workload: &Arc<Workload>,
        figures: &mut Figures,
    ) -> Result<()> {
        let events = self.events as f64;
        let alone = events / subject.alone(workload.clone(), self.events).await?;
        let relay = format!("bench-{name}-{number}");
        let configuration = Configuration {
            sink: subject.sink(),
            ..servers.configuration(&relay, &self.database, Feed::Poll)
        };
        let (seconds, usage) = drain(&self.database, &configuration).await?;
        let mut note = |what: &str, unit, value| figures.note(format!("{name}: {what}"), unit, value);
        note("library alone", Unit::PerSecond, alone);
        note("relay", Unit::PerSecond, events / seconds);
        note("relay / library alone", Unit::Ratio, events / seconds / alone);
        note("peak memory of the relay", Unit::Megabytes, usage.peak_megabytes());
        note(
            "CPU of the relay for a million events",
            Unit::Seconds,
            usage.cpu_seconds * 1e6 / events,
        );
        Ok(())
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
    let settled = Settled::connect(database, &configuration.relay).await?;
    let began = Instant::now();
    let mut relay = Relay::start(configuration)?;
    let (mut reached, mut moved) = (0, began);
    loop {
        tokio::time::sleep(LOOK).await;
        if let Some(progress) = settled.progress().await? {
            if progress.all {
                break;
            }
            if progress.sequence > reached {
                (reached, moved) = (progress.sequence, Instant::now());
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
