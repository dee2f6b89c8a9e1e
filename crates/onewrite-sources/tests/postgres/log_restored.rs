//! A database that goes back in time, and one that another server takes over.

use std::net::Ipv4Addr;
use std::time::Duration;

use onewrite_testkit::faults::FaultProxy;
use onewrite_testkit::servers::Postgres;
use onewrite_testkit::wait::until;
use tokio_postgres::Client;

use super::fixture::{everything, run};
use super::log_relay::{Relay, migrated};

/// Transaction ids, sequences and log positions are given out again; what they meant before must not be taken for what they
/// mean now.
async fn a_restored_backup_is_read_from_what_it_holds(slot_is_restored: bool) {
    let server = Postgres::start(15, &[]).await;
    let mut relay = Relay::new(&server, "wal").await;
    relay.append(&["1", "2"]).await;
    relay.expect(&["1", "2"]).await;
    let slot = relay.follow().await;
    let backup = server.save().await;
    relay.append(&["3"]).await;
    relay.expect(&["1", "2", "3"]).await;
    relay.follow().await;
    // Far enough that the log of the restored server ends before what the relay has seen.
    let later: Vec<String> = (0..500).map(|number| format!("gone {number}")).collect();
    relay
        .append(&later.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    relay
        .until("everything comes", async |relay| {
            (relay.routes[0].came.len() == 503).then_some(())
        })
        .await;
    server.restore(&backup).await;
    if !slot_is_restored {
        server.drop_slot(&slot).await;
    }
    relay.forget();
    relay.append(&["4", "5"]).await;
    relay.expect(&["4", "5"]).await;
    relay.follow().await;
    relay.append(&["6"]).await;
    relay.expect(&["4", "5", "6"]).await;
}

#[tokio::test]
async fn a_backup_that_is_restored_with_its_slots_is_read_from_what_it_holds() {
    a_restored_backup_is_read_from_what_it_holds(true).await;
}

#[tokio::test]
async fn a_backup_that_is_restored_without_slots_is_read_from_what_it_holds() {
    a_restored_backup_is_read_from_what_it_holds(false).await;
}

async fn a_promoted_standby_is_followed(version: u32, standby_settings: &[(&str, &str)]) {
    let primary = Postgres::start(version, &[]).await;
    let standby = primary.standby(standby_settings).await;
    primary.wait_for_standby().await;
    let proxy = FaultProxy::start((Ipv4Addr::LOCALHOST, primary.port()).into())
        .await
        .expect("a port");
    let database = migrated(&primary).await.through(proxy.address().port());
    let mut relay = Relay::of(database, "wal", everything());
    relay.append(&["1", "2"]).await;
    relay.expect(&["1", "2"]).await;
    relay.follow().await;
    relay.append(&["3"]).await;
    relay.expect(&["1", "2", "3"]).await;
    relay.append(&["4"]).await;
    primary.kill9().await;
    relay.step().await.expect("it tries again");
    standby.promote().await;
    proxy.forward_to((Ipv4Addr::LOCALHOST, standby.port()).into());
    relay.append(&["5"]).await;
    relay.expect(&["1", "2", "3", "4", "5"]).await;
    relay.follow().await;
    relay.append(&["6"]).await;
    relay.expect(&["1", "2", "3", "4", "5", "6"]).await;
}

#[tokio::test]
async fn a_promoted_standby_of_postgresql_14_is_followed() {
    a_promoted_standby_is_followed(14, &[]).await;
}

#[tokio::test]
async fn a_promoted_standby_of_postgresql_17_is_followed() {
    a_promoted_standby_is_followed(17, &[]).await;
}

#[tokio::test]
async fn a_promoted_standby_with_synchronised_slots_is_followed() {
    a_promoted_standby_is_followed(18, &[("sync_replication_slots", "on")]).await;
}

/// The log tells of a commit before the standby has it, and of one that does not wait for the standby everybody is told; if the primary
/// died now, either would be gone.
async fn nothing_comes_that_no_standby_has(feed: &str, commit: &'static str) {
    let primary = Postgres::start(16, &[]).await;
    let standby = primary.standby(&[]).await;
    primary.wait_for_standby().await;
    let mut relay = Relay::new(&primary, feed).await;
    relay.append(&["1"]).await;
    relay.expect(&["1"]).await;
    if feed == "wal" {
        relay.follow().await;
    }
    standby.pause();
    let client = relay.database.connect().await;
    let before = flushed(&client).await;
    let committing = relay.database.connect().await;
    run(&committing, &format!("SET synchronous_commit = {commit}")).await;
    let append = async move {
        run(
            &committing,
            "INSERT INTO onewrite.outbox (topic, payload) VALUES ('t', '2')",
        )
        .await
    };
    let appending = tokio::spawn(append);
    until("the commit is in the log of the primary", async || {
        (flushed(&client).await > before).then_some(())
    })
    .await;
    // Long enough for any fence that does not wait for the standby.
    for _ in 0..20 {
        let _waits_for_the_standby = tokio::time::timeout(Duration::from_millis(100), relay.read()).await;
    }
    assert_eq!(
        relay.routes[0].came,
        ["1"],
        "an event came that a failover would take back"
    );
    assert_eq!(
        appending.is_finished(),
        commit == "local",
        "whether the writer was told that it is safe"
    );
    standby.resume();
    appending.await.expect("a commit");
    relay.expect(&["1", "2"]).await;
}

async fn flushed(client: &Client) -> i64 {
    let row = client
        .query_one("SELECT pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::bigint", &[])
        .await;
    row.expect("a position").get(0)
}

#[tokio::test]
async fn polling_brings_nothing_that_no_standby_has() {
    nothing_comes_that_no_standby_has("poll", "on").await;
    nothing_comes_that_no_standby_has("poll", "local").await;
}

#[tokio::test]
async fn the_log_brings_nothing_that_no_standby_has() {
    nothing_comes_that_no_standby_has("wal", "on").await;
    nothing_comes_that_no_standby_has("wal", "local").await;
}
