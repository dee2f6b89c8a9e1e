//! What cannot be done, and how it is told.

use std::fs;
use std::time::{Duration, Instant};

use onewrite_core::error::chain;
use onewrite_core::sink::FindingLevel;
use onewrite_core::{StoreError, StoreFailure};
use onewrite_sources::registry::{MigrateRequest, source_type};

use super::fixture::{Fixture, LIMIT, TTL, append, connect, everything, open, payloads};

async fn acquire(path: &std::path::Path) -> StoreError {
    let opened = open(&[("url", path.to_str().expect("a path"))]).expect("an outbox");
    opened.outbox.acquire("shop", "test", TTL).await.expect_err("an error")
}

#[tokio::test]
async fn a_file_that_is_not_there_is_told_and_not_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("no.db");
    let error = acquire(&path).await;
    assert_eq!(error.failure, StoreFailure::Refused);
    let words = chain(&error);
    assert!(
        words.contains("no.db") && words.contains("`onewrite migrate`"),
        "{words}"
    );
    assert!(!path.exists());
    let opened = open(&[("url", path.to_str().expect("a path"))]).expect("an outbox");
    let findings = opened.operations.probe().await;
    assert_eq!(findings[0].level, FindingLevel::Broken);
    assert!(findings[0].message.contains("no.db"), "{findings:?}");
    // What makes it is migrating.
    let sqlite = source_type("sqlite").expect("it is built in");
    let url = format!("sqlite://{}", path.display());
    let options = onewrite_core::options::Options::from_texts("source", sqlite.fields, &[("url", &url)]);
    let options = options.expect("options");
    let migrated = sqlite
        .migrate(&options, MigrateRequest::default())
        .await
        .expect("a schema");
    assert_eq!(migrated.applied, (1..=migrated.version).collect::<Vec<_>>());
    assert!(
        opened
            .operations
            .probe()
            .await
            .iter()
            .all(|finding| finding.level == FindingLevel::Works)
    );
}

#[tokio::test]
async fn files_that_hold_something_else_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.db");
    fs::write(
        &path,
        "This is a text, and it is long enough to hold a header.".repeat(40),
    )
    .expect("a file");
    let words = chain(&acquire(&path).await);
    assert!(words.contains("the file is no SQLite database"), "{words}");
    fs::write(&path, "").expect("a file");
    let words = chain(&acquire(&path).await);
    assert!(words.contains("run `onewrite migrate`"), "{words}");
    let words = chain(&acquire(folder.path()).await);
    assert!(words.contains("unable to open database file"), "{words}");
}

#[tokio::test]
async fn a_schema_of_a_newer_program_is_refused_everywhere() {
    let fixture = Fixture::new();
    let lease = fixture.begin(&everything()).await;
    fixture.sql("INSERT INTO onewrite_migration (version) VALUES (99)");
    let share = &everything()[0];
    let refused = |error: StoreError| {
        assert_eq!(error.failure, StoreFailure::Refused);
        assert!(chain(&error).contains("version 99"), "{}", chain(&error));
    };
    refused(
        fixture
            .outbox
            .feed(&lease, share)
            .await
            .map(|_| ())
            .expect_err("refused"),
    );
    refused(
        fixture
            .outbox
            .redeliveries(&lease, share)
            .await
            .map(|_| ())
            .expect_err("refused"),
    );
    refused(fixture.operations.status().await.expect_err("refused"));
    refused(acquire(&fixture.path()).await);
    let findings = fixture.operations.probe().await;
    let schema = findings
        .iter()
        .find(|finding| finding.subject == "schema")
        .expect("a finding");
    assert_eq!(schema.level, FindingLevel::Broken);
    assert!(schema.message.contains("use a newer program"), "{schema:?}");
}

#[tokio::test]
async fn a_damaged_schema_is_refused() {
    let fixture = Fixture::new();
    let lease = fixture.begin(&everything()).await;
    let mut feed = fixture.feed_of(&lease, &everything()[0]).await;
    fixture.sql("DROP TABLE onewrite_outbox");
    let error = feed.next(LIMIT).await.expect_err("refused");
    assert_eq!(error.failure, StoreFailure::Refused);
    assert!(chain(&error).contains("no such table"), "{}", chain(&error));
    fixture.sql("DELETE FROM onewrite_route");
    let error = fixture
        .outbox
        .feed(&lease, &everything()[0])
        .await
        .map(|_| ())
        .expect_err("refused");
    assert!(chain(&error).contains("has no recorded progress"), "{}", chain(&error));
}

