//! A relay that has nothing to do.

use std::time::Instant;

use anyhow::Result;

use crate::figures::{Figures, Goal, Unit};
use crate::plan::{Feed, Plan};
use crate::relay::Relay;
use crate::servers::Servers;
use crate::slots;

/// Percent of a core that an idle relay uses.
const GOAL: Goal = Goal::below(1.0).in_every_run();

/// Watches a relay of each feed on an empty outbox.
pub async fn measure(servers: &Servers, plan: &Plan, figures: &mut Figures) -> Result<()> {
    for feed in &plan.feeds {
        watch(servers, plan, *feed, figures).await?;
    }
    Ok(())
}

async fn watch(servers: &Servers, plan: &Plan, feed: Feed, figures: &mut Figures) -> Result<()> {
    let (database, configuration) = servers.outbox(&format!("bench-idle-{feed}"), feed).await?;
    let mut relay = Relay::start(&configuration)?;
    tokio::time::sleep(plan.settling).await; // slow on purpose
    let name = format!("relay, of a core, {feed}");
    for _ in 0..plan.runs {
        let began = Instant::now();
        let before = (relay.usage()?.cpu_seconds, servers.cpu_seconds()?.0);
        tokio::time::sleep(plan.idle).await; // slow on purpose
        relay.is_running()?;
        let after = (relay.usage()?.cpu_seconds, servers.cpu_seconds()?.0);
        let percent = |before: f64, after: f64| (after - before) / began.elapsed().as_secs_f64() * 100.0;
        figures.note(&name, Unit::Percent, percent(before.0, after.0));
        let database = percent(before.1, after.1);
        figures.note(format!("PostgreSQL, of a core, {feed}"), Unit::Percent, database);
    }
    figures.expect(&name, GOAL);
    relay.stop().await?;
    slots::drop_left(&database).await
}
