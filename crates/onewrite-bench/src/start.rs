//! From the start of the process to the first delivery, and how large the program is.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use onewrite_testkit::servers::Database;

use crate::broker::Ends;
use crate::figures::{Figures, Goal, Unit};
use crate::plan::Plan;
use crate::relay::{Configuration, Relay};
use crate::servers::Servers;
use crate::slots;
use crate::workload::{TOPIC, Workload};

/// Milliseconds from the start of the process until an event that was waiting is at the broker.
const START_GOAL: Goal = Goal::below(300.0);

/// Megabytes of the program's file.
const SIZE_GOAL: Goal = Goal::below(30.0);

/// How long that may take before the relay counts as stuck, and the pause between two looks at the broker.
const STUCK: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(2);

/// With each feed, starts a relay again and again, each time with one event waiting. The first start of a relay's name makes
/// its slot and its rows, and is told by itself.
pub async fn measure(servers: &Servers, plan: &Plan, figures: &mut Figures) -> Result<()> {
    let workload = Workload::new();
    let ends = Ends::connect(servers.kafka.bootstrap(), TOPIC).await?;
    for feed in &plan.feeds {
        let (database, configuration) = servers.outbox(&format!("bench-start-{feed}"), *feed).await?;
        let first = start(&database, &configuration, &workload, &ends).await?;
        figures.note(format!("first start of a relay, {feed}"), Unit::Milliseconds, first);
        let name = format!("process start to the broker, {feed}");
        for _ in 0..plan.starts {
            let milliseconds = start(&database, &configuration, &workload, &ends).await?;
            figures.note(&name, Unit::Milliseconds, milliseconds);
        }
        figures.expect(&name, START_GOAL);
        slots::drop_left(&database).await?;
    }
    Ok(())
}

/// The size of the program's file.
pub fn size(program: &Path, figures: &mut Figures) -> Result<()> {
    let bytes = std::fs::metadata(program).context("looking at the program")?.len();
    let name = "file of the program";
    figures.note(name, Unit::Megabytes, bytes as f64 / 1e6);
    figures.expect(name, SIZE_GOAL);
    Ok(())
}

/// Milliseconds of one start.
async fn start(database: &Database, configuration: &Configuration, workload: &Workload, ends: &Ends) -> Result<f64> {
    workload.fill(database, 1).await?;
    let before = ends.total().await?;
    let began = Instant::now();
    let mut relay = Relay::start(configuration)?;
    while ends.total().await? == before {
        relay.is_running()?;
        ensure!(
            began.elapsed() < STUCK,
            "the relay delivered nothing within {STUCK:?}:\n{}",
            relay.words()
        );
        tokio::time::sleep(LOOK).await;
    }
    let milliseconds = began.elapsed().as_secs_f64() * 1e3;
    relay.stop().await?;
    Ok(milliseconds)
}
