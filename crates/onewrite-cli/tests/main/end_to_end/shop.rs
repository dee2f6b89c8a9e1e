//! The application: accounts, an outbox beside them, a ledger in the same transactions, and many writers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use onewrite::Event;
use onewrite_testkit::servers::Database;
use tokio::task::JoinSet;
use tokio_postgres::{Client, Error, NoTls, Transaction};
use uuid::Uuid;

/// How the writers behave.
#[derive(Clone, Copy)]
pub struct Load {
    pub writers: u64,
    pub events: u64,
    pub keys: u32,
    /// Of a thousand transactions, so many stay open for up to five seconds.
    pub long: u32,
    /// `on` or `off`.
    pub synchronous_commit: &'static str,
}

#[derive(Default)]
struct Shared {
    /// Events claimed by transactions, whatever became of them.
    claimed: AtomicU64,
    written: AtomicU64,
    stopped: AtomicBool,
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
         CREATE TABLE ledger (event_id uuid PRIMARY KEY, key text NOT NULL, number bigint NOT NULL);"
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

    /// Lets the writers end after the transaction they are in.
    pub fn stop(&self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
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
            let _broken_by_the_restart = self.write(&mut client).await;
            connection.abort();
        }
    }

    fn is_done(&self) -> bool {
        self.shared.stopped.load(Ordering::SeqCst) || self.shared.claimed.load(Ordering::SeqCst) >= self.load.events
    }

    async fn write(&mut self, client: &mut Client) -> Result<(), Error> {
        client
            .batch_execute(&format!("SET synchronous_commit = {}", self.load.synchronous_commit))
            .await?;
        while !self.is_done() {
            let long = self.random.u32(0..1000) < self.load.long;
            let count = self.random.usize(1..=if long { 3 } else { 20 });
            self.shared.claimed.fetch_add(count as u64, Ordering::SeqCst);
            self.transaction(client, count, long).await?;
            self.shared.written.fetch_add(count as u64, Ordering::SeqCst);
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
        let events = change_accounts(&transaction, &keys).await?;
        let ids: Vec<Uuid> = events.iter().map(|(event, _)| event.id).collect();
        append(&transaction, &events, self.random.bool()).await?;
        if long {
            transaction
                .execute("SELECT pg_sleep($1)", &[&(self.random.f64() * 5.0)])
                .await?;
        }
        if self.random.u8(0..10) == 0 {
            transaction.rollback().await?;
            self.shared.rolled_back.lock().expect("no writer panics").extend(ids);
            return Ok(());
        }
        transaction.commit().await
    }
}

/// Counts the accounts' versions up, under their rows' locks, and makes an event of each change.
async fn change_accounts(transaction: &Transaction<'_>, keys: &[String]) -> Result<Vec<(Event, i64)>, Error> {
    const LOCK: &str = "SELECT key FROM account WHERE key = ANY($1) ORDER BY key FOR UPDATE";
    const COUNT: &str = "UPDATE account SET version = version + 1 WHERE key = ANY($1) RETURNING key, version";
    transaction.query(LOCK, &[&keys]).await?;
    let changed = transaction.query(COUNT, &[&keys]).await?;
    let event = |row: &tokio_postgres::Row| {
        let (key, version): (String, i64) = (row.get(0), row.get(1));
        let body = serde_json::json!({"account": key, "version": version});
        let event = Event::json("shop.accounts", &body)
            .expect("JSON")
            .key(key)
            .event_type("AccountChanged");
        (event, version)
    };
    Ok(changed.iter().map(event).collect())
}

async fn append(transaction: &Transaction<'_>, events: &[(Event, i64)], under_row_lock: bool) -> Result<(), Error> {
    const LEDGER: &str = "INSERT INTO ledger SELECT * FROM unnest($1::text[]::uuid[], $2::text[], $3::bigint[])";
    let plain: Vec<Event> = events.iter().map(|(event, _)| event.clone()).collect();
    let appended = match under_row_lock {
        true => onewrite::postgres::append_under_row_lock(transaction, &plain).await,
        false => onewrite::postgres::append_all(transaction, &plain).await,
    };
    let ids: Vec<String> = events.iter().map(|(event, _)| event.id.to_string()).collect();
    let keys: Vec<&str> = events.iter().filter_map(|(event, _)| event.key.as_deref()).collect();
    let versions: Vec<i64> = events.iter().map(|(_, version)| *version).collect();
    // Where the append failed the transaction is over, and this says so in the driver's own words.
    let entered = transaction.execute(LEDGER, &[&ids, &keys, &versions]).await?;
    assert!(appended.is_ok() && entered == events.len() as u64, "{appended:?}");
    Ok(())
}
