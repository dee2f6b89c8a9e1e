//! What keeps a relay from following the log: with `auto` it polls and says why, with `wal` it is refused with what to do.

use onewrite::postgres::{Grant, Privileges};
use onewrite_testkit::servers::Postgres;

use super::fixture::everything;
use super::log_relay::{Relay, migrated, sql};

/// With `auto` events come all the same; the reason is told in these words. With `wal` the relay says what to do.
async fn keeps_from_the_log(relay: impl Fn(&str) -> Relay, reasons: &[&str], remedies: &[&str]) {
    let mut polling = relay("auto");
    polling.append(&["1"]).await;
    polling.expect(&["1"]).await;
    let reason = polling.poll().await;
    assert!(reasons.iter().all(|word| reason.contains(word)), "{reason}");
    polling.expire().await;
    let refusal = relay("wal").refusal().await;
    assert!(remedies.iter().all(|word| refusal.contains(word)), "{refusal}");
}

#[tokio::test]
async fn a_server_that_does_not_log_enough() {
    let server = Postgres::start(17, &[("wal_level", "replica")]).await;
    let database = migrated(&server).await;
    let relay = |feed: &str| Relay::of(database.clone(), feed, everything());
    keeps_from_the_log(relay, &["wal_level", "replica"], &["ALTER SYSTEM SET wal_level"]).await;
}

#[tokio::test]
async fn a_role_that_may_not_replicate() {
    let server = Postgres::start(16, &[]).await;
    let database = migrated(&server).await;
    sql(&database, "CREATE ROLE carrier LOGIN").await;
    let grant = Grant::new("carrier", Privileges::Relay).expect("a role");
    sql(&database, &grant.sql()).await;
    let url = database.url_as("carrier");
    let relay = |feed: &str| Relay::under(database.clone(), &url, feed, everything());
    keeps_from_the_log(relay, &["REPLICATION", "carrier"], &["ALTER ROLE carrier REPLICATION"]).await;
    // Once it may, it does.
    let mut relay = relay("wal");
    relay.expire().await;
    sql(&database, "ALTER ROLE carrier REPLICATION").await;
    relay.append(&["2"]).await;
    relay.expect(&["2"]).await;
    relay.follow().await;
}

#[tokio::test]
async fn a_database_without_the_publication() {
    let server = Postgres::start(14, &[]).await;
    let database = migrated(&server).await;
    sql(&database, "DROP PUBLICATION onewrite").await;
    let relay = |feed: &str| Relay::of(database.clone(), feed, everything());
    keeps_from_the_log(relay, &["publication"], &["CREATE PUBLICATION"]).await;
}

/// A publication that somebody dropped while the relay follows it.
#[tokio::test]
async fn a_publication_that_is_gone_does_not_lose_events() {
    let server = Postgres::start(15, &[]).await;
    let mut relay = Relay::new(&server, "auto").await;
    relay.append(&["1"]).await;
    relay.expect(&["1"]).await;
    relay.follow().await;
    sql(&relay.database, "DROP PUBLICATION onewrite").await;
    relay.append(&["2", "3"]).await;
    relay.expect(&["1", "2", "3"]).await;
    let reason = relay.poll().await;
    assert!(reason.contains("publication"), "{reason}");
    // What comes meanwhile is read from the table: the server need not keep it for the slot.
    let client = relay.database.connect().await;
    let written = client.query_one("SELECT pg_current_wal_flush_lsn()::text", &[]).await;
    let written: String = written.expect("a position").get(0);
    let moved =
        format!("SELECT confirmed_flush_lsn >= '{written}' FROM pg_replication_slots WHERE slot_type = 'logical'");
    relay
        .until("the slot moves although nobody can read it", async |_| {
            let row = client.query_one(&moved, &[]).await.expect("the slot");
            row.get::<_, bool>(0).then_some(())
        })
        .await;
    let create = "CREATE PUBLICATION onewrite FOR TABLE onewrite.outbox WITH (publish = 'insert', publish_via_partition_root = true)";
    sql(&relay.database, create).await;
    relay.append(&["4"]).await;
    relay.expect(&["1", "2", "3", "4"]).await;
    relay.follow().await;
}

/// The slot is there before it is known whether it can be read.
#[tokio::test]
async fn a_server_without_room_for_a_reader_keeps_no_slot_for_a_relay_that_polls_from_now_on() {
    let server = Postgres::start(17, &[("max_wal_senders", "0")]).await;
    let mut relay = Relay::new(&server, "auto").await;
    relay.append(&["1"]).await;
    relay.expect(&["1"]).await;
    let reason = relay.poll().await;
    assert!(reason.contains("max_wal_senders"), "{reason}");
    let client = relay.database.connect().await;
    let slots = async || {
        let row = client.query_one("SELECT count(*) FROM pg_replication_slots", &[]).await;
        row.expect("a number").get::<_, i64>(0)
    };
    assert_eq!(slots().await, 1);
    relay.expire().await;
    let mut polling = Relay::of(relay.database.clone(), "poll", everything());
    polling.append(&["2"]).await;
    polling.expect(&["2"]).await;
    assert_eq!(slots().await, 0);
}
