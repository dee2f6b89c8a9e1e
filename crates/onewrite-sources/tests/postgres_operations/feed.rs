//! What `check` finds about following the write-ahead log, on the oldest and the newest server.

use onewrite_core::Operations;
use onewrite_core::sink::{Finding, FindingLevel};
use onewrite_sources::postgres::PostgresOperations;
use onewrite_testkit::servers::Postgres;

use super::database::Database;

fn find<'a>(findings: &'a [Finding], subject: &str) -> &'a Finding {
    let found = findings.iter().find(|finding| finding.subject == subject);
    found.unwrap_or_else(|| panic!("nothing about {subject} in {findings:#?}"))
}

async fn is(operations: &PostgresOperations, subject: &str, level: FindingLevel, words: &str) {
    let findings = operations.probe().await;
    let finding = find(&findings, subject);
    assert_eq!(finding.level, level, "{findings:#?}");
    assert!(finding.message.contains(words), "{finding:?}");
}

/// Runs the first statement that a finding advises.
async fn follow(database: &Database, operations: &PostgresOperations, subject: &str) {
    let findings = operations.probe().await;
    let message = &find(&findings, subject).message;
    let begin = ["CREATE PUBLICATION", "ALTER ", "SELECT "]
        .iter()
        .filter_map(|word| message.find(word))
        .min();
    let statement = message[begin.expect("a statement")..].split(';').next();
    database.run(statement.expect("a statement")).await;
}

#[tokio::test]
async fn what_the_log_feed_lacks_is_a_warning_or_broken_as_the_feed_is_configured_and_each_advice_mends_it() {
    use FindingLevel::{Broken, Warning, Works};
    for version in [14, 18] {
        for (feed, lacking) in [("auto", Warning), ("wal", Broken)] {
            let mut database = Database::on(&Postgres::shared(version).await).await.migrate().await;
            let (_, operations) = database.configured(&[("feed", feed)]).await;
            is(&operations, "wal_level", Works, "logical").await;
            is(&operations, "REPLICATION", lacking, "may not follow the log").await;
            is(&operations, "feed", lacking, "what the next lines say").await;
            follow(&database, &operations, "REPLICATION").await;
            is(&operations, "REPLICATION", Works, "may follow the log").await;
            is(&operations, "feed", Works, "wal").await;
            let publication = "publication onewrite";
            for (damage, words) in [
                (
                    "ALTER PUBLICATION onewrite SET (publish = 'update')",
                    "does not publish inserts",
                ),
                (
                    "ALTER PUBLICATION onewrite SET (publish_via_partition_root = false)",
                    "by way of the partitioned table",
                ),
                (
                    "ALTER PUBLICATION onewrite DROP TABLE onewrite.outbox",
                    "does not cover the outbox",
                ),
                ("DROP PUBLICATION onewrite", "there is none"),
            ] {
                database.run(damage).await;
                is(&operations, publication, lacking, words).await;
                follow(&database, &operations, publication).await;
                is(&operations, publication, Works, "what is inserted").await;
            }
            is(&operations, "max_slot_wal_keep_size", Works, "not set").await;
        }
    }
}

#[tokio::test]
async fn a_publication_that_leaves_something_out_is_told() {
    let mut database = Database::on(&Postgres::shared(18).await).await.migrate().await;
    let (_, operations) = database.configured(&[]).await;
    for part in ["(sequence, topic)", "WHERE (topic <> 't')"] {
        database
            .run(&format!("ALTER PUBLICATION onewrite SET TABLE onewrite.outbox {part}"))
            .await;
        is(
            &operations,
            "publication onewrite",
            FindingLevel::Warning,
            "leaves out rows or columns",
        )
        .await;
        follow(&database, &operations, "publication onewrite").await;
        is(
            &operations,
            "publication onewrite",
            FindingLevel::Works,
            "what is inserted",
        )
        .await;
    }
}

#[tokio::test]
async fn a_relay_that_polls_needs_none_of_it() {
    let mut database = Database::migrated().await;
    let (_, operations) = database.configured(&[("feed", "poll")]).await;
    let findings = operations.probe().await;
    assert_eq!(find(&findings, "feed").message, "poll, as configured");
    assert!(
        findings
            .iter()
            .all(|finding| finding.level == FindingLevel::Works && finding.subject != "REPLICATION")
    );
}

#[tokio::test]
async fn a_server_that_logs_too_little_or_has_no_room_is_told() {
    for version in [14, 18] {
        let settings = [
            ("wal_level", "replica"),
            ("max_replication_slots", "1"),
            ("max_slot_wal_keep_size", "10GB"),
        ];
        let server = Postgres::start(version, &settings).await;
        let mut database = Database::on(&server).await.migrate().await;
        let (_, operations) = database.configured(&[("feed", "wal")]).await;
        let broken = FindingLevel::Broken;
        is(&operations, "wal_level", broken, "it is replica").await;
        is(
            &operations,
            "wal_level",
            broken,
            "ALTER SYSTEM SET wal_level = logical;",
        )
        .await;
        is(
            &operations,
            "max_replication_slots",
            FindingLevel::Works,
            "0 of 1 in use",
        )
        .await;
        is(
            &operations,
            "max_slot_wal_keep_size",
            FindingLevel::Works,
            "more than 10.0 GiB",
        )
        .await;
        // A slot of a standby; from now on a failover is a matter too.
        database
            .run("SELECT pg_create_physical_replication_slot('standby')")
            .await;
        is(&operations, "max_replication_slots", broken, "all 1 are in use").await;
        let advice = if version >= 17 {
            "sync_replication_slots = on"
        } else {
            "no event is lost"
        };
        is(&operations, "failover", FindingLevel::Works, advice).await;
        for subject in ["wal_level", "max_replication_slots"] {
            follow_setting(&database, &operations, subject).await;
        }
        server.restart().await;
        let mut database = Database::on(&server).await.migrate().await;
        let (_, operations) = database.configured(&[("feed", "wal")]).await;
        is(&operations, "wal_level", FindingLevel::Works, "logical").await;
        is(
            &operations,
            "max_replication_slots",
            FindingLevel::Works,
            "1 of 6 in use",
        )
        .await;
    }
}

/// Runs the ALTER SYSTEM that a finding advises.
async fn follow_setting(database: &Database, operations: &PostgresOperations, subject: &str) {
    let findings = operations.probe().await;
    let message = &find(&findings, subject).message;
    let statement = message[message.find("ALTER SYSTEM").expect("an advice")..]
        .split(';')
        .next();
    database.run(statement.expect("a statement")).await;
}

#[tokio::test]
async fn a_slot_that_is_there_is_shown_and_the_rotation_is_compared_with_the_retention() {
    let server = Postgres::start(17, &[]).await;
    let mut database = Database::on(&server).await.migrate().await;
    let (_, operations) = database.configured(&[("retention", "2h")]).await;
    database
        .run("SELECT pg_create_logical_replication_slot('onewrite_shop', 'pgoutput')")
        .await;
    is(
        &operations,
        "slot onewrite_shop",
        FindingLevel::Works,
        "reserved: nobody reads it at present",
    )
    .await;
    is(
        &operations,
        "rotation",
        FindingLevel::Warning,
        "`onewrite migrate` sets turns of 1 h 1 min",
    )
    .await;
    let (_, operations) = database.configured(&[("retention", "90m")]).await;
    is(
        &operations,
        "rotation",
        FindingLevel::Works,
        "events are kept for 1 h 30 min",
    )
    .await;
}
