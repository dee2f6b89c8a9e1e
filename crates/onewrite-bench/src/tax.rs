//! The producer's tax: what the outbox costs the application's transactions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::future::try_join_all;
use onewrite::Event;
use onewrite_testkit::servers::Database;
use tokio_postgres::types::ToSql;

use crate::figures::{Figures, Goal, Unit};
use crate::plan::{Feed, Plan};
use crate::progress::say;
use crate::servers::Servers;
use crate::workload::{TOPIC, TYPE, Workload};

/// Connections, each of which begins its next transaction when the last is over.
pub const CLIENTS: usize = 8;

/// Accounts: enough for clients to get into each other's way rarely.
const ACCOUNTS: i32 = 10_000;

const TABLES: &str = "\
    CREATE TABLE account (id integer PRIMARY KEY, balance bigint NOT NULL); \
    CREATE TABLE purchase (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account integer NOT NULL, \
                           amount bigint NOT NULL, placed_at timestamptz NOT NULL DEFAULT now());";

/// Transactions with an event against those without.
const GOAL: Goal = Goal::at_least(0.75);

/// What a transaction does besides its business.
#[derive(Clone, Copy, Debug)]
enum Style {
    /// Nothing: no outbox.
    Nothing,
    /// A prepared statement that takes topic, key, payload as bytes and type.
    Statement(&'static str),
    /// The same with the payload as text.
    Text(&'static str),
    /// The crate's functions, which prepare nothing.
    Append,
    /// The same, on its way together with the purchase.
    AppendAlong,
    AppendAll,
    AppendUnderRowLock,
}

const WITHOUT: &str = "without outbox";

/// All styles of appending that the schema and the crate offer, and nothing, twice.
const STYLES: [(&str, Style); 9] = [
    (WITHOUT, Style::Nothing),
    ("without outbox, again", Style::Nothing),
    (
        "plain INSERT",
        Style::Statement("INSERT INTO onewrite.outbox (topic, key, payload, type) VALUES ($1, $2, $3, $4)"),
    ),
    (
        "SELECT append() of bytea",
        Style::Statement("SELECT onewrite.append($1, $2, $3::bytea, $4)"),
    ),
    (
        "SELECT append() of jsonb",
        Style::Text("SELECT onewrite.append($1, $2, $3::text::jsonb, $4)"),
    ),
    ("crate: append", Style::Append),
    ("crate: append, sent along", Style::AppendAlong),
    ("crate: append_all", Style::AppendAll),
    ("crate: append_under_row_lock", Style::AppendUnderRowLock),
];

/// Goes round the styles, each time beginning with another; the ratios are those of a round.
pub async fn measure(servers: &Servers, plan: &Plan, figures: &mut Figures) -> Result<()> {
    let (database, _) = servers.outbox("bench-tax", Feed::Auto).await?;
    let client = database.connect().await;
    client
        .batch_execute(TABLES)
        .await
        .context("creating the business tables")?;
    let accounts = "INSERT INTO account SELECT number, 0 FROM generate_series(1, $1) AS number";
    client
        .execute(accounts, &[&ACCOUNTS])
        .await
        .context("filling the accounts")?;
    let workload = Arc::new(Workload::new());
    say("tax: warming up");
    for (_, style) in STYLES {
        run(&database, &workload, style, plan.tax / 5).await?;
    }
    for round in 0..plan.tax_rounds {
        for step in 0..STYLES.len() {
            let (name, style) = STYLES[(round + step) % STYLES.len()];
            let rate = run(&database, &workload, style, plan.tax).await?;
            figures.note(name, Unit::PerSecond, rate);
        }
    }
    for (name, _) in STYLES.into_iter().filter(|(name, _)| !name.starts_with(WITHOUT)) {
        compare(figures, name);
    }
    Ok(())
}

/// A style against none, round by round.
fn compare(figures: &mut Figures, style: &str) {
    let pairs = figures.runs(style).iter().zip(figures.runs(WITHOUT));
    let ratios: Vec<f64> = pairs.map(|(with, without)| with / without).collect();
    let name = format!("{style} / without");
    for ratio in ratios {
        figures.note(&name, Unit::Ratio, ratio);
    }
    figures.expect(&name, GOAL);
}

/// Transactions a second.
async fn run(database: &Database, workload: &Arc<Workload>, style: Style, lasting: Duration) -> Result<f64> {
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let client = Client::new(database, style, number).await?;
        clients.push((client, workload.clone(), stop.clone(), done.clone()));
    }
    let began = Instant::now();
    let work = clients
        .into_iter()
        .map(|(mut client, workload, stop, done)| async move {
            let loops = tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    client.transact(&workload).await?;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(())
            });
            loops.await?
        });
    let clock = async {
        tokio::time::sleep(lasting).await;
        stop.store(true, Ordering::Relaxed);
        (done.load(Ordering::Relaxed), began.elapsed())
    };
    let (worked, (transactions, elapsed)) = futures::join!(try_join_all(work), clock);
    worked?;
    Ok(transactions as f64 / elapsed.as_secs_f64())
}

