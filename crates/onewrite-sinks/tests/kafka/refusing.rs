//! Events that will never be accepted, and whose fault a refusal is.

use bytes::Bytes;
use krafka::error::ErrorCode;
use krafka::testing::{ApiKey, Control};
use onewrite_core::Action;

use super::{connector, fake, log, sink, to};
use crate::support::{deliver, event, events, words};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_too_large_stops_its_key_and_no_other() {
    let broker = fake("shop.orders", 1).await;
    let sink = sink(&broker, &[("max_message_bytes", "2000")]).await;
    let mut batch = events(6, &["a", "b"]);
    batch[2].payload = Bytes::from(vec![b'x'; 3_000]);
    let (result, outcomes) = deliver(&*sink, &batch).await;
    assert!(result.is_ok());
    assert_eq!(
        words(&outcomes),
        ["delivered", "delivered", "park", "delivered", "unknown", "delivered"]
    );
    let onewrite_core::Outcome::Failed(error) = &outcomes[2] else {
        panic!()
    };
    assert!(error.to_string().contains("more than max_message_bytes"), "{error}");
    // Core parked it, and the key goes on.
    assert!(deliver(&*sink, &batch[4..5]).await.0.is_ok());
    let ids: Vec<u128> = log(&broker, "shop.orders").iter().map(|id| id.as_u128()).collect();
    assert_eq!(ids.len(), 5);
    assert!(!ids.contains(&3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_cannot_be_or_is_not_there_stops_its_keys_alone() {
    let broker = fake("shop.orders", 1).await;
    let sink = sink(&broker, &[]).await;
    let batch = [
        to("no such/topic", event(1, Some("a"))),
        event(2, Some("a")),
        event(3, Some("b")),
        to("shop.missing", event(4, Some("b"))),
        event(5, Some("b")),
        event(6, None),
        to("shop.missing", event(7, None)),
    ];
    let (result, outcomes) = deliver(&*sink, &batch).await;
    assert!(result.is_ok());
    assert_eq!(
        words(&outcomes),
        ["park", "unknown", "delivered", "park", "unknown", "delivered", "park"]
    );
    for (index, told) in [
        (0, "\"no such/topic\" cannot be a Kafka topic"),
        (3, "topic shop.missing: Broker: Unknown topic or partition"),
    ] {
        let onewrite_core::Outcome::Failed(error) = &outcomes[index] else {
            panic!()
        };
        assert!(error.to_string().contains(told), "{error}");
    }
    assert_eq!(log(&broker, "shop.orders").len(), 2);
    // Its absence is remembered for a moment, so that a flood of such events costs nothing.
    let (_, outcomes) = deliver(&*sink, &[to("shop.missing", event(8, Some("c")))]).await;
    assert_eq!(words(&outcomes), ["park"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_refused_alone_is_parked_with_the_brokers_words() {
    for (code, told) in [
        (ErrorCode::InvalidRecord, "Broker failed to validate record"),
        (ErrorCode::MessageTooLarge, "Message size too large"),
        (
            ErrorCode::TopicAuthorizationFailed,
            "Topic authorization failed; grant this client Write",
        ),
    ] {
        let broker = fake("shop.orders", 1).await;
        let connector = connector(&broker.bootstrap_servers(), &[]);
        broker.on_once(ApiKey::Produce, move |_| Control::Error(code));
        let sink = connector.connect().await.unwrap();
        let (result, outcomes) = deliver(&*sink, &events(3, &["a"])).await;
        assert_eq!(result.unwrap_err().action, Action::Reconnect);
        assert_eq!(words(&outcomes), ["park", "unknown", "unknown"]);
        let onewrite_core::Outcome::Failed(error) = &outcomes[0] else {
            panic!()
        };
        assert!(
            error
                .to_string()
                .starts_with("topic shop.orders, partition 0: Broker: "),
            "{error}"
        );
        assert!(error.to_string().contains(told), "{error}");
        assert!(
            log(&broker, "shop.orders").is_empty(),
            "nothing of its key follows a refused event"
        );
        sink.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_refused_for_one_of_many_records_parks_none_until_they_go_one_by_one() {
    let broker = fake("shop.orders", 1).await;
    let connector = connector(&broker.bootstrap_servers(), &[]);
    let sink = connector.connect().await.unwrap();
    // The first record of the partition goes alone; from then on they share requests.
    assert!(deliver(&*sink, &[event(1, Some("a"))]).await.0.is_ok());
    broker.on_once(ApiKey::Produce, |_| Control::Error(ErrorCode::InvalidRecord));
    let batch: Vec<_> = (2..50).map(|number| event(number, Some("a"))).collect();
    let (result, outcomes) = deliver(&*sink, &batch).await;
    assert_eq!(result.unwrap_err().action, Action::Reconnect);
    assert!(
        words(&outcomes).iter().all(|word| *word == "unknown"),
        "{:?}",
        words(&outcomes)
    );
    sink.close().await.unwrap();

    let sink = connector.connect().await.unwrap();
    let before = broker.request_count(ApiKey::Produce);
    assert!(deliver(&*sink, &batch[..10]).await.0.is_ok());
    assert_eq!(
        broker.request_count(ApiKey::Produce) - before,
        10,
        "one record in each request"
    );
    broker.on_once(ApiKey::Produce, |_| Control::Error(ErrorCode::InvalidRecord));
    let (result, outcomes) = deliver(&*sink, &batch[10..12]).await;
    assert_eq!(result.unwrap_err().action, Action::Reconnect);
    assert_eq!(words(&outcomes), ["park", "unknown"]);
    sink.close().await.unwrap();

    let sink = connector.connect().await.unwrap();
    let before = broker.request_count(ApiKey::Produce);
    assert!(deliver(&*sink, &batch[11..]).await.0.is_ok());
    assert!(
        broker.request_count(ApiKey::Produce) - before < 20,
        "many records in each request again"
    );
    let ids: Vec<u128> = log(&broker, "shop.orders").iter().map(|id| id.as_u128()).collect();
    assert_eq!(ids, (1..50).filter(|number| *number != 12).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_waits_for_the_one_before_of_its_key_in_another_topic() {
    let broker = fake("shop.orders", 1).await;
    broker.create_topic("shop.mail", 1);
    let sink = sink(&broker, &[]).await;
    broker.on(ApiKey::Produce, |_| Control::Error(ErrorCode::PolicyViolation));
    let batch = [event(1, Some("a")), to("shop.mail", event(2, Some("a")))];
    let (result, outcomes) = deliver(&*sink, &batch).await;
    assert!(result.is_err());
    assert_eq!(words(&outcomes), ["park", "unknown"]);
    assert_eq!(broker.request_count(ApiKey::Produce), 1, "the second was never sent");
}
