//! Many events a request.

use std::collections::HashSet;

use onewrite_core::Action;
use serde_json::Value;
use uuid::Uuid;

use super::receiver::{Receiver, Reply};
use super::sink;
use crate::support::{deliver, event, events, words};

const BATCH: &[(&str, &str)] = &[("mode", "batch"), ("max_batch_events", "4")];

#[tokio::test]
async fn a_request_is_an_array_of_envelopes_of_different_keys() {
    let receiver = Receiver::new().await;
    let sink = sink(&receiver, BATCH).await;
    let mut batch = events(9, &["a", "b", "c"]);
    batch.extend([event(10, None), event(11, None)]);
    let (result, outcomes) = deliver(&*sink, &batch).await;
    result.unwrap();
    assert!(words(&outcomes).iter().all(|word| *word == "delivered"));
    receiver.check_order();
    let seen = receiver.seen();
    for received in &seen {
        assert!(received.events.len() <= 4);
        let keys: Vec<_> = received.events.iter().filter_map(|(_, key)| key.clone()).collect();
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
        assert_eq!(received.header("content-type"), Some("application/json"));
        assert_eq!(received.header("onewrite-id"), None);
    }
    let keys: HashSet<_> = seen.iter().map(|received| received.header("idempotency-key")).collect();
    assert_eq!(keys.len(), seen.len());
    let body: Value = serde_json::from_slice(&seen[0].body).unwrap();
    assert_eq!(body[0]["payload"]["number"], 1);
    assert_eq!(body[0]["type"], "OrderPlaced");
}

#[tokio::test]
async fn the_same_events_have_the_same_idempotency_key() {
    let mut first = true;
    let receiver = Receiver::scripted(move |_| {
        if std::mem::take(&mut first) {
            Reply::TakeAndDrop
        } else {
            Reply::Take(200)
        }
    })
    .await;
    let sink = sink(&receiver, BATCH).await;
    let batch = events(3, &["a", "b", "c"]);
    assert_eq!(words(&deliver(&*sink, &batch).await.1), ["unknown"; 3]);
    assert_eq!(words(&deliver(&*sink, &batch).await.1), ["delivered"; 3]);
    let seen = receiver.seen();
    assert_eq!(seen[0].header("idempotency-key"), seen[1].header("idempotency-key"));
}

#[tokio::test]
async fn an_answer_can_reject_some() {
    let (again, never) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let body = format!(
        "{{\"failed\": [{{\"id\": \"{again}\"}}, {{\"id\": \"{}\", \"retry\": false, \"error\": \"no\\nsuch customer\"}}], \"ok\": 1}}",
        never.simple().to_string().to_uppercase()
    );
    let receiver = Receiver::scripted(move |_| Reply::TakeBut(vec![again, never], body.clone())).await;
    let sink = sink(&receiver, BATCH).await;
    let (result, outcomes) = deliver(&*sink, &events(3, &["a", "b", "c"])).await;
    result.unwrap();
    assert_eq!(words(&outcomes), ["retry", "park", "delivered"]);
    assert!(
        format!("{:?}", outcomes[1]).contains("no\\\\nsuch customer"),
        "{:?}",
        outcomes[1]
    );
}

#[tokio::test]
async fn an_answer_that_cannot_be_understood_settles_nothing() {
    let stranger = format!("{{\"failed\":[{{\"id\":\"{}\"}}]}}", Uuid::from_u128(99));
    let long = format!("{{\"failed\":[],\"padding\":\"{}\"}}", "x".repeat(300_000));
    for body in [
        "{\"failed\":[{\"id\":",
        "{\"failed\":[{\"id\":\"seven\"}]}",
        "{\"failed\":1}",
        &stranger,
        &long,
    ] {
        let body = body.to_owned();
        let receiver = Receiver::scripted(move |_| Reply::Refuse(200, Vec::new(), body.clone())).await;
        let sink = sink(&receiver, BATCH).await;
        let (result, outcomes) = deliver(&*sink, &events(3, &["a", "b", "c"])).await;
        result.unwrap();
        assert_eq!(words(&outcomes), ["retry"; 3]);
    }
    for body in ["", "ok", "[]", "{}", " {\"accepted\": 3}", "{\"failed\": []}"] {
        let receiver = Receiver::scripted(move |_| Reply::Refuse(200, Vec::new(), body.to_owned())).await;
        let sink = sink(&receiver, BATCH).await;
        assert_eq!(
            words(&deliver(&*sink, &events(3, &["a", "b", "c"])).await.1),
            ["delivered"; 3]
        );
    }
}

#[tokio::test]
async fn only_the_culprit_of_a_refused_request_is_parked() {
    for (status, word) in [(413, "park"), (400, "park"), (422, "park"), (500, "retry")] {
        let culprit = Uuid::from_u128(6);
        let receiver = Receiver::scripted(move |received| {
            if received.events.iter().any(|(id, _)| *id == culprit) {
                Reply::Refuse(status, Vec::new(), "no".to_owned())
            } else {
                Reply::Take(200)
            }
        })
        .await;
        let sink = sink(&receiver, &[("mode", "batch")]).await;
        let batch: Vec<_> = (1..=20).map(|number| event(number, None)).collect();
        let (result, outcomes) = deliver(&*sink, &batch).await;
        result.unwrap();
        for (event, found) in batch.iter().zip(words(&outcomes)) {
            assert_eq!(
                found,
                if event.id == culprit { word } else { "delivered" },
                "{status} {}",
                event.id
            );
        }
        assert!(receiver.seen().len() < 12, "{}", receiver.seen().len());
    }
}

#[tokio::test]
async fn a_refused_address_parks_nothing() {
    let receiver = Receiver::scripted(|_| Reply::Refuse(404, Vec::new(), String::new())).await;
    let sink = sink(&receiver, BATCH).await;
    let (result, outcomes) = deliver(&*sink, &events(3, &["a", "b", "c"])).await;
    assert_eq!(result.unwrap_err().action, Action::Retry { after: None });
    assert_eq!(words(&outcomes), ["retry"; 3]);
    assert_eq!(receiver.seen().len(), 1);
}

#[tokio::test]
async fn large_payloads_are_spread_over_requests() {
    let receiver = Receiver::new().await;
    let sink = sink(&receiver, &[("mode", "batch")]).await;
    let mut batch: Vec<_> = (1..=6).map(|number| event(number, None)).collect();
    for event in &mut batch {
        event.payload = vec![b'x'; 300_000].into();
    }
    let (_, outcomes) = deliver(&*sink, &batch).await;
    assert!(words(&outcomes).iter().all(|word| *word == "delivered"));
    assert!(receiver.seen().iter().all(|received| received.body.len() < 1024 * 1024));
}
