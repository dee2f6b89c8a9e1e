//! Many routes follow one slot, and the slot follows the log, whatever becomes of the routes.

use onewrite_testkit::servers::Postgres;

use super::fixture::routes;
use super::log_relay::{Relay, migrated, sql};

/// Most bytes of the log that the relay has not confirmed while it has nothing to wait for.
const BEHIND: i64 = 1 << 20;

/// Goes on until the relay has confirmed nearly all of the log.
async fn until_seen(relay: &mut Relay, server: &Postgres, slot: &str) {
    relay
        .until("the relay confirms what it has seen of the log", async |_| {
            let slot = server.slot(slot).await.expect("the slot");
            slot.unconfirmed.filter(|bytes| *bytes < BEHIND)
        })
        .await;
}

/// Forty megabytes of events on a topic.
async fn fill(relay: &Relay, topic: &str) {
    let insert = format!(
        "INSERT INTO onewrite.outbox (topic, payload) \
         SELECT '{topic}', convert_to(lpad('{topic} ' || n, 1000, '.'), 'UTF8') FROM generate_series(1, 10000) AS n"
    );
    for _ in 0..4 {
        sql(&relay.database, &insert).await;
    }
}

#[tokio::test]
async fn a_route_that_does_not_read_holds_back_neither_the_slot_nor_the_others() {
    let server = Postgres::start(16, &[]).await;
    let database = migrated(&server).await;
    let shares = routes(&[("down", "down"), ("up", "up")]);
    let mut relay = Relay::of(database, "wal", shares);
    let slot = relay.follow().await;
    relay.routes[0].reads = false;
    fill(&relay, "down").await;
    sql(
        &relay.database,
        "INSERT INTO onewrite.outbox (topic, payload) VALUES ('up', 'one')",
    )
    .await;
    relay
        .until("the other route goes on", async |relay| {
            (relay.routes[1].came == ["one"]).then_some(())
        })
        .await;
    until_seen(&mut relay, &server, &slot).await;
    // It returns, and its backlog comes from the table.
    relay.routes[0].reads = true;
    relay
        .until("the backlog comes", async |relay| {
            (relay.routes[0].came.len() == 10_000).then_some(())
        })
        .await;
    assert!(
        relay.routes[0]
            .came
            .is_sorted_by_key(|payload| payload.trim_start_matches('.').len())
    );
    assert_eq!(relay.follow().await, slot);
}

/// The log of tables that nobody follows, and of other databases, must not be kept.
#[tokio::test]
async fn an_idle_outbox_in_a_busy_server_moves_its_slot() {
    let server = Postgres::start(14, &[]).await;
    let mut relay = Relay::new(&server, "wal").await;
    let slot = relay.follow().await;
    let busy = "CREATE TABLE busy AS SELECT repeat('x', 1000) AS text FROM generate_series(1, 40000)";
    for database in [relay.database.clone(), server.database().await] {
        sql(&database, busy).await;
        until_seen(&mut relay, &server, &slot).await;
    }
    relay
        .until("the server need not keep the log", async |_| {
            let slot = server.slot(&slot).await.expect("the slot");
            slot.retained.filter(|bytes| *bytes < 32 << 20)
        })
        .await;
    relay.append(&["1"]).await;
    relay.expect(&["1"]).await;
}
