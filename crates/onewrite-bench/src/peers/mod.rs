//! Products that do what Onewrite does, each as its own documentation has it run, on the same machine, database server and broker.
//! What each is given, and why that is fair, is told in `peers/NAME/README.md` of this crate.

mod debezium_server;
mod drain;
mod fill;
mod pg_transactional_outbox;
mod told;
mod watermill;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use clap::ValueEnum;
use onewrite_testkit::servers::Database;
use tokio::process::Command;

use crate::drain::fill as fill_outbox;
use crate::drain::relay::drain as drain_onewrite;
use crate::figures::Figures;
use crate::latency::table::{Outbox, Table};
use crate::latency::{self, Load, Percentiles};
use crate::plan::{Feed, Plan};
use crate::progress::{say, thousands};
use crate::relay::Relay;
use crate::servers::Servers;
use crate::slots;
use crate::workload::Workload;
use drain::Drained;

/// The load of the latency. Who drains fewer than that would fall behind without end, and is not asked.
const LOAD: Load = Load {
    rate: 1_000,
    transaction: 1,
};

/// The products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Name {
    /// Debezium's own program, which reads the log
    DebeziumServer,
    /// The forwarder of the Go library Watermill, which asks the table
    Watermill,
    /// The Node library of that name, which reads the log
    PgTransactionalOutbox,
}

impl Name {
    /// As people type it, and as its directories are called.
    pub fn word(self) -> &'static str {
        match self {
            Self::DebeziumServer => "debezium-server",
            Self::Watermill => "watermill",
            Self::PgTransactionalOutbox => "pg-transactional-outbox",
        }
    }

    fn peer(self) -> Result<Box<dyn Peer>> {
        let directory = onewrite_testkit::servers::cache_directory()
            .join("peers")
            .join(self.word());
        let shown = directory.display();
        ensure!(directory.is_dir(), "{shown} is missing; `./x bench peers` fetches it");
        Ok(match self {
            Self::DebeziumServer => Box::new(debezium_server::Peer(directory)),
            Self::Watermill => Box::new(watermill::Peer(directory)),
            Self::PgTransactionalOutbox => Box::new(pg_transactional_outbox::Peer(directory)),
        })
    }

    /// Events of its drain, so that it takes about as long as the others'.
    fn events(self, plan: &Plan) -> usize {
        let share = match self {
            Self::DebeziumServer => 2,
            Self::Watermill => 25,
            Self::PgTransactionalOutbox => 200,
        };
        plan.events / share
    }
}

/// A product and its table. Its program begins where the table begins.
#[async_trait(?Send)]
trait Peer {
    /// Makes what it needs in a new database: the table, and the replication slot if it reads the log.
    async fn set_up(&self, servers: &Servers) -> Result<Database>;

    /// The table.
    fn table(&self) -> Arc<dyn Table>;

    /// Puts so many events into the table, in transactions of 100.
    async fn fill(&self, database: &Database, workload: &Workload, events: usize) -> Result<()> {
        fill::fill(&*self.table(), database, workload, events).await
    }

    /// The program between that database and the broker, with its files in a directory.
    fn command(&self, servers: &Servers, database: &Database, files: &Path) -> Result<Command>;
}

/// Onewrite with each feed, and then each product, as often as the plan says. A product that is missing or fails is told, and the
/// others are measured.
pub async fn measure(servers: &Servers, plan: &Plan, names: &[Name], figures: &mut Figures) -> Result<()> {
    let mut peers = Vec::new();
    for name in names {
        match name.peer() {
            Ok(peer) => peers.push((*name, peer)),
            Err(missing) => say(format!("peers: {}: not measured: {missing:#}", name.word())),
        }
    }
    if peers.is_empty() {
        return Ok(());
    }
    servers.warm_up(plan).await?;
    let workload = Workload::new();
    let (outbox, _) = servers.outbox("bench-peers", Feed::Auto).await?;
    fill_outbox(&workload, &outbox, plan.events).await?;
    for number in 1..=plan.runs {
        for feed in &plan.feeds {
            run_onewrite(servers, plan, &outbox, *feed, number, figures).await?;
        }
        for (name, peer) in &peers {
            if let Err(error) = run_peer(servers, plan, &workload, *name, &**peer, figures).await {
                say(format!("peers: {}: this run failed: {error:#}", name.word()));
                told::failed(figures, name.word());
            }
        }
    }
    told::judge(figures);
    Ok(())
}

