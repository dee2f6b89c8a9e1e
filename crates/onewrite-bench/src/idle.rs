//! A relay that has nothing to do.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use crate::options::{Feed, Plan};
use crate::progress::say;
use crate::relay::Relay;
use crate::servers::Servers;
use crate::slots;

/// How long a relay is left alone before it is watched: its start is over then, and polling has become slow.
const SETTLING: Duration = Duration::from_secs(5);

/// What one run came to, in percent of one core.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Run {
    /// The relay's feed.
    pub feed: Feed,
    /// The relay itself.
    pub relay: f64,
    /// What the database server spends on its questions, and on itself.
    pub database: f64,
}

/// Watches a relay of each feed on an empty outbox.
pub async fn measure(servers: &Servers, plan: &Plan) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for feed in &plan.feeds {
        runs.extend(watch(servers, plan, *feed).await?);
    }
    Ok(runs)
}

async fn watch(servers: &Servers, plan: &Plan, feed: Feed) -> Result<Vec<Run>> {
    let (database, configuration) = servers.outbox(&format!("bench-idle-{feed}"), feed).await?;
    let mut relay = Relay::start(&configuration)?;
    tokio::time::sleep(SETTLING).await;
    let mut runs = Vec::new();
    for number in 1..=plan.runs {
        let began = Instant::now();
        let before = (relay.usage()?.cpu_seconds, servers.cpu_seconds()?.0);
        tokio::time::sleep(plan.idle).await;
        relay.is_running()?;
        let after = (relay.usage()?.cpu_seconds, servers.cpu_seconds()?.0);
        let percent = |before: f64, after: f64| (after - before) / began.elapsed().as_secs_f64() * 100.0;
        let run = Run {
            feed,
            relay: percent(before.0, after.0),
            database: percent(before.1, after.1),
        };
        say(format!(
            "idle, {feed}, run {number}: relay {:.2} %, database {:.2} % of a core",
            run.relay, run.database
        ));
        runs.push(run);
    }
    relay.stop().await?;
    slots::drop_left(&database).await?;
    Ok(runs)
}
