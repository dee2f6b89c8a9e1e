//! What a request looks like.

use hmac::{Hmac, KeyInit, Mac};
use onewrite_core::Event;
use sha2::Sha256;

use super::receiver::{Received, Receiver, Reply};
use super::sink;
use crate::support::{deliver, event, settle, words};

async fn sent(event: Event, texts: &[(&str, &str)]) -> Received {
    let receiver = Receiver::new().await;
    let sink = sink(&receiver, texts).await;
    let (result, outcomes) = deliver(&*sink, &[event]).await;
    result.unwrap();
    assert_eq!(words(&outcomes), ["delivered"]);
    receiver.seen().remove(0)
}

#[tokio::test]
async fn an_event_is_a_post_of_its_payload() {
    let mut event = event(7, Some("order 42/ü%"));
    event.payload = bytes::Bytes::from_static(b"\x00\xff not JSON at all");
    event.content_type = "application/octet-stream".into();
    event.headers = vec![
        ("traceparent".into(), "00-af-b7-01".into()),
        ("note".into(), "two words".into()),
        ("where".into(), "Köln".into()),
    ];
    let received = sent(
        event.clone(),
        &[("bearer_token", "hunter2"), ("headers", "X-Api-Key=abc;note=ours")],
    )
    .await;
    assert_eq!((received.method.as_str(), received.path.as_str()), ("POST", "/events"));
    assert_eq!(received.body, event.payload);
    for (name, value) in [
        ("content-type", "application/octet-stream"),
        ("idempotency-key", "00000000-0000-0000-0000-000000000007"),
        ("onewrite-id", "00000000-0000-0000-0000-000000000007"),
        ("onewrite-key", "order%2042/%C3%BC%25"),
        ("onewrite-topic", "shop.orders"),
        ("onewrite-type", "OrderPlaced"),
        ("onewrite-occurred-at", "2023-11-14T22:13:20.000001Z"),
        ("traceparent", "00-af-b7-01"),
        ("note", "ours"),
        ("where", "K%C3%B6ln"),
        ("authorization", "Bearer hunter2"),
        ("x-api-key", "abc"),
    ] {
        assert_eq!(received.header(name), Some(value), "{name}");
        assert_eq!(received.headers.get_all(name).iter().count(), 1, "{name}");
    }
    assert_eq!(received.header("onewrite-signature"), None);
}

#[tokio::test]
async fn an_event_with_nothing_optional_and_an_empty_body_goes_out() {
    let mut event = event(1, None);
    event.event_type = None;
    event.payload = bytes::Bytes::new();
    let received = sent(event, &[]).await;
    assert_eq!(received.header("onewrite-key"), None);
    assert_eq!(received.header("onewrite-type"), None);
    assert_eq!(received.header("content-length"), Some("0"));
}

#[tokio::test]
async fn the_largest_key_and_headers_go_out() {
    let mut event = event(1, Some(&"ü".repeat(512)));
    event.headers = (0..64)
        .map(|at| (format!("h{at}").into(), "v".repeat(120).into()))
        .collect();
    let received = sent(event, &[]).await;
    assert_eq!(received.header("onewrite-key").unwrap().len(), 6 * 512);
    assert_eq!(
        received
            .headers
            .iter()
            .filter(|(name, _)| name.as_str().starts_with('h'))
            .count(),
        65
    );
}

#[tokio::test]
async fn no_event_can_add_or_forge_a_header() {
    let mut event = event(1, Some("k\r\nx-injected: key"));
    event.topic = "t\r\nx-injected: topic".into();
    event.event_type = Some("T\r\nx-injected: type".into());
    event.content_type = "a/b\r\nx-injected: content-type".into();
    event.headers = vec![
        (
            "own".into(),
            "v\r\n\r\nPOST /other HTTP/1.1\r\nx-injected: value".into(),
        ),
        ("Host".into(), "elsewhere.example".into()),
        ("Authorization".into(), "Bearer forged".into()),
        ("Transfer-Encoding".into(), "chunked".into()),
        ("Content-Length".into(), "0".into()),
        ("Idempotency-Key".into(), "forged".into()),
    ];
    let receiver = Receiver::new().await;
    let sink = sink(&receiver, &[]).await;
    deliver(&*sink, &[event]).await.0.unwrap();
    let seen = receiver.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].header("x-injected"), None);
    assert_eq!(seen[0].header("authorization"), None);
    assert_eq!(seen[0].header("transfer-encoding"), None);
    assert_eq!(
        seen[0].header("idempotency-key"),
        Some("00000000-0000-0000-0000-000000000001")
    );
    assert_eq!(seen[0].header("host"), Some(receiver.address.to_string().as_str()));
    assert_eq!(seen[0].header("onewrite-key"), Some("k%0D%0Ax-injected:%20key"));
    assert_eq!(&seen[0].body[..], b"{\"number\": 1}");
}

#[tokio::test]
async fn a_header_name_that_cannot_be_one_parks_its_event_alone() {
    let receiver = Receiver::new().await;
    let sink = sink(&receiver, &[]).await;
    let mut bad = event(1, Some("a"));
    bad.headers = vec![("x: y\r\nz".into(), "v".into())];
    let (result, outcomes) = deliver(&*sink, &[bad, event(2, Some("b"))]).await;
    result.unwrap();
    assert_eq!(words(&outcomes), ["park", "delivered"]);
}

#[tokio::test]
async fn a_signature_is_over_the_time_and_the_body() {
    let received = sent(event(1, None), &[("hmac_secret", "s3cret")]).await;
    let header = received.header("onewrite-signature").unwrap();
    let (time, signature) = header.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let age = jiff::Timestamp::now().as_second() - time.parse::<i64>().unwrap();
    assert!((0..60).contains(&age), "{age}");
    let mut mac = Hmac::<Sha256>::new_from_slice(b"s3cret").unwrap();
    mac.update(format!("{time}.").as_bytes());
    mac.update(&received.body);
    let expected: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(signature, expected);
}

#[tokio::test]
async fn a_lost_answer_is_repeated_under_the_same_idempotency_key() {
    let mut lost = 2;
    let receiver = Receiver::scripted(move |_| {
        lost -= 1;
        if lost >= 0 {
            Reply::TakeAndDrop
        } else {
            Reply::Take(201)
        }
    })
    .await;
    let sink = sink(&receiver, &[]).await;
    let parked = settle(&*sink, &[event(9, Some("a"))], 5).await;
    assert!(parked.is_empty());
    let seen = receiver.seen();
    assert_eq!(seen.len(), 3);
    for received in seen {
        assert_eq!(
            received.header("idempotency-key"),
            Some("00000000-0000-0000-0000-000000000009")
        );
    }
}
