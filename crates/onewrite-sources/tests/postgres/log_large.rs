//! What is large comes by the log as it is in the table.

use onewrite::limits::PAYLOAD_BYTES_MAX;
use onewrite_testkit::servers::Postgres;

use super::fixture::run;
use super::log_relay::{Relay, sql};

async fn following(version: u32) -> (Postgres, Relay) {
    let server = Postgres::start(version, &[]).await;
    let mut relay = Relay::new(&server, "wal").await;
    relay.follow().await;
    (server, relay)
}

#[tokio::test]
async fn payloads_up_to_the_limit_come_intact() {
    let (_server, mut relay) = following(14).await;
    let pattern = "0123456789abcdef";
    let counts = [1 << 20, 16 << 20, PAYLOAD_BYTES_MAX].map(|bytes| bytes / pattern.len());
    for count in counts {
        let insert = format!(
            "INSERT INTO onewrite.outbox (topic, payload) VALUES ('t', convert_to(repeat('{pattern}', {count}), 'UTF8'))"
        );
        sql(&relay.database, &insert).await;
    }
    relay
        .until("the payloads come", async |relay| {
            (relay.routes[0].came.len() == counts.len()).then_some(())
        })
        .await;
    for (payload, count) in relay.routes[0].came.iter().zip(counts) {
        assert!(*payload == pattern.repeat(count), "one of {} bytes", payload.len());
    }
}

const EVENTS: usize = 100_000;

#[tokio::test]
async fn a_very_large_transaction_comes_whole_or_not_at_all() {
    let (_server, mut relay) = following(18).await;
    let insert = |word: &str| {
        format!(
            "INSERT INTO onewrite.outbox (topic, payload) \
             SELECT 't', convert_to('{word} ' || n, 'UTF8') FROM generate_series(1, {EVENTS}) AS n"
        )
    };
    let client = relay.database.connect().await;
    run(&client, &format!("BEGIN; {}; ROLLBACK", insert("never"))).await;
    run(&client, &format!("BEGIN; {}", insert("whole"))).await;
    relay.append(&["beside it"]).await;
    relay.expect(&["beside it"]).await;
    run(&client, "COMMIT").await;
    relay
        .until("the transaction comes", async |relay| {
            (relay.routes[0].came.len() > EVENTS).then_some(())
        })
        .await;
    let expected = (1..=EVENTS).map(|number| format!("whole {number}"));
    assert!(relay.routes[0].came[1..].iter().cloned().eq(expected));
}
