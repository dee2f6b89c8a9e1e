//! The five-minute guide of the README, as a user lives it.

use crate::end_to_end::world::{Setup, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_insert_is_in_kafka_a_moment_later_as_it_was_written() {
    let world = World::start(Setup::new(18, "auto", "shop.orders")).await;
    let relay = world.start_relay();
    let client = world.database.connect().await;
    let body = "{\"order\": 42,  \"é\": 1}";
    let insert = format!(
        "BEGIN; INSERT INTO onewrite.outbox (topic, key, type, payload, headers) \
         VALUES ('shop.orders', '42', 'OrderPaid', convert_to('{body}', 'UTF8'), '{{\"trace\": \"abc\"}}'); COMMIT; \
         BEGIN; INSERT INTO onewrite.outbox (topic, key, payload) VALUES ('shop.orders', '42', 'never'); ROLLBACK"
    );
    client.batch_execute(&insert).await.expect("the inserts");
    client
        .query_one("SELECT onewrite.append('shop.orders', '42', '{\"order\": 43}')", &[])
        .await
        .expect("the append");
    world.wait("both events are delivered", || world.delivered() == 2).await;
    world.stop(relay).await;
    let records = world.broker.read_all("shop.orders").await;
    let bodies: Vec<&[u8]> = records.iter().filter_map(|record| record.value.as_deref()).collect();
    assert_eq!(bodies, [body.as_bytes(), b"{\"order\": 43}"]);
    let first = &records[0];
    assert_eq!(first.key.as_deref(), Some(b"42".as_slice()));
    let headers = ["trace", "onewrite-topic", "onewrite-type", "content-type"].map(|name| first.header(name));
    assert_eq!(
        headers,
        [
            Some("abc"),
            Some("shop.orders"),
            Some("OrderPaid"),
            Some("application/json")
        ]
    );
    assert!(
        first
            .header("onewrite-occurred-at")
            .is_some_and(|time| time.ends_with('Z'))
    );
    assert_eq!(first.header("onewrite-id").map(str::len), Some(36));
}
