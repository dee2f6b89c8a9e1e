//! A backlog out of an SQLite file.

use std::path::Path;

use anyhow::{Context, Result};
use onewrite::Event;
use rusqlite::Connection;

use crate::drain::relay::drain;
use crate::figures::Figures;
use crate::plan::{Feed, Plan};
use crate::progress::{say, thousands};
use crate::relay::Configuration;
use crate::servers::Servers;
use crate::workload::{Shape, TYPE, Workload};

/// Fills a file once, and drains it in each run by a relay of a new name.
pub async fn measure(servers: &Servers, plan: &Plan, figures: &mut Figures) -> Result<()> {
    let events = plan.events;
    let directory = tempfile::tempdir().context("making a directory for the database")?;
    let path = directory.path().join("bench.db");
    say(format!("filling a file with {} events", thousands(events as f64)));
    let file = path.clone();
    tokio::task::spawn_blocking(move || fill(&file, events)).await??;
    for number in 1..=plan.runs {
        let configuration = Configuration {
            source: format!("type = \"sqlite\"\nurl = {path:?}"),
            // Beside the database's server, which stands idle here, so that the CPU it takes is told as well.
            ..servers.configuration(
                &format!("bench-sqlite-{number}"),
                &servers.postgres.maintenance(),
                Feed::Auto,
            )
        };
        let drained = drain(servers, &configuration, events).await?;
        drained.note(figures, events, "sqlite");
    }
    Ok(())
}

fn fill(path: &Path, events: usize) -> Result<()> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    onewrite::sqlite::migrate(&mut connection)?;
    // What is filled in is not measured; the last checkpoint flushes it.
    connection.pragma_update(None, "synchronous", "OFF")?;
    let workload = Workload::new();
    for start in (0..events).step_by(Shape::USUAL.transaction) {
        let numbers = start..events.min(start + Shape::USUAL.transaction);
        let events: Vec<Event> = numbers.map(|number| event(&workload, number)).collect();
        let transaction = connection.transaction()?;
        onewrite::sqlite::append_all(&transaction, &events)?;
        transaction.commit()?;
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .context("the checkpoint")
}

fn event(workload: &Workload, number: usize) -> Event {
    Event::new(workload.topic(number), workload.payload(number).clone())
        .key(workload.key(number))
        .event_type(TYPE)
}
