//! Connections that break, and futures that are dropped.

use std::net::SocketAddr;
use std::time::Duration;

use onewrite_core::{Action, DeliveryReport, Event};
use onewrite_testkit::faults::{FaultProxy, ProxyMode};
use onewrite_testkit::servers::Artemis;

use super::{LOGIN, connector, event_for, ids};
use crate::support::{deliver, settle, word, words};

async fn proxied(broker: &Artemis, timeout: &str) -> (FaultProxy, std::sync::Arc<dyn onewrite_core::SinkConnector>) {
    let upstream = SocketAddr::from(([127, 0, 0, 1], broker.port()));
    let proxy = FaultProxy::start(upstream).await.unwrap();
    let url = format!("amqp://{}", proxy.address());
    let connector = connector(
        &url,
        &[&LOGIN[..], &[("timeout", timeout), ("idle_timeout", "5s")]].concat(),
    );
    (proxy, connector)
}

fn batch(address: &str, count: u128, bytes: usize) -> Vec<Event> {
    (1..=count)
        .map(|number| {
            let mut event = event_for(address, number, Some(&(number % 7).to_string()));
            event.payload = vec![number as u8; bytes].into();
            event
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_in_mid_delivery_loses_nothing() {
    let broker = Artemis::shared().await;
    let (proxy, connector) = proxied(&broker, "3s").await;
    // In the middle of requests, and of answers: the limit counts for each direction by itself.
    for (address, limit) in [("cut-requests", 30_000), ("cut-answers", 2_000)] {
        let batch = batch(address, 200, 300);
        proxy.set(ProxyMode::Pass);
        let sink = connector.connect().await.unwrap();
        proxy.set(ProxyMode::Limit(limit));
        let (result, outcomes) = deliver(&*sink, &batch).await;
        assert_eq!(result.unwrap_err().action, Action::Reconnect);
        proxy.set(ProxyMode::Pass);
        let left: Vec<Event> = batch
            .iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| word(outcome) != "delivered")
            .map(|(event, _)| event.clone())
            .collect();
        assert!(!left.is_empty() && !words(&outcomes).contains(&"park"));
        let sink = connector.connect().await.unwrap();
        assert!(settle(&*sink, &left, 2).await.is_empty());
        let arrived = ids(&broker.read_all(address).await);
        assert!(
            batch.iter().all(|event| arrived.contains(&event.id.as_u128())),
            "{address}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_falls_silent_is_noticed() {
    let broker = Artemis::shared().await;
    let (proxy, connector) = proxied(&broker, "3s").await;
    let sink = connector.connect().await.unwrap();
    let batch = batch("silent", 2, 300);
    assert!(settle(&*sink, &batch[..1], 1).await.is_empty());
    proxy.set(ProxyMode::HalfOpen);
    let (result, outcomes) = deliver(&*sink, &batch[1..]).await;
    assert_eq!(words(&outcomes), ["unknown"]);
    assert_eq!(result.unwrap_err().action, Action::Reconnect);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_is_dropped_within_a_message_breaks_no_later_one() {
    let broker = Artemis::shared().await;
    let (proxy, connector) = proxied(&broker, "15s").await;
    let sink = connector.connect().await.unwrap();
    let batch = batch("half-sent", 4, 600_000);
    assert!(settle(&*sink, &batch[..1], 1).await.is_empty());
    let before = proxy.sent();
    proxy.set(ProxyMode::Bandwidth(4_000_000));
    let mut report = DeliveryReport::new(3);
    tokio::select! {
        result = sink.deliver(&batch[1..], &mut report) => panic!("not dropped: {result:?}"),
        () = proxy.wait_sent(before + 100_000) => {}
    }
    proxy.set(ProxyMode::Pass);
    assert!(settle(&*sink, &batch[1..], 1).await.is_empty());
    let arrived = broker.read_all("half-sent").await;
    for event in &batch {
        assert!(
            arrived
                .iter()
                .any(|found| found.id == event.id && found.payload == event.payload)
        );
    }
    assert!(arrived.iter().all(|found| found.payload.len() == 600_000));
    tokio::time::timeout(Duration::from_secs(10), sink.close())
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_brokers_are_tried_in_turn() {
    let broker = Artemis::shared().await;
    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let urls = format!("amqp://{gone},{}", broker.url());
    let sink = connector(&urls, &LOGIN).connect().await.unwrap();
    assert!(settle(&*sink, &batch("in-turn", 3, 10), 1).await.is_empty());
}
