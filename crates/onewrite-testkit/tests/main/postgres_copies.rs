//! Standbys, backups, and what befalls slots.

use std::net::Ipv4Addr;

use onewrite_testkit::faults::FaultProxy;
use onewrite_testkit::servers::{Database, Postgres};
use onewrite_testkit::wait::until;

/// What the table holds, in order.
async fn numbers(database: &Database) -> Vec<i32> {
    let client = database.connect().await;
    let rows = client.query("SELECT n FROM t ORDER BY n", &[]).await.expect("numbers");
    rows.iter().map(|row| row.get(0)).collect()
}

async fn run(database: &Database, commands: &str) {
    let client = database.connect().await;
    client
        .batch_execute(commands)
        .await
        .unwrap_or_else(|error| panic!("{commands}: {error:?}"));
}

/// A client that knows one address sees every commit through the death of the primary.
async fn a_standby_takes_over_with_all_that_was_committed(version: u32) {
    let primary = Postgres::start(version, &[]).await;
    let standby = primary.standby(&[]).await;
    assert_ne!(standby.port(), primary.port());
    primary.wait_for_standby().await;
    let proxy = FaultProxy::start((Ipv4Addr::LOCALHOST, primary.port()).into())
        .await
        .expect("a port");
    let database = primary.database().await.through(proxy.address().port());
    run(&database, "CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2)").await;
    let reading = database.through(standby.port());
    until("the standby shows what the primary has", async || {
        (reading.config().connect(tokio_postgres::NoTls).await.is_ok() && numbers(&reading).await == [1, 2])
            .then_some(())
    })
    .await;
    primary.kill9().await;
    standby.promote().await;
    proxy.forward_to((Ipv4Addr::LOCALHOST, standby.port()).into());
    run(&database, "INSERT INTO t VALUES (3)").await;
    assert_eq!(numbers(&database).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_standby_of_postgresql_14_takes_over() {
    a_standby_takes_over_with_all_that_was_committed(14).await;
}

#[tokio::test]
async fn a_standby_of_postgresql_17_takes_over() {
    a_standby_takes_over_with_all_that_was_committed(17).await;
}

#[tokio::test]
async fn a_standby_keeps_the_failover_slots_of_the_primary() {
    let primary = Postgres::start(17, &[]).await;
    let standby = primary.standby(&[("sync_replication_slots", "on")]).await;
    let create = "SELECT pg_create_logical_replication_slot('kept', 'pgoutput', false, false, true)";
    run(&primary.maintenance(), create).await;
    let synchronised = "SELECT 1 FROM pg_replication_slots WHERE slot_name = 'kept' AND synced AND NOT temporary";
    let client = standby.maintenance().connect().await;
    until("the slot is on the standby", async || {
        // The slot on the standby becomes lasting when the primary's has moved.
        run(
            &primary.maintenance(),
            "SELECT pg_log_standby_snapshot(); SELECT pg_replication_slot_advance('kept', pg_current_wal_lsn())",
        )
        .await;
        client.query_opt(synchronised, &[]).await.expect("the slots")
    })
    .await;
    primary.kill9().await;
    standby.promote().await;
    assert!(
        standby
            .slot("kept")
            .await
            .is_some_and(|slot| slot.wal_status.as_deref() == Some("reserved"))
    );
}

#[tokio::test]
async fn a_restored_server_holds_what_it_held_when_it_was_saved() {
    let server = Postgres::start(16, &[]).await;
    let database = server.database().await;
    run(&database, "CREATE TABLE t (n int); INSERT INTO t VALUES (1)").await;
    let backup = server.save().await;
    run(&database, "INSERT INTO t VALUES (2)").await;
    for _ in 0..2 {
        server.restore(&backup).await;
        assert_eq!(numbers(&database).await, [1]);
        run(&database, "INSERT INTO t VALUES (3)").await;
    }
}

async fn slots_are_lost_in_every_way(version: u32) {
    let server = Postgres::start(version, &[]).await;
    assert_eq!(server.slot("s").await, None);
    let create = "SELECT pg_create_logical_replication_slot('s', 'pgoutput')";
    run(&server.maintenance(), create).await;
    let fresh = server.slot("s").await.expect("the slot");
    assert_eq!((fresh.reader, fresh.wal_status.as_deref()), (None, Some("reserved")));
    assert!(fresh.retained >= fresh.unconfirmed && fresh.unconfirmed >= Some(0));
    assert!(!server.end_walsender("s").await, "nobody reads");

    server.outgrow_slot("s").await;
    let lost = server.slot("s").await.expect("the slot");
    assert_eq!((lost.wal_status.as_deref(), lost.retained), (Some("lost"), None));
    server.drop_slot("s").await;
    assert_eq!(server.slot("s").await, None);
}

#[tokio::test]
async fn slots_of_postgresql_14_are_lost() {
    slots_are_lost_in_every_way(14).await;
}

#[tokio::test]
async fn slots_of_postgresql_18_are_lost() {
    slots_are_lost_in_every_way(18).await;
}

#[tokio::test]
async fn a_slot_that_nobody_reads_is_lost_in_time() {
    let server = Postgres::start(18, &[]).await;
    run(
        &server.maintenance(),
        "SELECT pg_create_logical_replication_slot('s', 'pgoutput')",
    )
    .await;
    server.tire_of_slot("s").await;
    let lost = server.slot("s").await.expect("the slot");
    assert_eq!(lost.wal_status.as_deref(), Some("lost"));
}

/// Slots with a reader: a standby's, since it comes back by itself.
#[tokio::test]
async fn a_reader_is_ended_and_its_slot_dropped_from_under_it() {
    let primary = Postgres::start(15, &[]).await;
    let _standby = primary.standby(&[]).await;
    let client = primary.maintenance().connect().await;
    let row = client
        .query_one("SELECT slot_name::text FROM pg_replication_slots", &[])
        .await;
    let name: String = row.expect("one slot").get(0);
    let reader = async || primary.slot(&name).await.and_then(|slot| slot.reader);
    let first = reader().await.expect("the standby reads");
    assert!(primary.end_walsender(&name).await);
    until("the standby comes back", async || {
        reader().await.filter(|pid| *pid != first)
    })
    .await;
    primary.drop_slot(&name).await;
    assert_eq!(primary.slot(&name).await, None);
}
