//! The application: accounts, an outbox beside them, a ledger in the same transactions, and many writers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use onewrite::Event;
use onewrite_testkit::servers::Database;
use onewrite_testkit::wait;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_postgres::{Client, Error, NoTls, Transaction};
use uuid::Uuid;

use crate::limits::{LARGE_PAYLOAD, POISON_PAYLOAD};

/// How the writers behave.
#[derive(Clone, Copy)]
pub struct Load {
    /// How many there are.
    pub writers: u64,
    /// How many events they write before they stop by themselves, those that are rolled back included.
    pub events: u64,
    /// How many keys there are.
    pub keys: u32,
    /// Of a thousand transactions, so many stay open for up to [`longest`](Self::longest).
    pub long: u32,
    /// How long those stay open at most, in seconds.
    pub longest: f64,
    /// Of a thousand transactions, so many draw their id long before they take the lock of a key.
    pub early: u32,
    /// `on` or `off`, or `mixed`: `off` for every other writer.
    pub synchronous_commit: &'static str,
    /// How long a writer rests after a transaction.
    pub rest: Duration,
}

impl Load {
    /// As much as there is time for.
    pub const ENDLESS: Self = Self {
        writers: 8,
        events: u64::MAX,
        keys: 200,
        long: 0,
        longest: 5.0,
        early: 0,
        synchronous_commit: "on",
        rest: Duration::ZERO,
    };
}

/// What some of the events are, for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Odd {
    /// Of a thousand events, so many are poison: of a size that the broker refuses, or of a topic that no route takes.
    pub poison: u32,
    /// Whether poison is known by its size.
    pub by_size: bool,
    /// Of a thousand events, so many are large, but not too large.
    pub large: u32,
}

/// The topic of all events but those that no route takes.
const TOPIC: &str = "shop.accounts";

#[derive(Default)]
struct Shared {
    /// Events claimed by transactions, whatever became of them.
    claimed: AtomicU64,
    written: AtomicU64,
    committed: Arc<AtomicU64>,
    stopped: AtomicBool,
    /// Transactions under way.
    busy: AtomicU64,
    held: watch::Sender<bool>,
    odd: Mutex<Odd>,
    failures: AtomicU64,
    rolled_back: Mutex<Vec<Uuid>>,
}

/// Writers at work.
pub struct Writers {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

/// Makes the shop's tables beside the outbox.
pub async fn prepare(database: &Database, keys: u32) {
    let client = database.connect().await;
    let tables = format!(
        "CREATE TABLE account (key text PRIMARY KEY, version bigint NOT NULL) WITH (fillfactor = 50);
         INSERT INTO account SELECT 'account-' || n, 0 FROM generate_series(0, {keys} - 1) AS n;
         CREATE TABLE ledger (event_id uuid PRIMARY KEY, key text NOT NULL, number bigint NOT NULL,
                              written_at timestamptz NOT NULL DEFAULT clock_timestamp());"
    );
    client.batch_execute(&tables).await.expect("the shop's tables");
}

impl Writers {
    /// Starts them.
    pub fn start(database: &Database, load: Load) -> Self {
        let shared = Arc::<Shared>::default();
        let mut tasks = JoinSet::new();
        for number in 0..load.writers {
            let random = fastrand::Rng::with_seed(number);
            let writer = Writer {
                number,
                url: database.url.clone(),
                load,
                shared: shared.clone(),
                random,
            };
            tasks.spawn(writer.run());
        }
        Self { shared, tasks }
    }

    /// Events whose transactions ended, one way or another.
    pub fn written(&self) -> u64 {
        self.shared.written.load(Ordering::SeqCst)
    }

    /// Events whose commit was confirmed: a counter that goes on counting.
    pub fn committed(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shared.committed)
    }

    /// Transactions that ended with an error: the database was away, or had no room.
    pub fn failures(&self) -> u64 {
        self.shared.failures.load(Ordering::SeqCst)
    }

