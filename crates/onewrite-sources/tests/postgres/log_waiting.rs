//! Where a slot cannot be had yet the relay polls, says why, and follows the log as soon as it can.

use std::io::Write;
use std::sync::{Arc, Mutex};

use onewrite_testkit::servers::Postgres;
use tracing::subscriber::DefaultGuard;

use super::fixture::run;
use super::log_relay::{Relay, sql};

/// What is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn start() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// The lines that hold all of these words.
    fn lines_with(&self, words: &[&str]) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.0.lock().expect("no writer panics")).into_owned();
        let fits = |line: &&str| words.iter().all(|word| line.contains(word));
        text.lines().filter(fits).map(str::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no writer panics").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn an_old_transaction_is_not_waited_for_idly(version: u32, feed: &str) {
    let (log, _guard) = Log::start();
    let server = Postgres::start(version, &[]).await;
    let mut relay = Relay::new(&server, feed).await;
    // A slot is ready only when every transaction of the whole server that was open has ended.
    let elsewhere = server.database().await.connect().await;
    run(
        &elsewhere,
        "CREATE TABLE quite_old (n int); BEGIN; INSERT INTO quite_old VALUES (1)",
    )
    .await;
    let row = elsewhere.query_one("SELECT pg_backend_pid()", &[]).await;
    let pid: i32 = row.expect("a pid").get(0);
    relay.append(&["1", "2"]).await;
    relay.expect(&["1", "2"]).await;
    let pid = pid.to_string();
    relay
        .until("the log names the transaction, its age and its query", async |_| {
            log.lines_with(&[&pid, "pg_backend_pid", " s"]).pop()
        })
        .await;
    let reason = relay.poll().await;
    assert!(reason.contains(&pid), "{reason}");
    relay.append(&["3"]).await;
    relay.expect(&["1", "2", "3"]).await;
    run(&elsewhere, "COMMIT").await;
    relay.append(&["4"]).await;
    relay.follow().await;
    relay.append(&["5"]).await;
    relay.expect(&["1", "2", "3", "4", "5"]).await;
}

#[tokio::test]
async fn on_postgresql_14_the_relay_polls_while_its_slot_waits_for_an_old_transaction() {
    an_old_transaction_is_not_waited_for_idly(14, "wal").await;
}

#[tokio::test]
async fn on_postgresql_18_the_relay_polls_while_its_slot_waits_for_an_old_transaction() {
    an_old_transaction_is_not_waited_for_idly(18, "auto").await;
}

/// What was read by polling is not read again from the log, and what was under way at the change is not missed.
#[tokio::test]
async fn nothing_comes_twice_or_never_when_polling_gives_way_to_the_log() {
    let server = Postgres::start(16, &[]).await;
    let mut relay = Relay::new(&server, "auto").await;
    let mut expected = Vec::new();
    for round in 0..5 {
        let (late, early) = (format!("late {round}"), format!("early {round}"));
        let open = relay.database.connect().await;
        let insert = format!("BEGIN; INSERT INTO onewrite.outbox (topic, payload) VALUES ('t', '{late}')");
        run(&open, &insert).await;
        relay.append(&[&early]).await;
        expected.extend([early, late]);
        let begun: Vec<&str> = expected[..expected.len() - 1].iter().map(String::as_str).collect();
        relay.expect(&begun).await;
        run(&open, "COMMIT").await;
        let slot = relay.follow().await;
        let all: Vec<&str> = expected.iter().map(String::as_str).collect();
        relay.expect(&all).await;
        server.drop_slot(&slot).await;
    }
}

#[tokio::test]
async fn a_server_without_a_free_slot_is_polled_until_there_is_one() {
    let server = Postgres::start(15, &[("max_replication_slots", "1")]).await;
    let take = "SELECT pg_create_physical_replication_slot('taken')";
    sql(&server.maintenance(), take).await;
    let mut relay = Relay::new(&server, "auto").await;
    relay.append(&["1"]).await;
    relay.expect(&["1"]).await;
    let reason = relay.poll().await;
    assert!(reason.contains("max_replication_slots"), "{reason}");
    server.drop_slot("taken").await;
    relay.follow().await;
    relay.append(&["2"]).await;
    relay.expect(&["1", "2"]).await;
}
