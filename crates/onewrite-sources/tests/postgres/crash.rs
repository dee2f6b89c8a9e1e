//! Visible is not durable: what a relay hands out is there after a crash, whatever the writers asked for.

use std::collections::BTreeSet;

use onewrite_core::StoreFailure;
use onewrite_testkit::servers::Postgres;

use super::fixture::{Fixture, LIMIT, Reader, append, payloads, run};

/// The log is flushed only by who asks for it: commits without synchronous_commit stay in memory for long.
const LAZY: &[(&str, &str)] = &[
    ("synchronous_commit", "off"),
    ("wal_writer_delay", "10s"),
    ("wal_writer_flush_after", "1GB"),
    ("autovacuum", "off"),
];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_handed_out_that_a_crash_takes_away() {
    let server = Postgres::start(17, LAZY).await;
    let database = server.database().await;
    let mut fixture = Fixture::of(database.clone()).await;
    let mut lost = 0;
    for round in 0..6 {
        let mut feed = fixture.feed().await;
        let writing = tokio::spawn(write(database.clone(), round));
        let mut handed_out = BTreeSet::new();
        let wanted = 200 + round * 150;
        while handed_out.len() < wanted {
            handed_out.extend(payloads(&feed.batch().await));
        }
        server.kill9().await;
        let written = writing.await.expect("a writer");
        assert_eq!(
            feed.next(LIMIT).await.err().map(|error| error.failure),
            Some(StoreFailure::Unavailable)
        );
        server.restart().await;
        let application = database.connect().await;
        let there = application
            .query("SELECT convert_from(payload, 'UTF8') FROM onewrite.outbox", &[])
            .await
            .expect("rows");
        let there: BTreeSet<String> = there.iter().map(|row| row.get(0)).collect();
        let phantoms: Vec<_> = handed_out.difference(&there).collect();
        assert!(phantoms.is_empty(), "round {round}: handed out but gone: {phantoms:?}");
        lost += written.difference(&there).count();
        fixture.application = application;
        // Nothing of this round was settled: it all comes again, and what is written from now on as well, though the server
        // gives out again the transaction ids that were lost.
        run(&fixture.application, "SET synchronous_commit = on").await;
        append(&fixture.application, "t", None, &format!("after {round}")).await;
        let mut feed = fixture.feed().await;
        let rows = usize::try_from(fixture.number("SELECT count(*) FROM onewrite.outbox").await).expect("a count");
        let again: BTreeSet<String> = payloads(&feed.wait_for(rows).await).into_iter().collect();
        assert!(
            handed_out.is_subset(&again) && again.contains(&format!("after {round}")),
            "in round {round}"
        );
    }
    assert!(lost > 0, "the server lost no commit, so this shows nothing");
}

/// The same with progress recorded all along: what was not settled comes, and of what was settled the crash takes back no more than
/// the last record, after which nothing was handed out.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_takes_back_the_last_record_of_progress_at_most_and_skips_nothing() {
    let server = Postgres::start(15, LAZY).await;
    let database = server.database().await;
    let mut fixture = Fixture::of(database.clone()).await;
    let mut progress = Settled::default();
    for round in 0..5 {
        let mut feed = fixture.feed().await;
        let writing = tokio::spawn(write(database.clone(), round));
        let before = progress.all.len();
        while progress.all.len() < before + 300 {
            progress.settle_next(&mut feed).await;
            feed.source.wait().await;
        }
        server.kill9().await;
        writing.await.expect("a writer");
        server.restart().await;
        progress.crashed();
        fixture.application = database.connect().await;
        append(&fixture.application, "t", None, &format!("after {round}")).await;
    }
    let mut feed: Reader = fixture.feed().await;
    let there = usize::try_from(fixture.number("SELECT count(*) FROM onewrite.outbox").await).expect("a count");
    while progress.all.len() < there {
        progress.settle_next(&mut feed).await;
    }
}

/// What was settled.
#[derive(Default)]
struct Settled {
    all: BTreeSet<String>,
    /// By the last record.
    last: BTreeSet<String>,
    /// By the last record before a crash.
    may_come_again: BTreeSet<String>,
}

impl Settled {
    async fn settle_next(&mut self, feed: &mut Reader) {
        let events = feed.batch().await;
        feed.settle(&events).await;
        self.last = payloads(&events).into_iter().collect();
        for payload in &self.last {
            let fresh = self.all.insert(payload.clone());
            assert!(fresh || self.may_come_again.remove(payload), "{payload:?} came again");
        }
    }

    fn crashed(&mut self) {
        self.may_come_again = std::mem::take(&mut self.last);
    }
}

/// Writes until the server is gone; returns what was committed as far as the server said.
pub async fn write(database: onewrite_testkit::servers::Database, round: usize) -> BTreeSet<String> {
    let client = database.connect().await;
    let mut written = BTreeSet::new();
    for number in 0.. {
        let payload = format!("{round}-{number}");
        let append = "INSERT INTO onewrite.outbox (topic, payload) VALUES ('t', convert_to($1, 'UTF8'))";
        if client.execute(append, &[&payload]).await.is_err() {
            break;
        }
        written.insert(payload);
    }
    written
}