    /// What some of the events are from now on.
    pub fn odd(&self, odd: Odd) {
        *self.shared.odd.lock().expect("no writer panics") = odd;
    }

    /// Lets the writers rest after the transaction they are in, and waits until all do.
    pub async fn hold(&self) {
        self.shared.held.send_replace(true);
        wait::until("the writers rest", async || {
            (self.shared.busy.load(Ordering::SeqCst) == 0).then_some(())
        })
        .await;
    }

    /// Lets them go on.
    pub fn go_on(&self) {
        self.shared.held.send_replace(false);
    }

    /// Lets the writers end after the transaction they are in.
    pub fn stop(&self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.go_on();
    }

    /// Waits until they have ended, and returns what was rolled back for sure.
    pub async fn finish(mut self) -> Vec<Uuid> {
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("a writer does not panic");
        }
        std::mem::take(&mut self.shared.rolled_back.lock().expect("no writer panics"))
    }
}

struct Writer {
    number: u64,
    url: String,
    load: Load,
    shared: Arc<Shared>,
    random: fastrand::Rng,
}

impl Writer {
    async fn run(mut self) {
        let mut pause = tokio::time::interval(Duration::from_millis(200));
        while !self.is_done() {
            pause.tick().await;
            // A restarting server refuses; what was under way is unknown, and the ledger tells.
            let Ok((mut client, connection)) = tokio_postgres::connect(&self.url, NoTls).await else {
                continue;
            };
            let connection = tokio::spawn(connection);
            if self.write(&mut client).await.is_err() {
                self.shared.failures.fetch_add(1, Ordering::SeqCst);
            }
            connection.abort();
        }
    }

    fn is_done(&self) -> bool {
        self.shared.stopped.load(Ordering::SeqCst) || self.shared.claimed.load(Ordering::SeqCst) >= self.load.events
    }

    async fn write(&mut self, client: &mut Client) -> Result<(), Error> {
        let synchronous = match self.load.synchronous_commit {
            "mixed" if self.number % 2 == 1 => "off",
            "mixed" => "on",
            one => one,
        };
        client
            .batch_execute(&format!("SET synchronous_commit = {synchronous}"))
            .await?;
        let mut held = self.shared.held.subscribe();
        while !self.is_done() {
            let busy = loop {
                // The sender lives as long as this writer.
                let _ = held.wait_for(|held| !held).await;
                let busy = Busy::new(&self.shared);
                // Whoever holds the writers looks at what is under way after it has said so.
                if !*held.borrow() {
                    break busy;
                }
            };
            let long = self.random.u32(0..1000) < self.load.long;
            let count = self.random.usize(1..=if long { 3 } else { 20 });
            self.shared.claimed.fetch_add(count as u64, Ordering::SeqCst);
            self.transaction(client, count, long).await?;
            self.shared.written.fetch_add(count as u64, Ordering::SeqCst);
            drop(busy);
            if !self.load.rest.is_zero() {
                tokio::time::sleep(self.load.rest.mul_f64(self.random.f64() * 2.0)).await; // slow on purpose
            }
        }
        Ok(())
    }

