//! What goes over the wire.

use onewrite_core::Event;

use super::reference::arrived;
use super::stub::Stub;
use super::{QUEUE, sink};
use crate::support::{deliver, event, words};

async fn delivered(stub: &Stub, texts: &[(&str, &str)], event: Event) {
    let sink = sink(stub, texts).await;
    let (result, outcomes) = deliver(&*sink, &[event]).await;
    assert!(
        result.is_ok() && words(&outcomes) == ["delivered"],
        "{result:?} {outcomes:?}"
    );
}

#[tokio::test]
async fn a_message_is_persistent_and_carries_the_id_and_all_headers() {
    let stub = Stub::start(&[QUEUE]).await;
    let mut sent = event(7, Some("käse"));
    sent.headers = vec![("X_Odd".into(), "a \"quoted\"; value".into())];
    delivered(&stub, &[], sent).await;
    let message = &stub.messages(QUEUE)[0];
    assert!(message.persistent);
    assert_eq!((message.expiry, message.priority), (None, None));
    assert_eq!(message.correlation, format!("{:0>32}{:0>16}", 7, 0));
    assert_eq!(message.body, "{\"number\": 7}");
    assert_eq!(message.content_type, "application/json;charset=utf-8");
    let property = |name: &str| message.properties[name].as_str();
    assert_eq!(property("onewrite_topic"), "\"shop.orders\"");
    assert_eq!(property("onewrite_key"), "\"k%C3%A4se\"");
    assert_eq!(property("content_type"), "\"application/json\"");
    assert_eq!(property("X$5fOdd"), "\"a%20%22quoted%22%3B%20value\"");
}

#[tokio::test]
async fn options_of_the_message_are_sent() {
    let stub = Stub::start(&["a/b%c.D"]).await;
    let texts = [
        ("queue", "a/b%c.D"),
        ("expiry", "2m"),
        ("priority", "7"),
        ("persistent", "false"),
        ("properties", "plain"),
    ];
    delivered(&stub, &texts, event(1, None)).await;
    let message = &stub.messages("a/b%c.D")[0];
    assert!(!message.persistent);
    assert_eq!((message.expiry, message.priority), (Some(120_000), Some(7)));
    assert_eq!(message.properties["onewrite_type"], "OrderPlaced");
}

#[tokio::test]
async fn older_versions_carry_the_id_and_the_body_alone() {
    for version in ["v1", "v2"] {
        let stub = Stub::start(&[QUEUE]).await;
        delivered(&stub, &[("api_version", version)], event(7, None)).await;
        let message = &stub.messages(QUEUE)[0];
        assert!(message.properties.is_empty());
        assert_eq!(message.correlation, format!("{:0>32}{:0>16}", 7, 0));
    }
}

#[tokio::test]
async fn a_payload_that_is_no_text_is_encoded_where_something_can_say_so() {
    let stub = Stub::start(&[QUEUE]).await;
    let mut binary = event(1, None);
    binary.payload = vec![0xff, 0x00, 0x80].into();
    delivered(&stub, &[], binary.clone()).await;
    let message = &stub.messages(QUEUE)[0];
    assert_eq!(message.content_type, "text/plain;charset=utf-8");
    assert_eq!(arrived(message).payload, [0xff, 0x00, 0x80]);

    for texts in [("api_version", "v2"), ("properties", "none")] {
        let sink = sink(&stub, &[texts]).await;
        let (result, outcomes) = deliver(&*sink, &[binary.clone(), event(2, None)]).await;
        result.unwrap();
        assert_eq!(words(&outcomes), ["park", "delivered"], "{texts:?}");
    }
}

#[tokio::test]
async fn topics_are_published_to_level_by_level() {
    let stub = Stub::start(&[]).await;
    let texts = [
        ("destination", "topic"),
        ("topic_string", "onewrite/{topic}/{key|none}"),
    ];
    delivered(&stub, &texts, event(1, Some("50%?"))).await;
    assert_eq!(stub.with(|state| state.topics["onewrite/shop.orders/50%?"].len()), 1);

    let sink = sink(&stub, &texts).await;
    let (result, outcomes) = deliver(&*sink, &[event(2, Some(".."))]).await;
    result.unwrap();
    assert_eq!(words(&outcomes), ["park"]);
}

#[tokio::test]
async fn an_event_that_names_no_queue_is_parked_before_it_is_sent() {
    let stub = Stub::start(&[QUEUE]).await;
    let sink = sink(&stub, &[("queue", "{key}")]).await;
    let before = stub.with(|state| state.requests);
    let long = "Q".repeat(49);
    let batch = [
        event(1, Some("a-b")),
        event(2, None),
        event(3, Some(&long)),
        event(4, Some(".")),
    ];
    let (result, outcomes) = deliver(&*sink, &batch).await;
    result.unwrap();
    assert_eq!(words(&outcomes), ["park"; 4]);
    assert_eq!(stub.with(|state| state.requests), before);
}

#[tokio::test]
async fn a_message_above_the_limit_is_parked_alone_before_it_is_sent() {
    let stub = Stub::start(&[QUEUE]).await;
    let sink = sink(&stub, &[("max_message_bytes", "2kB")]).await;
    let mut large = event(1, Some("a"));
    large.payload = vec![b'x'; 2_000].into();
    let (result, outcomes) = deliver(&*sink, &[large, event(2, Some("b"))]).await;
    result.unwrap();
    assert_eq!(words(&outcomes), ["park", "delivered"]);
    assert_eq!(stub.messages(QUEUE).len(), 1);
}
