//! What `check` finds.

use std::time::Duration;

use onewrite_core::Operations;
use onewrite_core::sink::{Finding, FindingLevel};

use onewrite_testkit::servers::Postgres;

use super::database::{Database, operations, status};

fn find<'a>(findings: &'a [Finding], subject: &str) -> &'a Finding {
    let found = findings.iter().find(|finding| finding.subject.starts_with(subject));
    found.unwrap_or_else(|| panic!("nothing about {subject} in {findings:#?}"))
}

#[tokio::test]
async fn where_all_is_well_nothing_is_broken() {
    let mut database = Database::migrated().await;
    let findings = database.operations().await.probe().await;
    assert!(
        findings.iter().all(|finding| finding.level != FindingLevel::Broken),
        "{findings:#?}"
    );
    for subject in ["connection", "server version", "schema", "privileges"] {
        assert_eq!(find(&findings, subject).level, FindingLevel::Works, "{subject}");
    }
    assert!(find(&findings, "segments").message.starts_with("outbox_0 "));
}

#[tokio::test]
async fn each_missing_privilege_is_named_with_the_statement_that_grants_it() {
    let database = Database::migrated().await;
    let (role, operations) = database.stranger().await;
    let findings = operations.probe().await;
    let schema = find(&findings, "schema");
    assert_eq!(schema.level, FindingLevel::Broken);
    assert!(
        schema.message.contains("the user lacks a privilege"),
        "{}",
        schema.message
    );
    database
        .run(&format!(
            "GRANT USAGE ON SCHEMA onewrite TO {role}; GRANT SELECT ON onewrite.migration TO {role}"
        ))
        .await;
    let findings = operations.probe().await;
    let broken: Vec<_> = findings
        .iter()
        .filter(|finding| finding.level == FindingLevel::Broken)
        .collect();
    assert_eq!(
        broken[0].message,
        format!(
            "the user lacks it; as the owner of the schema: GRANT SELECT ON TABLE onewrite.outbox TO {role}; \
             (`onewrite migrate --print` lists all that a relay needs)"
        )
    );
    assert_eq!(
        find(&findings, "privilege TRUNCATE on onewrite.outbox_3").level,
        FindingLevel::Broken
    );
    assert_eq!(
        find(&findings, "privilege SELECT on onewrite.outbox_sequence").level,
        FindingLevel::Broken
    );
    // Following every advice leads to a user that lacks nothing.
    for finding in broken {
        let statement = finding
            .message
            .split(": ")
            .nth(1)
            .and_then(|rest| rest.split(';').next());
        database.run(statement.expect("a statement")).await;
    }
    assert_eq!(find(&operations.probe().await, "privileges").level, FindingLevel::Works);
}

#[tokio::test]
async fn a_database_without_the_schema_and_a_server_that_is_not_there_are_told() {
    let database = Database::empty().await;
    let (_, without) = database.stranger().await;
    let findings = without.probe().await;
    let schema = find(&findings, "schema");
    assert_eq!(schema.level, FindingLevel::Broken);
    assert_eq!(
        schema.message,
        "the database has no schema onewrite; run `onewrite migrate`"
    );
    let missing = operations(&database.url("no_such_database")).probe().await;
    assert_eq!((missing.len(), missing[0].level), (1, FindingLevel::Broken));
    assert!(
        missing[0].message.contains("no_such_database"),
        "{}",
        missing[0].message
    );
    assert!(
        missing[0].message.contains("create it, or correct the URL"),
        "{}",
        missing[0].message
    );
    let silent = operations("postgres://u@127.0.0.1:1/d").probe().await;
    assert_eq!((silent.len(), silent[0].level), (1, FindingLevel::Broken));
}