    /// One write: accounts, events and ledger in one transaction.
    async fn transaction(&mut self, client: &mut Client, count: usize, long: bool) -> Result<(), Error> {
        let mut keys: Vec<String> = (0..count)
            .map(|_| format!("account-{}", self.random.u32(0..self.load.keys)))
            .collect();
        keys.sort();
        keys.dedup();
        let transaction = client.transaction().await?;
        if self.random.u32(0..1000) < self.load.early {
            let wait = self.random.f64() / 2.0;
            transaction
                .query("SELECT pg_current_xact_id()::text, pg_sleep($1)", &[&wait])
                .await?;
        }
        let versions = change_accounts(&transaction, &keys).await?;
        let events: Vec<(Event, i64)> = versions
            .into_iter()
            .map(|(key, version)| (self.event(key, version), version))
            .collect();
        let ids: Vec<Uuid> = events.iter().map(|(event, _)| event.id).collect();
        append(&transaction, &events, self.random.bool()).await?;
        if long {
            transaction
                .execute("SELECT pg_sleep($1)", &[&(self.random.f64() * self.load.longest)])
                .await?;
        }
        if self.random.u8(0..10) == 0 {
            transaction.rollback().await?;
            self.shared.rolled_back.lock().expect("no writer panics").extend(ids);
            return Ok(());
        }
        enter(&transaction, &events).await?;
        transaction.commit().await?;
        self.shared.committed.fetch_add(ids.len() as u64, Ordering::SeqCst);
        Ok(())
    }

    /// The event of an account's change.
    fn event(&mut self, key: String, version: i64) -> Event {
        let odd = *self.shared.odd.lock().expect("no writer panics");
        let poison = self.random.u32(0..1000) < odd.poison;
        let large = self.random.u32(0..1000) < odd.large;
        let padding = match (poison && odd.by_size, large) {
            (true, _) => POISON_PAYLOAD,
            (false, true) => LARGE_PAYLOAD,
            (false, false) => 0,
        };
        let topic = if poison && !odd.by_size { "lost.accounts" } else { TOPIC };
        // Nothing that compression makes small.
        let padding: String = (0..padding).map(|_| self.random.alphanumeric()).collect();
        let body = serde_json::json!({"account": key, "version": version, "padding": padding});
        let event = Event::json(topic, &body).expect("JSON");
        event.key(key).event_type("AccountChanged")
    }
}

/// A transaction under way, however it ends.
struct Busy(Arc<Shared>);

impl Busy {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.busy.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(shared))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Counts the accounts' versions up, under their rows' locks.
async fn change_accounts(transaction: &Transaction<'_>, keys: &[String]) -> Result<Vec<(String, i64)>, Error> {
    const LOCK: &str = "SELECT key FROM account WHERE key = ANY($1) ORDER BY key FOR UPDATE";
    const COUNT: &str = "UPDATE account SET version = version + 1 WHERE key = ANY($1) RETURNING key, version";
    transaction.query(LOCK, &[&keys]).await?;
    let changed = transaction.query(COUNT, &[&keys]).await?;
    Ok(changed.iter().map(|row| (row.get(0), row.get(1))).collect())
}

async fn append(transaction: &Transaction<'_>, events: &[(Event, i64)], under_row_lock: bool) -> Result<(), Error> {
    let plain: Vec<Event> = events.iter().map(|(event, _)| event.clone()).collect();
    let appended = match under_row_lock {
        true => onewrite::postgres::append_under_row_lock(transaction, &plain).await,
        false => onewrite::postgres::append_all(transaction, &plain).await,
    };
    // Where it failed, the driver's own words are of interest, and the transaction is over.
    match appended {
        Ok(_) => Ok(()),
        Err(error) => {
            transaction.batch_execute("SELECT 1").await?;
            panic!("an event of the shop is not valid: {error:?}")
        }
    }
}

/// Writes down what the transaction is about to commit.
async fn enter(transaction: &Transaction<'_>, events: &[(Event, i64)]) -> Result<(), Error> {
    const LEDGER: &str = "INSERT INTO ledger (event_id, key, number) \
                          SELECT * FROM unnest($1::text[]::uuid[], $2::text[], $3::bigint[])";
    let ids: Vec<String> = events.iter().map(|(event, _)| event.id.to_string()).collect();
    let keys: Vec<&str> = events.iter().filter_map(|(event, _)| event.key.as_deref()).collect();
    let versions: Vec<i64> = events.iter().map(|(_, version)| *version).collect();
    transaction.execute(LEDGER, &[&ids, &keys, &versions]).await?;
    Ok(())
}
