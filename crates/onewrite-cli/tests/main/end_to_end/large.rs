//! Large transactions and large events.

use std::collections::HashMap;

use onewrite::Event;
use onewrite::limits::PAYLOAD_BYTES_MAX;

use crate::end_to_end::scale::scaled;
use crate::end_to_end::world::{Setup, World};

/// Events of one transaction, usually and in full.
const EVENTS: (u64, u64) = (200_000, 1_000_000);

/// Most bytes that may ever be resident in the relay meanwhile.
const RESIDENT: u64 = 150_000_000;

/// So many events of 100 bytes on 5,000 keys.
const INSERT: &str = "INSERT INTO onewrite.outbox (topic, key, payload) \
                      SELECT 'shop.events', 'key-' || n % 5000, convert_to(lpad(n::text, 100, '0'), 'UTF8') \
                      FROM generate_series(1, $1::bigint) AS n";

#[tokio::test(flavor = "multi_thread")]
async fn polling_carries_a_very_large_transaction() {
    a_very_large_transaction_arrives_whole_or_not_at_all("poll").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_carries_a_very_large_transaction() {
    a_very_large_transaction_arrives_whole_or_not_at_all("wal").await;
}

async fn a_very_large_transaction_arrives_whole_or_not_at_all(feed: &'static str) {
    let events = scaled(EVENTS.0, EVENTS.1);
    let world = World::start(Setup::new(14, feed, "shop.events")).await;
    let relay = world.start_relay();
    let mut client = world.database.connect().await;
    let aborted = client.transaction().await.expect("a transaction");
    aborted
        .execute(INSERT, &[&events.cast_signed()])
        .await
        .expect("the events");
    aborted.rollback().await.expect("a rollback");
    client.execute(INSERT, &[&1_i64]).await.expect("an event");
    world
        .wait("the event after the rollback is delivered", || world.delivered() == 1)
        .await;
    let arrived = world.broker.count("shop.events").await;
    assert_eq!(arrived, 1, "something of the rolled back transaction arrived");
    client
        .execute(INSERT, &[&events.cast_signed()])
        .await
        .expect("the events");
    world
        .wait("the whole transaction is delivered", || world.delivered() == 1 + events)
        .await;
    let memory = relay.resident().expect("the relay runs");
    println!(
        "a transaction of {events} events, feed {feed}: relay at most {} MB resident",
        memory.peak / 1_000_000
    );
    world.stop(relay).await;
    let records = world.broker.read_all("shop.events").await;
    assert_eq!(records.len() as u64, 1 + events);
    let mut last: HashMap<&[u8], u64> = HashMap::new();
    for record in records.iter().filter(|record| record.key.as_deref() != Some(b"key-1")) {
        let key = record.key.as_deref().expect("every event has a key");
        let text = String::from_utf8_lossy(record.value.as_deref().expect("every event has a payload"));
        let number: u64 = text.parse().expect("a number");
        let before = last.insert(key, number);
        assert!(before < Some(number), "{number} of key {key:?} after {before:?}");
    }
    assert!(memory.peak < RESIDENT, "{memory:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_carries_large_events() {
    large_events_arrive_intact("poll").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_carries_large_events() {
    large_events_arrive_intact("wal").await;
}

/// The broker's limit, in bytes: room for the largest event with its headers.
const BROKER_LIMIT: &str = "68157440";

async fn large_events_arrive_intact(feed: &'static str) {
    let world = World::start(Setup {
        topic_settings: &[("max.message.bytes", BROKER_LIMIT)],
        kafka: &[("message.max.bytes", BROKER_LIMIT)],
        ..Setup::new(18, feed, "shop.events")
    })
    .await;
    let relay = world.start_relay();
    let mut client = world.database.connect().await;
    let mut random = fastrand::Rng::with_seed(1);
    let mut payload = |bytes: usize| -> Vec<u8> { std::iter::repeat_with(|| random.u8(..)).take(bytes).collect() };
    let sent: Vec<Vec<u8>> = [1 << 20, 16 << 20, PAYLOAD_BYTES_MAX, 0].map(&mut payload).into();
    for body in &sent {
        let transaction = client.transaction().await.expect("a transaction");
        let event = Event::new("shop.events", body.clone()).key("one");
        onewrite::postgres::append(&transaction, &event)
            .await
            .expect("an event");
        transaction.commit().await.expect("a commit");
    }
    let over = Event::new("shop.events", payload(PAYLOAD_BYTES_MAX + 1)).key("one");
    let transaction = client.transaction().await.expect("a transaction");
    let refused = onewrite::postgres::append(&transaction, &over).await;
    transaction.rollback().await.expect("a rollback");
    let words = refused.expect_err("one byte too many").to_string();
    assert!(words.contains("payload") && words.contains("67108864"), "{words}");
    const PLAIN: &str = "INSERT INTO onewrite.outbox (topic, payload) VALUES ('shop.events', $1)";
    let refused = client.execute(PLAIN, &[&&over.payload[..]]).await;
    let error = refused.expect_err("one byte too many");
    let constraint = error.as_db_error().and_then(|error| error.constraint());
    assert_eq!(constraint, Some("payload_has_at_most_64_mib"));

    world
        .wait("the events are delivered", || world.delivered() == sent.len() as u64)
        .await;
    println!(
        "payloads of 1, 16 and 64 MiB, feed {feed}: relay at most {} MB resident",
        relay.resident().expect("the relay runs").peak / 1_000_000
    );
    world.stop(relay).await;
    let records = world.broker.read_all("shop.events").await;
    let lengths: Vec<usize> = records
        .iter()
        .filter_map(|record| record.value.as_ref())
        .map(Vec::len)
        .collect();
    let intact = records
        .iter()
        .map(|record| record.value.as_ref())
        .eq(sent.iter().map(Some));
    assert!(intact, "payloads of {lengths:?} bytes arrived");
}