struct Client {
    connection: tokio_postgres::Client,
    update: tokio_postgres::Statement,
    insert: tokio_postgres::Statement,
    style: Style,
    outbox: Option<tokio_postgres::Statement>,
    random: fastrand::Rng,
}

impl Client {
    async fn new(database: &Database, style: Style, number: usize) -> Result<Self> {
        let connection = database.connect().await;
        Ok(Self {
            update: connection
                .prepare("UPDATE account SET balance = balance - $2 WHERE id = $1")
                .await?,
            insert: connection
                .prepare("INSERT INTO purchase (account, amount) VALUES ($1, $2)")
                .await?,
            outbox: match style {
                Style::Statement(sql) | Style::Text(sql) => Some(connection.prepare(sql).await?),
                _ => None,
            },
            style,
            connection,
            random: fastrand::Rng::with_seed(number as u64),
        })
    }

    /// One purchase: every statement waits for the answer to the one before, as most applications do it, but for an event that
    /// is sent along.
    async fn transact(&mut self, workload: &Workload) -> Result<()> {
        let (account, amount) = (self.random.i32(1..=ACCOUNTS), self.random.i64(1..1_000));
        let business: [&(dyn ToSql + Sync); 2] = [&account, &amount];
        let (key, payload) = (account.to_string(), workload.payload(amount as usize));
        let transaction = self.connection.transaction().await?;
        transaction.execute(&self.update, &business).await?;
        let event = || Event::new(TOPIC, payload.clone()).key(&key).event_type(TYPE);
        let purchase = transaction.execute(&self.insert, &business);
        if let Style::AppendAlong = self.style {
            let event = event();
            let (inserted, appended) = futures::join!(purchase, onewrite::postgres::append(&transaction, &event));
            inserted?;
            appended?;
        } else {
            purchase.await?;
        }
        match (self.style, &self.outbox) {
            (Style::Text(_), Some(outbox)) => {
                let payload = std::str::from_utf8(payload)?;
                transaction.execute(outbox, &[&TOPIC, &key, &payload, &TYPE]).await?;
            }
            (Style::Statement(_), Some(outbox)) => {
                transaction
                    .execute(outbox, &[&TOPIC, &key, &&payload[..], &TYPE])
                    .await?;
            }
            (Style::Append, _) => {
                onewrite::postgres::append(&transaction, &event()).await?;
            }
            (Style::AppendAll, _) => onewrite::postgres::append_all(&transaction, &[event()]).await?,
            (Style::AppendUnderRowLock, _) => {
                onewrite::postgres::append_under_row_lock(&transaction, &[event()]).await?;
            }
            (Style::Nothing | Style::AppendAlong | Style::Statement(_) | Style::Text(_), _) => {}
        }
        Ok(transaction.commit().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::AGAIN;

    #[test]
    fn what_is_measured_twice_is_told_as_noise() {
        let mut figures = Figures::default();
        for (name, _) in STYLES {
            figures.note(name, Unit::PerSecond, 1.0);
        }
        assert_eq!(figures.noise().count(), 1);
        assert!(STYLES[1].0.strip_suffix(AGAIN) == Some(WITHOUT));
    }
}
