//! What an event looks like at the broker.

use onewrite_testkit::servers::RabbitMq;

use super::{connector, name, to};
use crate::support::{deliver, words};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_a_persistent_message_with_the_protocols_own_properties() {
    let rabbit = RabbitMq::shared().await;
    let queue = name("message");
    rabbit.create_queue(&queue, "classic").await;
    let options = [("priority", "{header.priority|3}"), ("expiration", "1h")];
    let sink = connector(&rabbit.url(), &options).connect().await.unwrap();
    let mut event = to(&queue, 7, Some("order 42"));
    event.headers = vec![
        ("traceparent".into(), "00-1-2-01".into()),
        ("CC".into(), "elsewhere".into()),
        ("x-death".into(), "made up".into()),
        ("content-type".into(), "a lie".into()),
    ];
    assert_eq!(
        words(&deliver(&*sink, std::slice::from_ref(&event)).await.1),
        ["delivered"]
    );
    let [message] = &rabbit.read_published(&queue).await[..] else {
        panic!("one message")
    };
    assert_eq!(message.body, event.payload);
    let expected = [
        ("app-id", "onewrite"),
        ("content-type", "application/json"),
        ("delivery-mode", "2"),
        ("expiration", "3600000"),
        ("message-id", "00000000-0000-0000-0000-000000000007"),
        ("priority", "3"),
        ("timestamp", "1700000000"),
        ("type", "OrderPlaced"),
    ];
    let found: Vec<_> = message
        .properties
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    assert_eq!(found, expected);
    let headers: Vec<_> = message
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let expected = [
        ("onewrite-key", "order 42"),
        ("onewrite-occurred-at", "2023-11-14T22:13:20.000001Z"),
        ("onewrite-topic", queue.as_str()),
        ("traceparent", "00-1-2-01"),
    ];
    assert_eq!(headers, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_format_lays_down_all_headers_nothing_is_added() {
    let rabbit = RabbitMq::shared().await;
    let queue = name("complete");
    rabbit.create_queue(&queue, "classic").await;
    let sink = connector(&rabbit.url(), &[]).connect().await.unwrap();
    let mut event = to(&queue, 7, Some("k"));
    event.headers_complete = true;
    event.headers = vec![("cloudEvents_id".into(), "7".into())];
    assert_eq!(words(&deliver(&*sink, &[event]).await.1), ["delivered"]);
    let [message] = &rabbit.read_published(&queue).await[..] else {
        panic!("one message")
    };
    assert_eq!(message.headers, [("cloudEvents_id".to_owned(), "7".to_owned())]);
    let names: Vec<_> = message.properties.keys().copied().collect();
    assert_eq!(names, ["content-type", "delivery-mode", "message-id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_what_no_message_can_be_made_is_parked() {
    let rabbit = RabbitMq::shared().await;
    let queue = name("unmade");
    rabbit.create_queue(&queue, "classic").await;
    let options = [("routing_key", "{header.to}"), ("priority", "{header.priority|0}")];
    let sink = connector(&rabbit.url(), &options).connect().await.unwrap();
    let with = |number, headers: &[(&str, &str)]| {
        let mut event = to("t", number, None);
        event.headers = headers
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        event
    };
    let long = "x".repeat(256);
    let batch = [
        with(1, &[]),
        with(2, &[("to", &long)]),
        with(3, &[("to", &queue), ("priority", "high")]),
        with(4, &[("to", &queue), (&long, "")]),
        with(5, &[("to", &queue), ("priority", "255")]),
    ];
    let (result, outcomes) = deliver(&*sink, &batch).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(words(&outcomes), ["park", "park", "park", "park", "delivered"]);
    let said = format!("{outcomes:?}");
    for part in [
        "header \\\"to\\\"",
        "the routing key",
        "the priority is \\\"high\\\"",
        "the name of a header",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
