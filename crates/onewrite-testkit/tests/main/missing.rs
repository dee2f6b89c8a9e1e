//! A server that cannot be had.

use std::process::Command;

/// What a test of the fixtures prints where nothing has been fetched.
fn run_without_servers(test: &str) -> String {
    let empty = tempfile::tempdir().expect("an empty directory");
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", test])
        .env("ONEWRITE_CACHE", empty.path())
        .output()
        .expect("run this program once more");
    assert!(!output.status.success(), "{test} passes without its server");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_missing_postgresql_is_told_with_its_package() {
    let printed = run_without_servers("postgres::postgresql_14");
    assert!(
        printed.contains("io.zonky.test.postgres:embedded-postgres-binaries"),
        "{printed}"
    );
    assert!(printed.contains("`./x up` fetches them"), "{printed}");
}

#[test]
fn a_missing_kafka_is_told_with_its_package() {
    let printed = run_without_servers("kafka::a_stopped_broker_answers_when_it_is_continued");
    assert!(printed.contains("org.apache.kafka:kafka_2.13"), "{printed}");
    assert!(printed.contains("`./x up` fetches them"), "{printed}");
}
