//! Answers that are lost, servers that stall, connections that break.

use std::time::{Duration, Instant};

use onewrite_core::error::Action;
use onewrite_testkit::faults::{FaultProxy, ProxyMode};
use onewrite_testkit::servers::Nats;
use serde_json::json;

use super::{connector, ids, to};
use crate::support::{deliver, event, events, settle, words};

async fn behind_a_proxy(
    nats: &Nats,
    texts: &[(&str, &str)],
) -> (FaultProxy, std::sync::Arc<dyn onewrite_core::SinkConnector>) {
    let proxy = FaultProxy::start(nats.address().parse().unwrap()).await.unwrap();
    let connector = connector(&format!("nats://{}", proxy.address()), texts);
    (proxy, connector)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_answer_was_lost_is_kept_once() {
    let nats = Nats::shared().await;
    nats.create_stream("LOST", &["lost.orders"], json!({})).await;
    let (proxy, connector) = behind_a_proxy(&nats, &[("ack_timeout", "500ms")]).await;
    let sink = connector.connect().await.unwrap();
    let batch: Vec<_> = (1..=3)
        .map(|number| to("lost.orders", event(number, Some("a"))))
        .collect();
    proxy.set(ProxyMode::DropReplies);
    let (result, outcomes) = deliver(&*sink, &batch).await;
    assert_eq!(result.unwrap_err().action, Action::Reconnect);
    assert_eq!(words(&outcomes), ["unknown", "unknown", "unknown"]);
    assert_eq!(
        ids(&nats.read_all("LOST").await),
        [batch[0].id],
        "the server did keep it"
    );
    proxy.set(ProxyMode::Pass);
    let sink = connector.connect().await.unwrap();
    assert!(settle(&*sink, &batch, 1).await.is_empty());
    let sent: Vec<_> = batch.iter().map(|event| event.id).collect();
    assert_eq!(ids(&nats.read_all("LOST").await), sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_ends_deliveries_at_once_and_loses_nothing() {
    let nats = Nats::shared().await;
    nats.create_stream("BROKEN", &["broken.orders"], json!({})).await;
    let (proxy, connector) = behind_a_proxy(&nats, &[]).await;
    let batch: Vec<_> = events(100, &["a", "b", "c"])
        .into_iter()
        .map(|event| to("broken.orders", event))
        .collect();
    // After so many bytes in one direction or the other.
    for most in [0, 700, 3_000] {
        proxy.set(ProxyMode::Limit(most));
        let began = Instant::now();
        if let Ok(sink) = connector.connect().await {
            let (result, outcomes) = deliver(&*sink, &batch).await;
            assert_eq!(result.unwrap_err().action, Action::Reconnect);
            assert!(!words(&outcomes).contains(&"park"));
        }
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "it does not wait for its timeout"
        );
        proxy.set(ProxyMode::Pass);
    }
    let sink = connector.connect().await.unwrap();
    assert!(settle(&*sink, &batch, 1).await.is_empty());
    let sent: Vec<_> = batch.iter().map(|event| event.id).collect();
    let mut found = ids(&nats.read_all("BROKEN").await);
    found.sort_unstable();
    assert_eq!(found, sent, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_does_not_log_in_again_behind_the_sinks_back() {
    let nats = Nats::shared().await;
    nats.create_stream("AGAIN", &["again.orders"], json!({})).await;
    let (proxy, connector) = behind_a_proxy(&nats, &[]).await;
    let sink = connector.connect().await.unwrap();
    // A further connection may pass so many bytes as well, which is enough to log in.
    proxy.set(ProxyMode::Limit(3_000));
    let batch: Vec<_> = (1..=20).map(|number| to("again.orders", event(number, None))).collect();
    let (result, _) = deliver(&*sink, &batch).await;
    assert_eq!(result.unwrap_err().action, Action::Reconnect);
    proxy.wait_accepted(2).await;
    let ended = tokio::time::timeout(Duration::from_secs(20), proxy.wait_open_at_most(0)).await;
    assert!(ended.is_ok(), "the client is connected again");
    let (result, outcomes) = deliver(&*sink, &batch[..1]).await;
    assert_eq!(result.unwrap_err().action, Action::Reconnect);
    assert_eq!(words(&outcomes), ["unknown"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_that_carries_nothing_is_noticed_in_either_direction() {
    let nats = Nats::shared().await;
    nats.create_stream("HALF", &["half.orders"], json!({})).await;
    let (proxy, connector) = behind_a_proxy(&nats, &[("ack_timeout", "500ms")]).await;
    let sink = connector.connect().await.unwrap();
    proxy.set(ProxyMode::HalfOpen);
    let (result, outcomes) = deliver(&*sink, &[to("half.orders", event(1, Some("a")))]).await;
    let error = result.unwrap_err();
    assert_eq!(error.action, Action::Reconnect);
    assert!(error.to_string().contains("did not acknowledge"), "{error}");
    assert_eq!(words(&outcomes), ["unknown"]);
    proxy.set(ProxyMode::Pass);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stalls_is_given_up_and_takes_events_once_it_goes_on() {
    let nats = Nats::start("").await;
    nats.create_stream("STALLED", &["stalled.orders"], json!({})).await;
    let connector = connector(&nats.url(), &[("ack_timeout", "500ms")]);
    let sink = connector.connect().await.unwrap();
    let batch = [
        to("stalled.orders", event(1, Some("a"))),
        to("stalled.orders", event(2, Some("a"))),
    ];
    nats.stop();
    let (result, _) = deliver(&*sink, &batch).await;
    assert_eq!(result.unwrap_err().action, Action::Reconnect);
    let error = connector.connect().await.err().expect("nobody answers");
    assert_eq!(error.action, Action::Reconnect, "{error}");
    nats.continue_();
    let sink = connector.connect().await.unwrap();
    assert!(settle(&*sink, &batch, 1).await.is_empty());
    assert_eq!(ids(&nats.read_all("STALLED").await), [batch[0].id, batch[1].id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_a_domain_are_reached_by_its_name_or_by_its_prefix() {
    let nats = Nats::start_in_domain("hub").await;
    nats.create_stream("EVENTS", &["shop.>"], json!({})).await;
    for option in [("domain", "hub"), ("api_prefix", "$JS.hub.API")] {
        let sink = connector(&nats.url(), &[option]).connect().await.unwrap();
        let batch = [event(1, Some("a")), to("elsewhere", event(2, Some("b")))];
        let (_, outcomes) = deliver(&*sink, &batch).await;
        assert_eq!(words(&outcomes), ["delivered", "park"], "{option:?}");
    }
    assert_eq!(nats.read_all("EVENTS").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_jetstream_is_told_and_tried_again() {
    let nats = Nats::shared().await;
    let connector = connector(&nats.url(), &[("domain", "hub")]);
    let error = connector.connect().await.err().expect("no such domain");
    assert_eq!(error.action, Action::Reconnect);
    assert!(error.to_string().contains("correct domain or api_prefix"), "{error}");
}