async fn run_onewrite(
    servers: &Servers,
    plan: &Plan,
    outbox: &Database,
    feed: Feed,
    number: usize,
    figures: &mut Figures,
) -> Result<()> {
    let name = format!("bench-peers-{feed}-{number}");
    let drained = drain_onewrite(servers, &servers.configuration(&name, outbox, feed), plan.events).await?;
    slots::drop_left(outbox).await?;
    let who = told::onewrite(feed);
    Drained::of_onewrite(&drained, plan.events).note(figures, &who, plan.events);
    let (fresh, configuration) = servers.outbox(&format!("{name}-latency"), feed).await?;
    let relay = Relay::start(&configuration)?;
    let table: Arc<dyn Table> = Arc::new(Outbox);
    let delivery = deliver(servers, plan, &fresh, &table, &relay).await?;
    told::delivery(figures, &who, &delivery);
    relay.stop().await?;
    slots::drop_left(&fresh).await
}

async fn run_peer(
    servers: &Servers,
    plan: &Plan,
    workload: &Workload,
    name: Name,
    peer: &dyn Peer,
    figures: &mut Figures,
) -> Result<()> {
    let events = name.events(plan);
    let (word, count) = (name.word(), thousands(events as f64));
    say(format!("peers: {word}, filling its table with {count} events"));
    let database = peer.set_up(servers).await?;
    peer.fill(&database, workload, events).await?;
    Workload::settle(&database).await?;
    let outcome = run_process(servers, plan, &database, name, peer, figures).await;
    slots::drop_left(&database).await?;
    outcome
}

/// One process drains the backlog and then, warm, passes single events on.
async fn run_process(
    servers: &Servers,
    plan: &Plan,
    database: &Database,
    name: Name,
    peer: &dyn Peer,
    figures: &mut Figures,
) -> Result<()> {
    let (events, word) = (name.events(plan), name.word());
    let files = tempfile::tempdir().context("making a directory for a product's files")?;
    let command = peer.command(servers, database, files.path())?;
    let (relay, drained) = drain::drain(servers, command, files, events).await?;
    drained.note(figures, word, events);
    if drained.records < events {
        say(format!(
            "peers: {word}: it lost events, and is not asked for the latency"
        ));
    } else if drained.rate < f64::from(LOAD.rate) {
        say(format!("peers: {word}: too slow for the latency"));
    } else {
        match deliver(servers, plan, database, &peer.table(), &relay).await {
            Ok(delivery) => told::delivery(figures, word, &delivery),
            // What a product loses or repeats is a finding about it, and no failure of the measuring.
            Err(error) => say(format!("peers: {word}: no latency: {error:#}")),
        }
    }
    relay.stop_other().await
}

async fn deliver(
    servers: &Servers,
    plan: &Plan,
    database: &Database,
    table: &Arc<dyn Table>,
    relay: &Relay,
) -> Result<Percentiles> {
    let spans = latency::run_through(servers, database, table, relay, LOAD, plan.warm_up, plan.latency).await?;
    Ok(spans.delivery)
}

/// Runs a program to its end, which has to be a good one.
async fn run_to_end(mut command: Command) -> Result<()> {
    let output = command.output().await;
    let output = output.with_context(|| format!("starting {:?}", command.as_std()))?;
    ensure!(
        output.status.success(),
        "{:?} failed ({}):\n{}{}",
        command.as_std(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// The folder of a product's own project in this crate.
fn project(name: Name) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name.word())
}
