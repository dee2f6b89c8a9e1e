//! Many writers at once, in this process and in another.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use onewrite_core::Sourced;
use rusqlite::TransactionBehavior;

use super::fixture::{Fixture, connect};

const WRITERS: u64 = 8;
const TRANSACTIONS: u64 = 120;
const KEYS: i64 = 5;

/// The file for which another process runs [`a_writer_of_its_own`].
const FILE: &str = "ONEWRITE_TEST_SQLITE_FILE";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_writers_commit_at_once_comes_complete_and_in_the_order_of_each_key() {
    let fixture = Fixture::new();
    let mut feed = fixture.feed().await;
    let committed = Mutex::new(BTreeSet::new());
    let path = fixture.path();
    let mut all = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (path, committed) = (&path, &committed);
                scope.spawn(move || write(path, writer, committed))
            })
            .collect();
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                let mut all = Vec::new();
                while writers.iter().any(|writer| !writer.is_finished()) {
                    let events = feed.batch().await;
                    feed.settle(&events).await;
                    all.extend(events);
                }
                all
            })
        })
    });
    let committed = committed.into_inner().expect("no writer panicked");
    let rest = feed.wait_for(committed.len() - all.len()).await;
    all.extend(rest);
    let came: BTreeSet<String> = all.iter().map(|sourced| sourced.event.id.to_string()).collect();
    assert_eq!(came, committed);
    assert_eq!(all.len(), committed.len(), "an event came twice");
    let last = in_order(&all);
    let counted: BTreeMap<String, i64> = (0..KEYS)
        .map(|key| {
            (
                key.to_string(),
                fixture.ask("SELECT n FROM counter WHERE key = ?1", [key]),
            )
        })
        .collect();
    assert_eq!(last, counted);
}

#[tokio::test]
async fn another_process_writes_and_is_killed_in_the_midst() {
    let fixture = Fixture::new();
    let mut feed = fixture.feed().await;
    let (mut all, mut seen) = (Vec::new(), 0);
    for round in 0..3 {
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "sqlite::writers::a_writer_of_its_own"])
            .env(FILE, fixture.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("a process");
        // The first two are killed while they write; the last comes to its end.
        while process.try_wait().expect("a child").is_none() {
            if round < 2 && all.len() > seen + 20 {
                process.kill().expect("a kill");
            }
            let events = feed.batch().await;
            feed.settle(&events).await;
            if events.is_empty() {
                tokio::task::yield_now().await;
            }
            all.extend(events);
        }
        seen = all.len();
    }
    let written = fixture.number("SELECT count(*) FROM onewrite_outbox");
    all.extend(
        feed.wait_for(usize::try_from(written).expect("a count") - all.len())
            .await,
    );
    assert_eq!(all.len() as i64, written);
    let last = in_order(&all);
    let total: i64 = last.values().sum();
    assert_eq!(total, fixture.number("SELECT sum(n) FROM counter"));
    assert_eq!(total, written);
}

/// Writes to the file that another test names, or else to one of its own.
#[test]
fn a_writer_of_its_own() {
    let own = std::env::var_os(FILE).is_none().then(Fixture::new);
    let path = match &own {
        Some(fixture) => fixture.path(),
        None => PathBuf::from(std::env::var_os(FILE).expect("a path")),
    };
    let committed = Mutex::new(BTreeSet::new());
    write(&path, 0, &committed);
    let written: i64 = connect(&path)
        .query_row("SELECT count(*) FROM onewrite_outbox", [], |row| row.get(0))
        .expect("a count");
    assert!(written >= committed.into_inner().expect("no panic").len() as i64);
}

/// Transactions that count a key up and say so in an event; a fifth of them is rolled back.
fn write(path: &Path, writer: u64, committed: &Mutex<BTreeSet<String>>) {
    let mut random = fastrand::Rng::with_seed(writer);
    let mut connection = connect(path);
    let table = "CREATE TABLE IF NOT EXISTS counter (key INTEGER PRIMARY KEY, n INTEGER NOT NULL)";
    connection.execute_batch(table).expect("a table");
    for _ in 0..TRANSACTIONS {
        let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = begun.expect("a transaction");
        let mut ids = Vec::new();
        for _ in 0..random.u64(1..4) {
            let key = random.i64(0..KEYS);
            const COUNT: &str = "INSERT INTO counter VALUES (?1, 1) ON CONFLICT DO UPDATE SET n = n + 1 RETURNING n";
            let n: i64 = transaction.query_row(COUNT, [key], |row| row.get(0)).expect("a number");
            let event = onewrite::Event::new("t", n.to_string()).key(key.to_string());
            ids.push(
                onewrite::sqlite::append(&transaction, &event)
                    .expect("an appended event")
                    .to_string(),
            );
        }
        if random.u32(0..5) == 0 {
            transaction.rollback().expect("a rollback");
        } else {
            transaction.commit().expect("a commit");
            committed.lock().expect("no panic").extend(ids);
        }
    }
}

/// Each key's numbers are 1, 2, 3 and so on; the last ones.
fn in_order(events: &[Sourced]) -> BTreeMap<String, i64> {
    let mut last = BTreeMap::new();
    for sourced in events {
        let key = sourced.event.key.as_deref().expect("a key").to_owned();
        let text = String::from_utf8_lossy(&sourced.event.payload).into_owned();
        let number: i64 = text.parse().expect("a number");
        let before = last.insert(key.clone(), number).unwrap_or(0);
        assert_eq!(number, before + 1, "of key {key}");
    }
    last
}
