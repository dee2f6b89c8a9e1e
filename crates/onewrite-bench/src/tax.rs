//! The producer's tax: what the outbox costs the application's transactions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::future::try_join_all;
use onewrite_testkit::servers::Database;
use serde::Serialize;
use tokio_postgres::types::ToSql;

use crate::options::{Feed, Plan};
use crate::progress::{say, thousands};
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

/// What a transaction does besides its business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    Nothing,
    Insert,
    Append,
}

const VARIANTS: [Variant; 3] = [Variant::Nothing, Variant::Insert, Variant::Append];

/// One round: transactions a second.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Round {
    /// Without an outbox.
    pub without: f64,
    /// With a plain INSERT.
    pub insert: f64,
    /// With the function `append`.
    pub append: f64,
}

/// Goes round the variants, each time beginning with another.
pub async fn measure(servers: &Servers, plan: &Plan) -> Result<Vec<Round>> {
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
    for variant in VARIANTS {
        run(&database, &workload, variant, Duration::from_secs(1)).await?;
    }
    let mut rounds = Vec::new();
    for number in 0..plan.tax_rounds {
        let mut rates = [0.0; VARIANTS.len()];
        for step in 0..VARIANTS.len() {
            let place = (number + step) % VARIANTS.len();
            rates[place] = run(&database, &workload, VARIANTS[place], plan.tax).await?;
        }
        let [without, insert, append] = rates;
        say(format!(
            "tax, round {}: {} transactions/s without, {} with INSERT, {} with append",
            number + 1,
            thousands(without),
            thousands(insert),
            thousands(append)
        ));
        rounds.push(Round {
            without,
            insert,
            append,
        });
    }
    Ok(rounds)
}

/// Transactions a second.
async fn run(database: &Database, workload: &Arc<Workload>, variant: Variant, lasting: Duration) -> Result<f64> {
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let client = Client::new(database, variant, number).await?;
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
    outbox: Option<tokio_postgres::Statement>,
    random: fastrand::Rng,
}

impl Client {
    async fn new(database: &Database, variant: Variant, number: usize) -> Result<Self> {
        let connection = database.connect().await;
        let outbox = match variant {
            Variant::Nothing => None,
            Variant::Insert => Some("INSERT INTO onewrite.outbox (topic, key, payload, type) VALUES ($1, $2, $3, $4)"),
            Variant::Append => Some("SELECT onewrite.append($1, $2, $3::bytea, $4)"),
        };
        Ok(Self {
            update: connection
                .prepare("UPDATE account SET balance = balance - $2 WHERE id = $1")
                .await?,
            insert: connection
                .prepare("INSERT INTO purchase (account, amount) VALUES ($1, $2)")
                .await?,
            outbox: match outbox {
                Some(sql) => Some(connection.prepare(sql).await?),
                None => None,
            },
            connection,
            random: fastrand::Rng::with_seed(number as u64),
        })
    }

    /// One purchase: every statement waits for the answer to the one before, as most applications do it.
    async fn transact(&mut self, workload: &Workload) -> Result<()> {
        let (account, amount) = (self.random.i32(1..=ACCOUNTS), self.random.i64(1..1_000));
        let business: [&(dyn ToSql + Sync); 2] = [&account, &amount];
        self.connection.batch_execute("BEGIN").await?;
        self.connection.execute(&self.update, &business).await?;
        self.connection.execute(&self.insert, &business).await?;
        if let Some(outbox) = &self.outbox {
            let (key, payload) = (account.to_string(), &workload.payload(amount as usize)[..]);
            self.connection
                .execute(outbox, &[&TOPIC, &key, &payload, &TYPE])
                .await?;
        }
        self.connection.batch_execute("COMMIT").await?;
        Ok(())
    }
}
