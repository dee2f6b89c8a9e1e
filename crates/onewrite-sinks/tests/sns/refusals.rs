//! Topics that go away, rights that are taken, connections that break, and strangers.

use std::time::Duration;

use onewrite_core::Action;
use onewrite_core::error::chain;
use onewrite_sinks::sns::build;
use onewrite_testkit::faults::{FaultProxy, ProxyMode};

use super::stub::Stub;
use super::{arn, connector, options, sink};
use crate::authority::Authority;
use crate::support::{deliver, event, events, settle, words};

#[tokio::test]
async fn a_topic_deleted_in_mid_run_parks_its_own_events() {
    let stub = Stub::start(&["gone", "orders.fifo"]).await;
    let sink = sink(&stub, "{type}").await;
    let to = |number, topic: &str| {
        let mut event = event(number, Some(topic));
        event.event_type = Some(topic.into());
        event
    };
    assert_eq!(words(&deliver(&*sink, &[to(1, "gone")]).await.1), ["delivered"]);
    stub.with(|state| state.topics.remove(&arn("gone")));
    let batch = [to(2, "gone"), to(3, "orders.fifo"), to(4, "not a name"), to(5, "gone")];
    let (result, outcomes) = deliver(&*sink, &batch).await;
    result.unwrap();
    assert_eq!(words(&outcomes), ["park", "delivered", "park", "unknown"]);
    stub.assert_allowed();
}

#[tokio::test]
async fn a_wrong_secret_and_one_that_is_revoked_halt_the_route() {
    let stub = Stub::start(&["orders"]).await;
    let wrong = connector(&stub.address(), "orders", &[("secret_access_key", "another")]);
    let sink_of_wrong = wrong.connect().await.unwrap();
    let (result, outcomes) = deliver(&*sink_of_wrong, &[event(1, None)]).await;
    assert_eq!(result.unwrap_err().action, Action::Halt);
    assert_eq!(words(&outcomes), ["unknown"]);

    let sink = sink(&stub, "orders").await;
    assert_eq!(words(&deliver(&*sink, &[event(1, None)]).await.1), ["delivered"]);
    stub.with(|state| state.secret = "a new one");
    let (result, outcomes) = deliver(&*sink, &[event(2, None)]).await;
    let error = result.unwrap_err();
    assert_eq!(error.action, Action::Halt);
    assert!(chain(&error).contains("check the credentials"), "{}", chain(&error));
    assert_eq!(words(&outcomes), ["unknown"]);
    assert_eq!(stub.messages("orders").len(), 1);
}

#[tokio::test]
async fn a_permission_taken_in_mid_run_halts_the_route() {
    let stub = Stub::start(&["orders"]).await;
    let sink = sink(&stub, "orders").await;
    assert_eq!(words(&deliver(&*sink, &[event(1, None)]).await.1), ["delivered"]);
    stub.topic("orders", |topic| {
        topic.refuses = Some((403, "AuthorizationError", "no"))
    });
    let (result, outcomes) = deliver(&*sink, &events(20, &["a", "b"])).await;
    assert_eq!(result.unwrap_err().action, Action::Halt);
    assert_eq!(words(&outcomes), vec!["unknown"; 20]);
    stub.topic("orders", |topic| topic.refuses = None);
    assert!(settle(&*sink, &events(20, &["a", "b"]), 1).await.is_empty());
}

#[tokio::test]
async fn throttling_makes_everything_wait_and_parks_nothing() {
    let stub = Stub::start(&["orders"]).await;
    let sink = sink(&stub, "orders").await;
    stub.topic("orders", |topic| {
        topic.refuses = Some((429, "Throttled", "Rate exceeded"))
    });
    let (result, outcomes) = deliver(&*sink, &events(20, &["a", "b"])).await;
    assert_eq!(result.unwrap_err().action, Action::Retry { after: None });
    assert_eq!(words(&outcomes), vec!["unknown"; 20]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_loses_nothing_and_a_lost_reply_repeats_nothing() {
    let stub = Stub::start(&["cut.fifo"]).await;
    let proxy = FaultProxy::start(stub.address().parse().unwrap()).await.unwrap();
    let connector = connector(&proxy.address().to_string(), "cut.fifo", &[("timeout", "500ms")]);
    let batch = events(60, &["a", "b", "c", "d"]);
    for mode in [
        ProxyMode::Limit(5_000),
        ProxyMode::Reset,
        ProxyMode::HalfOpen,
        ProxyMode::DropReplies,
        ProxyMode::Delay(Duration::from_secs(2)),
    ] {
        proxy.set(ProxyMode::Pass);
        let sink = connector.connect().await.unwrap();
        proxy.set(mode);
        let (result, outcomes) = deliver(&*sink, &batch).await;
        assert_eq!(result.unwrap_err().action, Action::Reconnect, "{mode:?}");
        let told = words(&outcomes);
        assert!(
            told.iter().all(|word| ["delivered", "unknown"].contains(word)),
            "{mode:?} {told:?}"
        );
    }
    proxy.set(ProxyMode::Pass);
    let sink = connector.connect().await.unwrap();
    assert!(settle(&*sink, &batch, 1).await.is_empty());
    let arrived = stub.read_all("cut.fifo");
    assert_eq!(arrived.len(), 60);
    for key in ["a", "b", "c", "d"] {
        let of_key = arrived.iter().filter(|arrived| arrived.key.as_deref() == Some(key));
        let ids: Vec<_> = of_key.map(|arrived| arrived.id).collect();
        assert!(ids.is_sorted(), "{key}: {ids:?}");
    }
    stub.assert_allowed();
}

#[tokio::test]
async fn certificates_are_checked_on_both_sides() {
    let (authority, other) = (Authority::new("ours"), Authority::new("another"));
    let stub = Stub::encrypted(&["orders"], authority.acceptor()).await;
    authority.sign("relay", "client");
    let endpoint = format!("https://{}", stub.address());
    let [ca, certificate, key] = ["ca.pem", "client.pem", "client.key"].map(|name| authority.file(name));
    let trusting = |ca: &str| {
        let texts = [
            ("endpoint_url", endpoint.as_str()),
            ("ca_file", ca),
            ("certificate_file", &certificate),
            ("key_file", &key),
        ];
        build(&options(&arn("orders"), &texts)).unwrap()
    };
    let sink = trusting(&ca).connect().await.unwrap();
    assert_eq!(words(&deliver(&*sink, &[event(1, None)]).await.1), ["delivered"]);

    let error = trusting(&other.file("ca.pem")).connect().await.err().unwrap();
    assert_eq!(error.action, Action::Reconnect);
    assert!(chain(&error).contains("UnknownIssuer"), "{}", chain(&error));
    assert_eq!(stub.messages("orders").len(), 1, "nothing was sent to a stranger");
}
