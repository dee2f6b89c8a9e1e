//! A route beside another whose broker is down: what the healthy one loses by it.

use anyhow::{Context, Result};
use onewrite_testkit::servers::Database;
use serde::Serialize;

use crate::drain::relay::drain;
use crate::latency::{self, Percentiles};
use crate::options::{Feed, Plan};
use crate::progress::{say, thousands};
use crate::relay::{Configuration, Relay};
use crate::servers::Servers;
use crate::slots;
use crate::workload::Workload;

/// Events that the other broker does not take: about as many as a route holds in memory.
const STUCK: i32 = 20_000;

/// Events a second of the latency.
const RATE: u32 = 1_000;

/// The other route, to where nobody listens.
const OTHER: &str = "[sinks.other]\ntype = \"http\"\nurl = \"http://127.0.0.1:9/\"\n\
                     [[routes]]\nname = \"other\"\nmatch = { topic = \"other.*\" }\nsink = \"other\"\n";

/// A route alone, or beside one whose broker is down.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Run {
    /// The relay's feed.
    pub feed: Feed,
    /// Whether there is another route.
    pub beside: bool,
    /// The drain, in events a second.
    pub rate: f64,
    /// From commit to consumer at 1,000 events a second.
    pub delivery: Percentiles,
}

/// Of each feed: the route alone and beside the other, in turn.
pub async fn measure(servers: &Servers, plan: &Plan) -> Result<Vec<Run>> {
    say("beside: filling two outboxes");
    let workload = Workload::new();
    let mut outboxes = Vec::new();
    for beside in [false, true] {
        let (database, _) = servers.outbox("bench-beside", Feed::Auto).await?;
        if beside {
            get_stuck(&database).await?;
        }
        workload.fill(&database, plan.events).await?;
        Workload::settle(&database).await?;
        outboxes.push((beside, database));
    }
    let mut runs = Vec::new();
    for number in 1..=plan.runs {
        for feed in &plan.feeds {
            for (beside, database) in &outboxes {
                let run = run(servers, plan, database, *feed, *beside, number).await?;
                let word = if *beside { "beside" } else { "alone" };
                say(format!(
                    "{word}, {feed}, run {number}: {}/s, p50 {:.1} ms, p99 {:.1} ms",
                    thousands(run.rate),
                    run.delivery.p50,
                    run.delivery.p99
                ));
                runs.push(run);
            }
        }
    }
    Ok(runs)
}

async fn run(
    servers: &Servers,
    plan: &Plan,
    database: &Database,
    feed: Feed,
    beside: bool,
    number: usize,
) -> Result<Run> {
    let with_other = |configuration: Configuration| Configuration {
        more: if beside { OTHER.to_owned() } else { String::new() },
        ..configuration
    };
    let name = format!("bench-beside-{feed}-{number}");
    let configuration = with_other(servers.configuration(&name, database, feed));
    let seconds = drain(servers, &configuration, plan.events).await?.seconds;
    slots::drop_left(database).await?;

    // Latency is that of an outbox in which nothing else is on its way, but for what is stuck.
    let (fresh, configuration) = servers.outbox(&format!("{name}-latency"), feed).await?;
    if beside {
        get_stuck(&fresh).await?;
    }
    let relay = Relay::start(&with_other(configuration))?;
    let spans = latency::run(servers, &fresh, &relay, RATE, plan.latency).await?;
    relay.stop().await?;
    slots::drop_left(&fresh).await?;
    Ok(Run {
        feed,
        beside,
        rate: plan.events as f64 / seconds,
        delivery: spans.delivery,
    })
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
