//! Products that do what Onewrite does, each as its own documentation has it run, on the same machine, database server and broker.
//! What each is given, and why that is fair, is told in `peers/NAME/README.md` of this crate.

mod debezium_server;
mod drain;
mod fill;
mod pg_transactional_outbox;
mod watermill;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use clap::ValueEnum;
use onewrite_testkit::servers::Database;
use serde::Serialize;
use tokio::process::Command;

use crate::drain::relay::drain as drain_onewrite;
use crate::latency::writer::Table;
use crate::latency::{self, Percentiles};
use crate::options::{Feed, Plan};
use crate::progress::{say, thousands};
use crate::relay::Relay;
use crate::servers::Servers;
use crate::slots;
use crate::workload::Workload;
use drain::Drained;

/// Events a second of the latency. Who drains fewer than that would fall behind without end, and is not asked.
pub const RATE: u32 = 1_000;

/// The products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
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

/// What one relay came to in one run. Rates are events a second.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// Its name: `onewrite wal`, or a product's.
    pub relay: String,
    /// Events of the drain.
    pub events: usize,
    /// From the start of its process to the last record.
    pub from_start: f64,
    /// From the first records that were seen to the last; of Onewrite not measured.
    pub from_first: Option<f64>,
    /// Seconds of CPU for a million events, from the start of its process to the last record.
    pub cpu_from_start: f64,
    /// The same from the first records; of Onewrite not measured.
    pub cpu_from_first: Option<f64>,
    /// The most bytes that were resident at once by the end of the drain.
    pub peak_bytes: u64,
    /// Records at the broker for those events, when the drain was over.
    pub records: usize,
    /// From commit to consumer at [`RATE`] events a second; none where it cannot keep up.
    pub delivery: Option<Percentiles>,
}

impl Run {
    /// The rate that is kinder to the relay: a virtual machine starts slowly.
    pub fn rate(&self) -> f64 {
        self.from_first.unwrap_or(self.from_start)
    }

    /// Seconds of CPU for a million events, likewise.
    pub fn cpu_for_a_million(&self) -> f64 {
        self.cpu_from_first.unwrap_or(self.cpu_from_start)
    }
}

/// Onewrite with each feed, and then each product, as often as the plan says.
pub async fn measure(servers: &Servers, plan: &Plan, names: &[Name]) -> Result<Vec<Run>> {
    // What is missing is told before anything is measured.
    let peers = names.iter().map(|name| Ok((*name, name.peer()?)));
    let peers: Vec<_> = peers.collect::<Result<_>>()?;
    let workload = Workload::new();
    say("peers: filling Onewrite's outbox");
    let (outbox, _) = servers.outbox("bench-peers", Feed::Auto).await?;
    workload.fill(&outbox, plan.events).await?;
    Workload::settle(&outbox).await?;
    let mut runs = Vec::new();
    for number in 1..=plan.peer_runs {
        for feed in &plan.feeds {
            runs.push(run_onewrite(servers, plan, &outbox, *feed, number).await?);
            tell(&runs);
        }
        for (name, peer) in &peers {
            let run = run_peer(servers, plan, &workload, *name, &**peer).await;
            runs.push(run.with_context(|| format!("measuring {}", name.word()))?);
            tell(&runs);
        }
    }
    Ok(runs)
}

async fn run_onewrite(servers: &Servers, plan: &Plan, outbox: &Database, feed: Feed, number: usize) -> Result<Run> {
    let name = format!("bench-peers-{feed}-{number}");
    let drained = drain_onewrite(servers, &servers.configuration(&name, outbox, feed), plan.events).await?;
    slots::drop_left(outbox).await?;
    let (fresh, configuration) = servers.outbox(&format!("{name}-latency"), feed).await?;
    let relay = Relay::start(&configuration)?;
    let table: Arc<dyn Table> = Arc::new(latency::writer::Outbox);
    let delivery = deliver(servers, plan, &fresh, &table, &relay).await?;
    relay.stop().await?;
    slots::drop_left(&fresh).await?;
    Ok(Run {
        relay: format!("onewrite {feed}"),
        events: plan.events,
        from_start: plan.events as f64 / drained.seconds,
        from_first: None,
        cpu_from_start: drained.usage.cpu_seconds * 1e6 / plan.events as f64,
        cpu_from_first: None,
        peak_bytes: drained.usage.peak_bytes,
        // The drain fails when there are others.
        records: plan.events,
        delivery: Some(delivery),
    })
}

/// One process drains the backlog and then, warm, passes single events on.
async fn run_peer(servers: &Servers, plan: &Plan, workload: &Workload, name: Name, peer: &dyn Peer) -> Result<Run> {
    let events = name.events(plan);
    say(format!(
        "peers: {}, filling its table with {} events",
        name.word(),
        thousands(events as f64)
    ));
    let database = peer.set_up(servers).await?;
    peer.fill(&database, workload, events).await?;
    settle(&database).await?;
    let files = tempfile::tempdir().context("making a directory for a product's files")?;
    let command = peer.command(servers, &database, files.path())?;
    let (relay, drained) = drain::drain(servers, command, files, events).await?;
    let rate = drained.from_first.unwrap_or(drained.from_start);
    let keeps_up = rate >= f64::from(RATE) && drained.records >= events;
    let delivery = if keeps_up {
        let delivered = deliver(servers, plan, &database, &peer.table(), &relay).await;
        // What a product loses or repeats is a finding about it, and no failure of the measuring.
        delivered
            .inspect_err(|error| say(format!("peers: {}: no latency: {error:#}", name.word())))
            .ok()
    } else {
        None
    };
    relay.stop_other().await?;
    slots::drop_left(&database).await?;
    let Drained {
        from_start,
        from_first,
        cpu_from_start,
        cpu_from_first,
        peak_bytes,
        records,
    } = drained;
    Ok(Run {
        relay: name.word().to_owned(),
        events,
        from_start,
        from_first,
        cpu_from_start,
        cpu_from_first,
        peak_bytes,
        records,
        delivery,
    })
}

async fn deliver(
    servers: &Servers,
    plan: &Plan,
    database: &Database,
    table: &Arc<dyn Table>,
    relay: &Relay,
) -> Result<Percentiles> {
    let spans = latency::run_through(servers, database, table, relay, RATE, plan.peer_warm_up, plan.latency).await?;
    Ok(spans.delivery)
}

/// Leaves nothing of the filling to be done while it is measured.
async fn settle(database: &Database) -> Result<()> {
    let client = database.connect().await;
    for statement in ["VACUUM (ANALYZE)", "CHECKPOINT"] {
        client.batch_execute(statement).await.context(statement)?;
    }
    Ok(())
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

fn tell(runs: &[Run]) {
    let Some(run) = runs.last() else { return };
    let latency = run.delivery.map_or_else(
        || "no latency".to_owned(),
        |delivery| format!("p50 {:.1} ms, p99 {:.1} ms", delivery.p50, delivery.p99),
    );
    say(format!(
        "peers: {}: {}/s ({}/s with its start), CPU {:.1} s for a million, {:.0} MB, {latency}; {} records for {} events",
        run.relay,
        thousands(run.rate()),
        thousands(run.from_start),
        run.cpu_for_a_million(),
        run.peak_bytes as f64 / 1e6,
        thousands(run.records as f64),
        thousands(run.events as f64)
    ));
}
