//! What a user may not do: the server tells of it beside the answer that never comes.

use std::time::{Duration, Instant};

use onewrite_core::error::{Action, chain};
use onewrite_core::sink::FindingLevel;
use onewrite_testkit::servers::Nats;
use serde_json::json;

use super::{connector, ids, to, told};
use crate::support::{deliver, event, settle, words};

/// The relay with these permissions, beside the fixture, who may do everything.
fn relay(permissions: &str) -> String {
    let fixture = Nats::FIXTURE;
    format!(
        "authorization {{ users: [ {{ user: {fixture}, password: {fixture} }}, \
         {{ user: relay, password: right, permissions: {{ {permissions} }} }} ] }}"
    )
}

const LOGIN: [(&str, &str); 2] = [("user", "relay"), ("password", "right")];

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_that_the_user_may_not_publish_to_parks_its_events_and_no_others() {
    let nats = Nats::start(&relay("publish: [\"shop.orders\"], subscribe: [\"_INBOX.>\"]")).await;
    nats.create_stream("EVENTS", &["shop.>"], json!({})).await;
    let connector = connector(&nats.url(), &LOGIN);
    // Not even the question whether JetStream is there is allowed.
    let sink = connector.connect().await.unwrap();
    let batch = [
        to("shop.secret", event(1, Some("a"))),
        to("shop.orders", event(2, Some("a"))),
        to("shop.orders", event(3, Some("b"))),
        to("shop.secret", event(4, Some("c"))),
    ];
    let began = Instant::now();
    let (result, outcomes) = deliver(&*sink, &batch).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(words(&outcomes), ["park", "unknown", "delivered", "park"]);
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "it does not wait for its timeout"
    );
    let words = told(&outcomes[0]);
    assert!(
        words.contains("Permissions Violation for Publish to \"shop.secret\""),
        "{words}"
    );
    assert_eq!(ids(&nats.read_all("EVENTS").await), [batch[2].id]);

    let findings = connector.probe(&["shop.orders".to_owned()]).await;
    assert!(
        findings.iter().all(|finding| finding.level != FindingLevel::Broken),
        "{findings:?}"
    );
    let warned = |finding: &&onewrite_core::sink::Finding| finding.message.contains("Permissions Violation");
    assert!(findings.iter().any(|finding| warned(&finding)), "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_ask_for_streams_an_event_without_one_is_tried_again() {
    let nats = Nats::start(&relay("publish: [\"shop.>\"], subscribe: [\"_INBOX.>\"]")).await;
    let sink = connector(&nats.url(), &LOGIN).connect().await.unwrap();
    let (_, outcomes) = deliver(&*sink, &[event(1, Some("a"))]).await;
    assert_eq!(words(&outcomes), ["retry"]);
    let words = told(&outcomes[0]);
    assert!(
        words.contains("nobody listens to subject shop.orders") && words.contains("STREAM.NAMES"),
        "{words}"
    );
    nats.create_stream("EVENTS", &["shop.>"], json!({})).await;
    assert!(settle(&*sink, &[event(1, Some("a"))], 1).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn forbidden_replies_halt_the_route_and_a_prefix_of_ones_own_works() {
    let nats = Nats::start(&relay("publish: [\">\"], subscribe: [\"_INBOX_relay.>\"]")).await;
    nats.create_stream("EVENTS", &["shop.>"], json!({})).await;
    let error = connector(&nats.url(), &LOGIN)
        .connect()
        .await
        .err()
        .expect("no replies");
    assert_eq!(error.action, Action::Halt, "{}", chain(&error));
    assert!(
        error.to_string().contains("let its user subscribe to _INBOX.>"),
        "{error}"
    );
    let own = [&LOGIN[..], &[("inbox_prefix", "_INBOX_relay")]].concat();
    let sink = connector(&nats.url(), &own).connect().await.unwrap();
    assert!(settle(&*sink, &[event(1, Some("a"))], 1).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_taken_away_in_mid_run_lose_nothing() {
    let all = relay("publish: [\"shop.>\"], subscribe: [\"_INBOX.>\"]");
    let nats = Nats::start(&all).await;
    nats.create_stream("EVENTS", &["shop.>"], json!({})).await;
    let connector = connector(&nats.url(), &LOGIN);
    let sink = connector.connect().await.unwrap();
    assert!(settle(&*sink, &[event(1, Some("a"))], 1).await.is_empty());
    nats.reload(&relay("publish: [\"other.>\"], subscribe: [\"_INBOX.>\"]"))
        .await;
    // The server may have ended the connection for it.
    let (_, outcomes) = deliver(&*sink, &[event(2, Some("a"))]).await;
    assert!(["park", "unknown"].contains(&words(&outcomes)[0]), "{outcomes:?}");
    let sink = connector.connect().await.unwrap();
    let (_, outcomes) = deliver(&*sink, &[event(2, Some("a"))]).await;
    assert_eq!(words(&outcomes), ["park"]);
    nats.reload(&all).await;
    let sink = connector.connect().await.unwrap();
    assert!(settle(&*sink, &[event(2, Some("a"))], 1).await.is_empty());
    assert_eq!(nats.read_all("EVENTS").await.len(), 2);
}
