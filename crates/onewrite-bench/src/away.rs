//! The broker is away while events gather, and comes back.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::broker::Ends;
use crate::figures::{Figures, Unit};
use crate::plan::{Feed, Plan};
use crate::progress::{say, thousands};
use crate::relay::Relay;
use crate::servers::Servers;
use crate::settled::{Progress, Settled};
use crate::slots;
use crate::workload::{TOPIC, Workload};

/// Events before the broker goes: the relay is at work then, and not starting.
const BEFORE: usize = 1_000;

/// How long nothing may be settled before the relay counts as stuck, and the pause between two looks.
const STUCK: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(20);

/// Once with each feed: the runs would be those of a broker that is started again and again.
pub async fn measure(servers: &Servers, plan: &Plan, figures: &mut Figures) -> Result<()> {
    for feed in &plan.feeds {
        outage(servers, plan, *feed, figures).await?;
    }
    Ok(())
}

async fn outage(servers: &Servers, plan: &Plan, feed: Feed, figures: &mut Figures) -> Result<()> {
    let relay_name = format!("bench-away-{feed}");
    let (database, configuration) = servers.outbox(&relay_name, feed).await?;
    let workload = Workload::new();
    let ends = Ends::connect(servers.kafka.bootstrap(), TOPIC).await?;
    let settled = Settled::connect(&database, &relay_name).await?;
    let mut relay = Relay::start(&configuration)?;
    workload.fill(&database, BEFORE).await?;
    until_settled(&settled, &mut relay, async || Ok(())).await?;

    let events = plan.away_events;
    let before = ends.total().await?;
    say(format!(
        "away: the broker goes, {} events gather",
        thousands(events as f64)
    ));
    servers.kafka.shut_down().await;
    workload.fill(&database, events).await?;
    let gathered = relay.usage()?.peak_megabytes();
    relay.is_running()?;
    say("away: the broker comes back");
    servers.kafka.restart().await;

    let began = Instant::now();
    let mut first = None;
    let look = async || {
        // A broker that has just come back may have no answer yet.
        if first.is_none() && ends.total().await.is_ok_and(|total| total > before) {
            first = Some(began.elapsed());
        }
        Ok(())
    };
    until_settled(&settled, &mut relay, look).await?;
    let all = began.elapsed();
    let first = first.context("everything is settled, and the broker has nothing")?;
    let delivered = ends.total().await? - before;
    ensure!(delivered >= events, "the broker has {delivered} of {events} events");
    let peak = relay.usage()?.peak_megabytes();
    relay.stop().await?;
    slots::drop_left(&database).await?;

    let rate = events as f64 / (all - first).max(LOOK).as_secs_f64();
    for (name, unit, value) in [
        ("broker back to first delivery", Unit::Seconds, first.as_secs_f64()),
        ("broker back to all settled", Unit::Seconds, all.as_secs_f64()),
        ("first delivery to all settled", Unit::PerSecond, rate),
        ("delivered twice", Unit::Count, (delivered - events) as f64),
        (
            "peak memory of the relay while the broker is away",
            Unit::Megabytes,
            gathered,
        ),
        ("peak memory of the relay", Unit::Megabytes, peak),
    ] {
        figures.note(format!("{name}, {feed}"), unit, value);
    }
    Ok(())
}

/// Looks until the relay has settled everything; `also` is done at each look.
async fn until_settled(settled: &Settled, relay: &mut Relay, mut also: impl AsyncFnMut() -> Result<()>) -> Result<()> {
    let (mut reached, mut moved) = (None, Instant::now());
    loop {
        also().await?;
        let progress = settled.progress().await?;
        if matches!(progress, Some(Progress { all: true, .. })) {
            return Ok(());
        }
        if progress != reached {
            (reached, moved) = (progress, Instant::now());
        }
        relay.is_running()?;
        ensure!(
            moved.elapsed() < STUCK,
            "the relay settled nothing for {STUCK:?}:\n{}",
            relay.words()
        );
        tokio::time::sleep(LOOK).await;
    }
}
