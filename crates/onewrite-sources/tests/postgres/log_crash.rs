//! The log tells of commits that are not on disk yet where the writer does not ask for it; what comes is on disk all the same.

use std::collections::BTreeSet;

use onewrite_testkit::servers::{Database, Postgres};
use onewrite_testkit::wait::until;

use super::crash::write;
use super::log_relay::Relay;

const ROUNDS: usize = 5;

/// Nobody asks for the disk but the relay, and the server itself twice a second: before that a walsender tells of nothing.
const LAZY: &[(&str, &str)] = &[
    ("synchronous_commit", "off"),
    ("wal_writer_delay", "500ms"),
    ("wal_writer_flush_after", "1GB"),
    ("autovacuum", "off"),
];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_by_the_log_that_a_crash_takes_away() {
    let server = Postgres::start(17, LAZY).await;
    let mut relay = Relay::new(&server, "wal").await;
    let mut lost = 0;
    for round in 0..ROUNDS {
        relay.follow().await;
        let writing = tokio::spawn(write(relay.database.clone(), round));
        let wanted = relay.routes[0].came.len() + 200 + round * 150;
        // Without renewing the lease, which is a commit that brings all others to the disk.
        until("events come", async || {
            relay.read().await.expect("a relay that is at work");
            (relay.routes[0].came.len() >= wanted).then_some(())
        })
        .await;
        server.kill9().await;
        let written = writing.await.expect("a writer");
        server.restart().await;
        let there = payloads(&relay.database).await;
        let came: BTreeSet<String> = relay.routes[0].came.iter().cloned().collect();
        let phantoms: Vec<_> = came.difference(&there).collect();
        assert!(phantoms.is_empty(), "round {round}: came but gone: {phantoms:?}");
        lost += written.difference(&there).count();
        // The server gives out again the transaction ids and positions that were lost.
        relay.append(&[&format!("after {round}")]).await;
        let all = there.len() + 1;
        relay
            .until("what is there comes", async |relay| {
                // What the last record of progress covered may come again.
                let came: BTreeSet<&String> = relay.routes[0].came.iter().collect();
                (came.len() == all).then_some(())
            })
            .await;
    }
    assert!(lost > 0, "the server lost no commit, so this shows nothing");
}

async fn payloads(database: &Database) -> BTreeSet<String> {
    let client = database.connect().await;
    let rows = client
        .query("SELECT convert_from(payload, 'UTF8') FROM onewrite.outbox", &[])
        .await
        .expect("rows");
    rows.iter().map(|row| row.get(0)).collect()
}
