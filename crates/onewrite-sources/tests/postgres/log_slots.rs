//! A slot that is lost costs nothing but a moment: what it would have told is in the table.

use std::net::Ipv4Addr;

use onewrite_testkit::faults::{FaultProxy, ProxyMode};
use onewrite_testkit::servers::Postgres;

use super::fixture::everything;
use super::log_relay::{Relay, migrated, sql};

/// A relay that follows the log and has brought two events.
async fn following(server: &Postgres, feed: &str) -> (Relay, String) {
    let mut relay = Relay::new(server, feed).await;
    relay.append(&["1", "2"]).await;
    relay.expect(&["1", "2"]).await;
    let slot = relay.follow().await;
    relay.append(&["3"]).await;
    relay.expect(&["1", "2", "3"]).await;
    (relay, slot)
}

async fn goes_on(relay: &mut Relay) {
    relay.append(&["5"]).await;
    relay.expect(&["1", "2", "3", "4", "5"]).await;
    relay.follow().await;
    relay.append(&["6"]).await;
    relay.expect(&["1", "2", "3", "4", "5", "6"]).await;
}

async fn a_dropped_slot_is_made_again(version: u32, feed: &str) {
    let server = Postgres::start(version, &[]).await;
    let (mut relay, slot) = following(&server, feed).await;
    relay.append(&["4"]).await;
    server.drop_slot(&slot).await;
    goes_on(&mut relay).await;
}

#[tokio::test]
async fn a_slot_of_postgresql_14_that_is_dropped_under_the_relay_is_made_again() {
    a_dropped_slot_is_made_again(14, "wal").await;
}

#[tokio::test]
async fn a_slot_of_postgresql_18_that_is_dropped_under_the_relay_is_made_again() {
    a_dropped_slot_is_made_again(18, "auto").await;
}

#[tokio::test]
async fn a_slot_that_is_dropped_while_the_relay_is_away_is_made_again() {
    let server = Postgres::start(15, &[]).await;
    let (mut relay, slot) = following(&server, "wal").await;
    relay.crash().await;
    server.drop_slot(&slot).await;
    relay.append(&["4"]).await;
    goes_on(&mut relay).await;
}

async fn an_outgrown_slot_is_made_again(version: u32, feed: &str) {
    let server = Postgres::start(version, &[]).await;
    let (mut relay, slot) = following(&server, feed).await;
    relay.crash().await;
    relay.append(&["4"]).await;
    server.outgrow_slot(&slot).await;
    goes_on(&mut relay).await;
}

#[tokio::test]
async fn a_relay_of_postgresql_14_that_was_away_for_longer_than_the_log_is_kept_misses_nothing() {
    an_outgrown_slot_is_made_again(14, "wal").await;
}

#[tokio::test]
async fn a_relay_of_postgresql_17_that_was_away_for_longer_than_the_log_is_kept_misses_nothing() {
    an_outgrown_slot_is_made_again(17, "auto").await;
}

/// The network stands still for so long that the server gives the slot up, walsender and all.
#[tokio::test]
async fn a_slot_that_is_outgrown_under_the_relay_is_made_again() {
    let server = Postgres::start(16, &[]).await;
    let database = migrated(&server).await;
    let proxy = FaultProxy::start((Ipv4Addr::LOCALHOST, server.port()).into())
        .await
        .expect("a port");
    let url = database.through(proxy.address().port()).url;
    let mut relay = Relay::under(database, &url, "wal", everything());
    relay.append(&["1", "2", "3"]).await;
    relay.expect(&["1", "2", "3"]).await;
    let slot = relay.follow().await;
    proxy.set(ProxyMode::HalfOpen);
    relay.append(&["4"]).await;
    server.outgrow_slot(&slot).await;
    proxy.set(ProxyMode::Pass);
    goes_on(&mut relay).await;
}

#[tokio::test]
async fn a_slot_that_nobody_read_from_for_too_long_is_made_again() {
    let server = Postgres::start(18, &[]).await;
    let (mut relay, slot) = following(&server, "wal").await;
    relay.crash().await;
    relay.append(&["4"]).await;
    server.tire_of_slot(&slot).await;
    goes_on(&mut relay).await;
}

#[tokio::test]
async fn a_walsender_that_is_ended_costs_nothing() {
    let server = Postgres::start(14, &[]).await;
    let (mut relay, slot) = following(&server, "wal").await;
    relay.append(&["4"]).await;
    assert!(server.end_walsender(&slot).await, "the relay reads from its slot");
    goes_on(&mut relay).await;
    assert_eq!(relay.follow().await, slot, "the slot is the same");
}

#[tokio::test]
async fn a_relay_that_starts_again_reads_on_from_its_slot() {
    let server = Postgres::start(15, &[]).await;
    let (mut relay, slot) = following(&server, "wal").await;
    for _ in 0..3 {
        relay.crash().await;
        assert_eq!(relay.follow().await, slot);
    }
    relay.append(&["4"]).await;
    goes_on(&mut relay).await;
}

/// Two processes of one name: the next holder has the slot, whether or not the last one has let go of it.
#[tokio::test]
async fn the_next_holder_of_the_lease_takes_the_slot_over() {
    let server = Postgres::start(17, &[]).await;
    let (mut first, slot) = following(&server, "wal").await;
    let mut second = Relay::of(first.database.clone(), "wal", everything());
    second.step().await.expect("it waits for the lease");
    first.expire().await;
    second.append(&["4"]).await;
    second.expect(&["4"]).await;
    assert_eq!(second.follow().await, slot);
    // The first wakes up, and has nothing to say any more.
    first.step().await.expect("it has lost its lease");
    second.append(&["5"]).await;
    second.expect(&["4", "5"]).await;
    assert_eq!(second.follow().await, slot);
    assert_eq!(first.routes[0].came, ["1", "2", "3"]);
    let slots = "SELECT 1 / (2 - count(*)) FROM pg_replication_slots WHERE database = current_database()";
    sql(&second.database, slots).await;
}

/// The next holder polls, and the last one has not let go of its slot: that would keep the server's log for ever.
#[tokio::test]
async fn a_slot_that_is_still_read_goes_when_the_relay_polls_from_now_on() {
    let server = Postgres::start(16, &[]).await;
    let (first, _) = following(&server, "wal").await;
    first.expire().await;
    let mut second = Relay::of(first.database.clone(), "poll", everything());
    second.append(&["4"]).await;
    second.expect(&["4"]).await;
    let slots = "SELECT 1 / (1 - count(*)) FROM pg_replication_slots WHERE database = current_database()";
    sql(&second.database, slots).await;
}
