//! What arrives, and what a check tells of topics.

use std::collections::BTreeSet;

use onewrite_core::Event;
use onewrite_core::sink::FindingLevel;

use super::stub::Stub;
use super::{connector, sink};
use crate::aws::hex;
use crate::support::{deliver, event, events, settle, words};

#[tokio::test]
async fn a_standard_topic_takes_batches_without_groups() {
    let stub = Stub::start(&["standard"]).await;
    let mut batch = events(100, &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"]);
    batch.push(event(101, None));
    let (result, outcomes) = deliver(&*sink(&stub, "standard").await, &batch).await;
    result.unwrap();
    assert_eq!(words(&outcomes), vec!["delivered"; 101]);
    let ids: BTreeSet<_> = stub.read_all("standard").iter().map(|arrived| arrived.id).collect();
    assert_eq!(ids, batch.iter().map(|event| event.id).collect());
    stub.assert_allowed();
}

#[tokio::test]
async fn groups_are_keys_and_repetitions_are_known_by_the_id() {
    let stub = Stub::start(&["orders.fifo"]).await;
    let sink = sink(&stub, "orders.fifo").await;
    let long = "k".repeat(129);
    let mut replayed = event(5, Some("a"));
    replayed.replay = Some(3);
    let sent = [
        event(1, Some("a")),
        event(2, None),
        event(3, Some(&long)),
        event(4, Some("é")),
        replayed,
    ];
    assert!(settle(&*sink, &sent, 1).await.is_empty());
    let again = stub.messages("orders.fifo");
    // Everything once more: SNS drops it, and says that it was taken.
    assert!(settle(&*sink, &sent, 1).await.is_empty());
    assert_eq!(stub.messages("orders.fifo").len(), again.len());

    let mut found: Vec<_> = again.into_iter().map(|message| message.fifo.unwrap()).collect();
    found.sort_by(|one, other| one.1.cmp(&other.1));
    let hash = |key: &str| hex(&<sha2::Sha256 as sha2::Digest>::digest(key));
    let id = |number: usize| sent[number - 1].id.to_string();
    let expected = [
        ("a".to_owned(), id(1)),
        (id(2), id(2)),
        (hash(&long), id(3)),
        (hash("é"), id(4)),
        ("a".to_owned(), format!("{}-3", id(5))),
    ];
    assert_eq!(found, expected);
    stub.assert_allowed();
}

#[tokio::test]
async fn what_a_message_cannot_carry_as_it_is_comes_back() {
    let stub = Stub::start(&["odd"]).await;
    let with = |number: u128, payload: &[u8], headers: &[(&str, &str)]| Event {
        payload: payload.to_vec().into(),
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect(),
        ..event(number, Some("a\u{1}b"))
    };
    let many: Vec<_> = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"]
        .into_iter()
        .map(|name| (name, "x"))
        .collect();
    let batch = [
        with(1, b"", &[]),
        with(2, &[0xff, 0x00], &[]),
        with(3, "a\u{0}".as_bytes(), &[]),
        with(4, "a=b&c+d %20 ä 🦀\r\n<x>".as_bytes(), &[("a.b", "&+% <ü>")]),
        with(5, b"{}", &many),
        with(6, b"{}", &[("AWS.x", "1"), ("empty", ""), ("traceparent", "00-1")]),
    ];
    assert!(settle(&*sink(&stub, "odd").await, &batch, 1).await.is_empty());
    let arrived = stub.read_all("odd");
    assert_eq!(arrived.len(), batch.len());
    for (arrived, sent) in arrived.iter().zip(&batch) {
        assert_eq!(arrived.id, sent.id);
        assert_eq!(arrived.payload, sent.payload);
        assert_eq!(arrived.key.as_deref(), sent.key.as_deref());
        for (name, value) in &sent.headers {
            let found = &arrived.headers[&name.to_ascii_lowercase()];
            assert_eq!(**found, **value, "{name}");
        }
    }
    stub.assert_allowed();
}

#[tokio::test]
async fn batches_stay_below_the_limit_of_sns_and_a_larger_event_is_parked() {
    let stub = Stub::start(&["large"]).await;
    let mut batch = events(8, &["a", "b", "c", "d", "e", "f", "g", "h"]);
    for event in &mut batch[..7] {
        event.payload = vec![b'x'; 100_000].into();
    }
    batch[7].payload = vec![b'x'; 262_144].into();
    let (result, outcomes) = deliver(&*sink(&stub, "large").await, &batch).await;
    result.unwrap();
    let mut expected = vec!["delivered"; 7];
    expected.push("park");
    assert_eq!(words(&outcomes), expected);
    assert_eq!(stub.with(|state| state.batches), 4, "two fit a batch");
    stub.assert_allowed();
}

#[tokio::test]
async fn a_check_tells_who_listens() {
    let stub = Stub::start(&["heard.fifo", "heard", "unheard.fifo", "closed"]).await;
    stub.topic("heard.fifo", |topic| topic.subscriptions = 2);
    stub.topic("heard", |topic| topic.subscriptions = 1);
    stub.topic("closed", |topic| {
        topic.refuses = Some((403, "AuthorizationError", "not yours"))
    });
    let connector = connector(&stub.address(), "{topic}", &[]);
    let topics = ["heard.fifo", "heard", "unheard.fifo", "closed", "missing", "not.a.name"].map(str::to_owned);
    let findings = connector.probe(&topics).await;
    let expected = [
        (FindingLevel::Works, "answers (200 OK)"),
        (FindingLevel::Works, "2 confirmed subscriptions"),
        (FindingLevel::Warning, "a standard topic"),
        (
            FindingLevel::Warning,
            "has 0 confirmed subscriptions and 1 pending: SNS takes every event and drops it",
        ),
        (FindingLevel::Warning, "AuthorizationError: not yours"),
        (FindingLevel::Broken, "NotFound: Topic does not exist"),
        (FindingLevel::Broken, "is not the ARN of a topic"),
    ];
    assert_eq!(findings.len(), expected.len(), "{findings:?}");
    for (finding, (level, words)) in findings.iter().zip(expected) {
        assert_eq!(finding.level, level, "{finding:?}");
        assert!(finding.message.contains(words), "{finding:?}");
    }
    assert_eq!(stub.with(|state| state.batches), 0, "a check sends nothing");
    stub.assert_allowed();
}
