//! A route beside another whose broker is down: what the healthy one loses by it.

use anyhow::{Context, Result};
use onewrite_testkit::servers::Database;

use crate::drain::fill;
use crate::drain::relay::drain;
use crate::figures::{Figures, Goal, Unit};
use crate::latency::{self, Load};
use crate::plan::{Feed, Plan};
use crate::relay::{Configuration, Relay};
use crate::servers::Servers;
use crate::slots;
use crate::workload::Workload;

/// Events that the other broker does not take: about as many as a route holds in memory.
const STUCK: i32 = 20_000;

/// The load of the latency.
const LOAD: Load = Load {
    rate: 1_000,
    transaction: 1,
};

/// What figures of the route by itself are called, and those of the route beside the other.
const ALONE: &str = "alone";
const BESIDE: &str = "beside";
const WORDS: [&str; 2] = [ALONE, BESIDE];

/// The other route, to where nobody listens.
const OTHER: &str = "[sinks.other]\ntype = \"http\"\nurl = \"http://127.0.0.1:9/\"\n\
                     [[routes]]\nname = \"other\"\nmatch = { topic = \"other.*\" }\nsink = \"other\"\n";

/// What the route beside the other keeps of its throughput, and what its latency may become.
const THROUGHPUT_GOAL: Goal = Goal::at_least(0.95);
const LATENCY_GOAL: Goal = Goal::at_most(1.05);

/// Of each feed: the route alone and beside the other, in turn.
pub async fn measure(servers: &Servers, plan: &Plan, figures: &mut Figures) -> Result<()> {
    servers.warm_up(plan).await?;
    let workload = Workload::new();
    let mut outboxes = Vec::new();
    for word in WORDS {
        let (database, _) = servers.outbox("bench-beside", Feed::Auto).await?;
        if word == BESIDE {
            get_stuck(&database).await?;
        }
        fill(&workload, &database, plan.events).await?;
        outboxes.push((word, database));
    }
    for number in 1..=plan.runs {
        for feed in &plan.feeds {
            for (word, database) in &outboxes {
                let relay = format!("bench-beside-{feed}-{number}");
                let configuration = with_other(word, servers.configuration(&relay, database, *feed));
                let drained = drain(servers, &configuration, plan.events).await?;
                figures.note(rate(word, *feed), Unit::PerSecond, plan.events as f64 / drained.seconds);
                slots::drop_left(database).await?;
                delivery(servers, plan, *feed, word, figures).await?;
            }
        }
    }
    for feed in &plan.feeds {
        let name = format!("beside / alone: throughput, {feed}");
        figures.compare(&name, &rate(BESIDE, *feed), &rate(ALONE, *feed));
        figures.expect(&name, THROUGHPUT_GOAL);
        for percentile in ["p50", "p99"] {
            let name = format!("beside / alone: latency, {percentile}, {feed}");
            let [alone, beside] = WORDS.map(|word| latency_of(word, percentile, *feed));
            figures.compare(&name, &beside, &alone);
            figures.expect(&name, LATENCY_GOAL);
        }
    }
    Ok(())
}

/// Latency is that of an outbox in which nothing else is on its way, but for what is stuck.
async fn delivery(servers: &Servers, plan: &Plan, feed: Feed, word: &str, figures: &mut Figures) -> Result<()> {
    let (database, configuration) = servers.outbox(&format!("bench-beside-{feed}-latency"), feed).await?;
    if word == BESIDE {
        get_stuck(&database).await?;
    }
    let relay = Relay::start(&with_other(word, configuration))?;
    let spans = latency::run(servers, &database, &relay, LOAD, plan.warm_up, plan.latency).await?;
    relay.stop().await?;
    slots::drop_left(&database).await?;
    for (percentile, value) in [("p50", spans.delivery.p50), ("p99", spans.delivery.p99)] {
        figures.note(latency_of(word, percentile, feed), Unit::Milliseconds, value);
    }
    Ok(())
}

fn with_other(word: &str, configuration: Configuration) -> Configuration {
    Configuration {
        more: if word == BESIDE {
            OTHER.to_owned()
        } else {
            String::new()
        },
        ..configuration
    }
}

fn rate(word: &str, feed: Feed) -> String {
    format!("{word}: throughput, {feed}")
}

fn latency_of(word: &str, percentile: &str, feed: Feed) -> String {
    format!("{word}: latency, {percentile}, {feed}")
}

async fn get_stuck(database: &Database) -> Result<()> {
    const INSERT: &str = "INSERT INTO onewrite.outbox (topic, key, payload) \
                          SELECT 'other.events', 'key-' || n % 1000, convert_to(repeat(md5(n::text), 9), 'UTF8') FROM generate_series(1, $1) AS n";
    let client = database.connect().await;
    client
        .execute(INSERT, &[&STUCK])
        .await
        .context("writing events for a broker that is down")?;
    Ok(())
}