#[tokio::test]
async fn a_user_that_cannot_write_is_told() {
    let mut database = Database::migrated().await;
    let operations = database.operations().await;
    let name = database.read("SELECT current_database()").await;
    database
        .run(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on"))
        .await;
    let findings = operations.probe().await;
    assert_eq!(find(&findings, "writing").level, FindingLevel::Broken);
    assert!(
        find(&findings, "writing")
            .message
            .contains("default_transaction_read_only")
    );
    database
        .run(&format!(
            "ALTER DATABASE {name} SET default_transaction_read_only = off; \
                       ALTER DATABASE {name} SET synchronous_commit = off"
        ))
        .await;
    let findings = operations.probe().await;
    assert!(findings.iter().all(|finding| finding.subject != "writing"));
    assert_eq!(find(&findings, "synchronous_commit").level, FindingLevel::Warning);
}

#[tokio::test]
async fn a_long_transaction_is_named_with_its_pid_and_statement() {
    let mut database = Database::migrated().await;
    let operations = database.operations().await.long_transaction(Duration::ZERO);
    let open = database.connect().await;
    open.batch_execute("BEGIN; SELECT 'the forgotten one'")
        .await
        .expect("begin");
    let pid: i32 = open
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .expect("pid")
        .get(0);
    let blind = operations.probe().await;
    assert!(
        find(&blind, "transactions")
            .message
            .contains("GRANT pg_read_all_stats TO "),
        "{blind:#?}"
    );
    let user = find(&blind, "connection")
        .message
        .rsplit(' ')
        .next()
        .expect("a user")
        .to_owned();
    database.run(&format!("GRANT pg_read_all_stats TO {user}")).await;
    open.batch_execute("SELECT 'the forgotten one'").await.expect("select");
    let findings = operations.probe().await;
    let found = find(&findings, &format!("transaction of pid {pid}"));
    assert_eq!(found.level, FindingLevel::Warning);
    assert!(
        found.message.contains("SELECT 'the forgotten one'"),
        "{}",
        found.message
    );
    assert!(
        found.message.contains(&format!("pg_terminate_backend({pid})")),
        "{}",
        found.message
    );
    open.batch_execute("COMMIT").await.expect("commit");
    let findings = operations.probe().await;
    assert!(
        findings
            .iter()
            .all(|finding| !finding.subject.contains(&pid.to_string())),
        "{findings:#?}"
    );
}

#[tokio::test]
async fn a_forgotten_prepared_transaction_and_a_server_that_may_lose_commits_are_told() {
    let settings = [
        ("max_prepared_transactions", "5"),
        ("fsync", "off"),
        ("full_page_writes", "off"),
    ];
    let server = Postgres::start(16, &settings).await;
    let mut database = Database::on(&server).await.migrate().await;
    let operations = database.operations().await.long_transaction(Duration::ZERO);
    database
        .run("BEGIN; SELECT onewrite.append('t', 'k', ''); PREPARE TRANSACTION 'it''s forgotten'")
        .await;
    let findings = operations.probe().await;
    let prepared = find(&findings, "prepared transaction 'it''s forgotten'");
    assert_eq!(prepared.level, FindingLevel::Warning);
    assert!(
        prepared
            .message
            .ends_with("if it was forgotten: ROLLBACK PREPARED 'it''s forgotten';"),
        "{}",
        prepared.message
    );
    for setting in ["fsync", "full_page_writes"] {
        assert_eq!(find(&findings, setting).level, FindingLevel::Warning, "{setting}");
    }
}

#[tokio::test]
async fn a_replica_is_told() {
    let replica = Postgres::start_with_files(17, &[], &[("standby.signal", b"")]).await;
    let findings = operations(&replica.maintenance().url).probe().await;
    let writing = find(&findings, "writing");
    assert_eq!(writing.level, FindingLevel::Broken);
    assert!(
        writing.message.ends_with("connect to the primary"),
        "{}",
        writing.message
    );
}

#[tokio::test]
async fn on_every_version_of_the_server_all_is_well() {
    for version in 15..=18 {
        let mut database = Database::on(&Postgres::shared(version).await).await.migrate().await;
        let operations = database.operations().await;
        let findings = operations.probe().await;
        assert!(
            findings.iter().all(|finding| finding.level != FindingLevel::Broken),
            "{version}: {findings:#?}"
        );
        database.route("orders", "*").await;
        database.run("SELECT onewrite.append('t', 'k', '')").await;
        assert_eq!(status(&operations).await.routes[0].unsettled, Some(1), "{version}");
    }
}
