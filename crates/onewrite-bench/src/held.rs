//! A relay at work while a transaction stays open in another database of the server: nothing may be cleaned up meanwhile that it
//! might still see, and so every row that the relay writes again and again leaves its old versions behind.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use onewrite_testkit::servers::Database;

use crate::broker::Ends;
use crate::figures::{Figures, Goal, Unit};
use crate::plan::{Feed, Plan};
use crate::progress::say;
use crate::relay::Relay;
use crate::servers::Servers;
use crate::slots;
use crate::workload::{TOPIC, Workload};

/// Events a second while the transaction grows old, and how often some of them are written.
const MEANWHILE: usize = 1_000;
const TICK: Duration = Duration::from_millis(100);

/// How long events may take to arrive before the relay counts as stuck, and the pause between two looks.
const STUCK: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(20);

/// How long nothing may arrive before nothing is on its way.
const REST: Duration = Duration::from_millis(500);

/// Throughput with the transaction against throughput without.
const GOAL: Goal = Goal::at_least(0.9);

/// Of each feed: floods without the transaction, floods while it is old, and floods when it has ended.
pub async fn measure(servers: &Servers, plan: &Plan, figures: &mut Figures) -> Result<()> {
    let workload = Workload::new();
    for feed in &plan.feeds {
        let (database, configuration) = servers.outbox(&format!("bench-held-{feed}"), *feed).await?;
        let mut relay = Relay::start(&configuration)?;
        let flood = Flood::new(servers, &database, &workload, plan.held_events).await?;
        flood.run(&mut relay).await?;
        if *feed == Feed::Wal {
            follows(&database).await?;
        }
        let [without, with] = ["without", "with"].map(|word| format!("{word} a transaction open elsewhere, {feed}"));
        for held in [false, true, false] {
            let transaction = match held {
                true => Some(hold(servers).await?),
                false => None,
            };
            if held {
                say(format!("held: the transaction grows old, {:?}", plan.held));
                trickle(&database, plan.held).await?;
            }
            for _ in 0..plan.runs {
                let rate = flood.run(&mut relay).await?;
                figures.note(if held { &with } else { &without }, Unit::PerSecond, rate);
            }
            drop(transaction);
            Workload::settle(&database).await?;
        }
        let ratio = format!("with / without, {feed}");
        figures.compare(&ratio, &with, &without);
        figures.expect(&ratio, GOAL);
        relay.stop().await?;
        slots::drop_left(&database).await?;
    }
    Ok(())
}

/// Events that are written as fast as may be while a relay is at work.
struct Flood<'a> {
    database: &'a Database,
    workload: &'a Workload,
    ends: Ends,
    events: usize,
}

impl<'a> Flood<'a> {
    async fn new(servers: &Servers, database: &'a Database, workload: &'a Workload, events: usize) -> Result<Self> {
        Ok(Self {
            database,
            workload,
            ends: Ends::connect(servers.kafka.bootstrap(), TOPIC).await?,
            events,
        })
    }

    async fn run(&self, relay: &mut Relay) -> Result<f64> {
        self.rest(relay).await?;
        let before = self.ends.total().await?;
        let began = Instant::now();
        self.workload.fill(self.database, self.events).await?;
        while self.ends.total().await? - before < self.events {
            relay.is_running()?;
            ensure!(
                began.elapsed() < STUCK,
                "the relay delivered {} of {} events within {STUCK:?}:\n{}",
                self.ends.total().await? - before,
                self.events,
                relay.words()
            );
            tokio::time::sleep(LOOK).await;
        }
        Ok(self.events as f64 / began.elapsed().as_secs_f64())
    }

    /// Waits until nothing is on its way any more.
    async fn rest(&self, relay: &mut Relay) -> Result<()> {
        let mut before = self.ends.total().await?;
        loop {
            tokio::time::sleep(REST).await; // slow on purpose
            relay.is_running()?;
            let now = self.ends.total().await?;
            if now == before {
                return Ok(());
            }
            before = now;
        }
    }
}

/// Opens a transaction that has a transaction id, in a database of its own.
async fn hold(servers: &Servers) -> Result<tokio_postgres::Client> {
    let client = servers.postgres.database().await.connect().await;
    client
        .batch_execute("BEGIN; CREATE TABLE held ()")
        .await
        .context("opening a transaction")?;
    Ok(client)
}

/// Waits until the relay has said that it follows the log.
async fn follows(database: &Database) -> Result<()> {
    let client = database.connect().await;
    let began = Instant::now();
    loop {
        let row = client
            .query_opt("SELECT feed_reason FROM onewrite.relay WHERE feed = 'wal'", &[])
            .await?;
        if row.is_some() {
            return Ok(());
        }
        ensure!(began.elapsed() < STUCK, "the relay does not follow the log");
        tokio::time::sleep(LOOK).await;
    }
}

/// Writes a steady trickle for so long.
async fn trickle(database: &Database, lasting: Duration) -> Result<()> {
    const INSERT: &str = "INSERT INTO onewrite.outbox (topic, key, payload) \
                          SELECT $1, 'order-' || n, convert_to(repeat(md5(n::text), 9), 'UTF8') FROM generate_series(1, $2) AS n";
    let client = database.connect().await;
    let insert = client.prepare(INSERT).await?;
    let each = i32::try_from(MEANWHILE * TICK.as_millis() as usize / 1_000)?;
    let began = Instant::now();
    let mut tick = tokio::time::interval(TICK);
    while began.elapsed() < lasting {
        tick.tick().await;
        client.execute(&insert, &[&TOPIC, &each]).await?;
    }
    Ok(())
}
