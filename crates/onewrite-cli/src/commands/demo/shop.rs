//! The application of the demo: accounts, an outbox beside them, and writers that use both in one transaction.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use onewrite::Event;
use onewrite_core::options::Options;
use onewrite_core::promise::Ledger;
use onewrite_core::store::Outbox;
use rusqlite::{Connection, TransactionBehavior};
use uuid::Uuid;

/// How many accounts, and so keys, there are.
const ACCOUNTS: u32 = 50;
/// A pause of each writer between two transactions: the demo shows correctness, not speed.
const PAUSE: Duration = Duration::from_millis(3);

/// The shop's database and what its writers did.
pub struct Shop {
    path: PathBuf,
    counters: Arc<Counters>,
    rolled_back: Arc<Mutex<Vec<Uuid>>>,
}

#[derive(Default)]
struct Counters {
    committed: AtomicU64,
    rolled_back: AtomicU64,
}

/// How many transactions there were.
pub struct Tally {
    /// Committed.
    pub committed: u64,
    /// Rolled back.
    pub rolled_back: u64,
}

/// Writers at work.
pub struct Writers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Shop {
    /// Makes the database in `folder`, with the outbox's schema and the shop's own tables.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("shop.db");
        let mut connection = Connection::open(&path)?;
        onewrite::sqlite::migrate(&mut connection)?;
        // The ledger is written in the same transactions as the events, so it is the truth to compare with.
        connection.execute_batch(
            "CREATE TABLE account (id TEXT PRIMARY KEY, version INTEGER NOT NULL, balance INTEGER NOT NULL);
             CREATE TABLE ledger (event_id TEXT PRIMARY KEY, account TEXT NOT NULL, version INTEGER NOT NULL);",
        )?;
        for account in 0..ACCOUNTS {
            connection.execute("INSERT INTO account VALUES (?1, 0, 0)", [format!("account-{account}")])?;
        }
        Ok(Self {
            path,
            counters: Arc::default(),
            rolled_back: Arc::default(),
        })
    }

    /// The outbox as a relay sees it.
    pub fn outbox(&self) -> anyhow::Result<Arc<dyn Outbox>> {
        let sqlite = onewrite_sources::registry::source_type("sqlite")?;
        let path = self
            .path
            .to_str()
            .context("the temporary folder's path is not Unicode")?;
        let options = Options::from_texts("source", sqlite.fields, &[("url", path)]).map_err(anyhow::Error::msg)?;
        Ok(sqlite.open(&options)?.outbox)
    }

    /// Starts so many writers.
    pub fn start_writers(&self, writers: u64) -> Writers {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |number| {
            let writer = Writer {
                path: self.path.clone(),
                counters: self.counters.clone(),
                rolled_back: self.rolled_back.clone(),
                random: fastrand::Rng::with_seed(number),
            };
            let stop = stop.clone();
            std::thread::spawn(move || writer.run(&stop))
        };
        Writers {
            threads: (0..writers).map(start).collect(),
            stop,
        }
    }

    /// What the writers did so far.
    pub fn tally(&self) -> Tally {
        Tally {
            committed: self.counters.committed.load(Ordering::SeqCst),
            rolled_back: self.counters.rolled_back.load(Ordering::SeqCst),
        }
    }

    /// What was committed and what was rolled back, event by event.
    pub fn ledger(&self) -> anyhow::Result<Ledger> {
        let mut ledger = Ledger::default();
        let connection = Connection::open(&self.path)?;
        let mut statement = connection.prepare("SELECT event_id, account, version FROM ledger")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let id: String = row.get(0)?;
            ledger.committed(id.parse()?, Some((row.get(1)?, row.get::<_, i64>(2)?.cast_unsigned())));
        }
        for id in self.rolled_back.lock().expect("no writer panics while it notes").iter() {
            ledger.rolled_back(*id);
        }
        Ok(ledger)
    }
}

impl Writers {
    /// Lets each finish its transaction, and ends them.
    pub fn stop(self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??;
        }
        Ok(())
    }
}

struct Writer {
    path: PathBuf,
    counters: Arc<Counters>,
    rolled_back: Arc<Mutex<Vec<Uuid>>>,
    random: fastrand::Rng,
}

impl Writer {
    fn run(mut self, stop: &AtomicBool) -> anyhow::Result<()> {
        let mut connection = Connection::open(&self.path)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        while !stop.load(Ordering::SeqCst) {
            self.deposit(&mut connection)?;
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// The one write: the account and the event about it, in one transaction.
    fn deposit(&mut self, connection: &mut Connection) -> anyhow::Result<()> {
        let account = format!("account-{}", self.random.u32(0..ACCOUNTS));
        let amount = self.random.i64(1..100);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version: i64 = transaction.query_row(
            "UPDATE account SET version = version + 1, balance = balance + ?2 WHERE id = ?1 RETURNING version",
            (&account, amount),
            |row| row.get(0),
        )?;
        let body = serde_json::json!({"account": account, "version": version, "amount": amount});
        let event = Event::json("shop.deposits", &body)?
            .key(&account)
            .event_type("Deposited");
        let id = onewrite::sqlite::append(&transaction, &event)?;
        transaction.execute(
            "INSERT INTO ledger VALUES (?1, ?2, ?3)",
            (id.to_string(), &account, version),
        )?;
        if self.random.u8(0..10) == 0 {
            transaction.rollback()?;
            self.rolled_back
                .lock()
                .expect("no writer panics while it notes")
                .push(id);
            self.counters.rolled_back.fetch_add(1, Ordering::SeqCst);
        } else {
            transaction.commit()?;
            self.counters.committed.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }
}
