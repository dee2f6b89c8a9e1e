//! Alarms about transactions that stay open, on the oldest and the newest server.

use std::time::Duration;

use onewrite_core::alarm::{Alarm, AlarmKind, AlarmThresholds};
use onewrite_sources::postgres::PostgresOperations;
use onewrite_testkit::servers::Postgres;
use tokio_postgres::Client;

use super::database::{Database, status};

const VERSIONS: [u32; 2] = [14, 18];

/// A server of the test's own, since any transaction on it counts, and the operations of a relay to which every age is an alarm.
async fn alone(version: u32) -> (Postgres, Database, PostgresOperations) {
    let server = Postgres::start(version, &[("max_prepared_transactions", "5")]).await;
    let mut database = Database::on(&server).await.migrate().await;
    let (role, operations) = database.configured(&[]).await;
    database.run(&format!("GRANT pg_read_all_stats TO {role}")).await;
    let at_once = AlarmThresholds {
        floor_held: Duration::ZERO,
        snapshot_held: Duration::ZERO,
        ..AlarmThresholds::default()
    };
    (server, database, operations.thresholds(at_once))
}

async fn held(operations: &PostgresOperations) -> Vec<Alarm> {
    let alarms = status(operations).await.alarms.into_iter();
    alarms.filter(|alarm| alarm.kind == AlarmKind::FloorHeld).collect()
}

/// There is one such alarm, with this subject, and its message has these parts.
async fn is_held(operations: &PostgresOperations, subject: &str, parts: &[&str]) -> String {
    let found = held(operations).await;
    let [alarm] = &found[..] else {
        panic!("one alarm in {found:#?}")
    };
    assert_eq!(alarm.subject, subject);
    for part in parts {
        assert!(alarm.message.contains(part), "{part:?} in {alarm:?}");
    }
    alarm.message.clone()
}

async fn run(client: &Client, statements: &str) {
    let done = client.batch_execute(statements).await;
    done.unwrap_or_else(|error| panic!("{statements}: {error:?}"));
}

async fn subject(client: &Client) -> String {
    let row = client.query_one("SELECT pg_backend_pid()", &[]).await.expect("a pid");
    format!("transaction of pid {}", row.get::<_, i32>(0))
}

#[tokio::test]
async fn one_that_reads_holds_back_nothing_but_dead_rows() {
    for version in VERSIONS {
        let (_server, database, operations) = alone(version).await;
        assert_eq!(held(&operations).await, []);
        let reader = database.connect().await;
        let subject = subject(&reader).await;
        run(&reader, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 'a long report'").await;
        is_held(
            &operations,
            &subject,
            &["'a long report'", "dead rows of the relay's progress"],
        )
        .await;
        run(&reader, "COMMIT").await;
        assert_eq!(held(&operations).await, []);
    }
}

#[tokio::test]
async fn one_that_appended_holds_back_its_events_and_its_segment_until_it_ends_prepared_or_not() {
    for version in VERSIONS {
        let (_server, database, operations) = alone(version).await;
        let writer = database.connect().await;
        let subject = subject(&writer).await;
        run(&writer, "BEGIN; SELECT onewrite.append('t', 'k', '{}') AS forgotten").await;
        let parts = [
            "idle in transaction",
            "AS forgotten",
            "waits for its end, and outbox_",
            "cannot be emptied",
            "SELECT pg_terminate_backend(",
        ];
        let words = is_held(&operations, &subject, &parts).await;
        assert!(!words.contains("write-ahead log"), "there is no slot: {words}");
        run(&writer, "PREPARE TRANSACTION 'forgotten'").await;
        let parts = [
            "waits for its end, and outbox_",
            "cannot be emptied",
            "ROLLBACK PREPARED 'forgotten';",
        ];
        is_held(&operations, "prepared transaction 'forgotten'", &parts).await;
        run(&writer, "ROLLBACK PREPARED 'forgotten'").await;
        assert_eq!(held(&operations).await, []);
    }
}

/// What anybody writes anywhere on the server holds back the log that a slot needs.
#[tokio::test]
async fn one_that_wrote_in_another_database_matters_once_there_is_a_slot() {
    for version in VERSIONS {
        let (server, database, operations) = alone(version).await;
        let elsewhere = server.maintenance().connect().await;
        let subject = subject(&elsewhere).await;
        run(&elsewhere, "BEGIN; CREATE TABLE elsewhere ()").await;
        assert_eq!(held(&operations).await, []);
        run(&elsewhere, "ROLLBACK").await;
        database
            .run("SELECT pg_create_logical_replication_slot('onewrite_shop', 'pgoutput')")
            .await;
        run(&elsewhere, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await;
        assert_eq!(
            held(&operations).await,
            [],
            "who only reads there holds back nothing here"
        );
        run(&elsewhere, "ROLLBACK").await;
        run(&elsewhere, "BEGIN; CREATE TABLE elsewhere ()").await;
        let parts = [
            "in database postgres",
            "the write-ahead log since it began is kept for the relay's slot",
        ];
        is_held(&operations, &subject, &parts).await;
    }
}

#[tokio::test]
async fn the_oldest_is_told_with_how_many_there_are_like_it() {
    let (_server, database, operations) = alone(17).await;
    let (first, second) = (database.connect().await, database.connect().await);
    let subject = subject(&first).await;
    for client in [&first, &second] {
        run(client, "BEGIN; SELECT onewrite.append('t', NULL, '{}')").await;
    }
    is_held(&operations, &subject, &["There are 1 more like it."]).await;
}