#[tokio::test]
async fn a_writer_that_keeps_the_file_makes_it_unavailable_and_does_not_keep_anybody_from_reading() {
    let fixture = Fixture::with(&[("busy_timeout", "50ms")]);
    let mut feed = fixture.feed().await;
    fixture.append("t", None, "1");
    let events = feed.wait_for(1).await;
    feed.settle(&events).await;
    fixture.append("t", None, "2");
    fixture.sql("BEGIN IMMEDIATE; INSERT INTO onewrite_outbox (topic, payload) VALUES ('t', 'not yet')");
    let began = Instant::now();
    let error = feed.next(LIMIT).await.expect_err("no fence");
    assert_eq!(error.failure, StoreFailure::Unavailable);
    assert!(
        chain(&error).contains("another connection is writing"),
        "{}",
        chain(&error)
    );
    assert!(began.elapsed() < Duration::from_secs(10));
    let error = fixture
        .outbox
        .acquire("another", "test", TTL)
        .await
        .expect_err("no lease");
    assert_eq!(error.failure, StoreFailure::Unavailable);
    assert_eq!(
        fixture.operations.status().await.expect("a status").routes[0].unsettled,
        Some(1)
    );
    fixture.sql("COMMIT");
    assert_eq!(payloads(&feed.wait_for(2).await), ["2", "not yet"]);
}

/// Puts a backup back under the relay's feet, after this change to it.
fn put_backup_back(fixture: &Fixture, change: &str) {
    let backup = fixture.folder.path().join("backup.db");
    fixture.sql(&format!("VACUUM INTO '{}'", backup.display()));
    connect(&backup)
        .execute_batch(&format!("PRAGMA journal_mode = WAL; {change}"))
        .expect("a write");
    for name in ["shop.db", "shop.db-wal", "shop.db-shm"] {
        fs::rename(
            fixture.folder.path().join(name),
            fixture.folder.path().join(format!("old-{name}")),
        )
        .expect("a move");
    }
    fs::rename(&backup, fixture.path()).expect("a move");
}

#[tokio::test]
async fn a_file_that_was_put_in_the_place_of_another_is_found() {
    let fixture = Fixture::new();
    let lease = fixture.begin(&everything()).await;
    put_backup_back(&fixture, "UPDATE onewrite_relay SET epoch = 41, expires_at = 0");
    let error = fixture
        .outbox
        .renew(&lease, TTL, &[])
        .await
        .expect_err("the other file knows nothing of it");
    assert_eq!(error.failure, StoreFailure::Fenced);
    let lease = fixture.outbox.acquire("shop", "test", TTL).await.expect("an answer");
    assert_eq!(lease.expect("the lease").epoch, 42);
}

#[tokio::test]
async fn what_reads_a_file_that_was_replaced_ends_although_the_lease_goes_on_in_the_other() {
    let fixture = Fixture::new();
    let lease = fixture.begin(&everything()).await;
    let share = &everything()[0];
    let mut feed = fixture.feed_of(&lease, share).await;
    let mut redeliveries = fixture.redeliveries(&lease, share).await;
    fixture.append("t", None, "1");
    let events = feed.wait_for(1).await;
    assert!(feed.batch().await.is_empty() && redeliveries.batch().await.is_empty());
    // The backup was made while this lease held, and so knows its epoch.
    put_backup_back(&fixture, "");
    append(&connect(&fixture.path()), "t", None, "2");
    fixture.outbox.renew(&lease, TTL, &[]).await.expect("the lease");
    let waited = tokio::time::timeout(Duration::from_secs(20), feed.source.wait()).await;
    waited.expect("the feed waits for nothing any more");
    let replaced = |error: StoreError| {
        assert_eq!(error.failure, StoreFailure::Unavailable);
        assert!(chain(&error).contains("the file was replaced"), "{}", chain(&error));
    };
    replaced(feed.next(LIMIT).await.expect_err("another file"));
    replaced(redeliveries.next(LIMIT).await.expect_err("another file"));
    // Nothing is written down where nobody looks.
    events.iter().for_each(|event| feed.ledger.settle(event.position));
    replaced(feed.record().await.expect_err("another file"));
    let mut feed = fixture.feed_of(&lease, share).await;
    assert_eq!(payloads(&feed.wait_for(2).await), ["1", "2"]);
}

#[tokio::test]
async fn what_reads_a_file_that_is_gone_ends_and_makes_none() {
    let fixture = Fixture::new();
    let mut feed = fixture.feed().await;
    assert!(feed.batch().await.is_empty());
    fs::remove_file(fixture.path()).expect("a removed file");
    let error = feed.next(LIMIT).await.expect_err("no file");
    assert_eq!(error.failure, StoreFailure::Unavailable);
    assert!(chain(&error).contains("the file is gone"), "{}", chain(&error));
    assert!(!fixture.path().exists());
}

#[test]
fn options_that_mean_nothing_are_refused() {
    for (texts, told) in [
        (vec![("url", "postgres://localhost/shop")], "another kind of database"),
        (vec![("url", ":memory:")], "in memory"),
        (vec![("url", "file:shop.db?mode=ro")], "parameters"),
        (vec![("url", "shop.db"), ("busy_timeout", "2m")], "at most 60s"),
    ] {
        let error = open(&texts).map(|_| ()).expect_err("refused");
        assert_eq!(error.failure, StoreFailure::Refused);
        assert!(
            error.to_string().starts_with("source.") && error.to_string().contains(told),
            "{error}"
        );
    }
}
