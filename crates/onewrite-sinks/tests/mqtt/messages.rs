//! What is sent where.

use onewrite_core::sink::FindingLevel;
use onewrite_testkit::servers::Mosquitto;

use super::{connected, connector, event_for, numbers};
use crate::support::{deliver, settle, words};

#[tokio::test]
async fn the_template_names_the_topic_and_full_stops_become_what_is_wanted() {
    let broker = Mosquitto::shared().await;
    broker.subscribe("events/template/a").await;
    let texts = [("topic", "events.{topic}.{key}"), ("topic_separator", "/")];
    let sink = connected(&broker.url(), &texts).await;
    let batch = [event_for("template", 1, Some("a")), event_for("template", 2, None)];
    let (result, outcomes) = deliver(&*sink, &batch).await;
    result.unwrap();
    assert_eq!(words(&outcomes), ["delivered", "park"]);
    assert_eq!(numbers(&broker, "events/template/a").await, [1]);
}

#[tokio::test]
async fn full_stops_stay_where_nothing_is_said() {
    let broker = Mosquitto::shared().await;
    broker.subscribe("with.full.stops").await;
    let sink = connected(&broker.url(), &[]).await;
    assert!(
        settle(&*sink, &[event_for("with.full.stops", 1, None)], 1)
            .await
            .is_empty()
    );
    assert_eq!(numbers(&broker, "with.full.stops").await, [1]);
}

#[tokio::test]
async fn topics_that_cannot_be_park_and_the_connection_goes_on() {
    let broker = Mosquitto::shared().await;
    broker.subscribe("possible").await;
    let sink = connected(&broker.url(), &[("topic", "{header.to}")]).await;
    let to = |number, topic: &str| {
        let mut event = event_for("t", number, None);
        event.headers = vec![("to".into(), topic.into())];
        event
    };
    let batch = [
        to(1, "a/+"),
        to(2, "#"),
        to(3, "a\u{ffff}b"),
        to(4, "a\tb"),
        to(5, &"x".repeat(70_000)),
        to(6, "possible"),
    ];
    let (result, outcomes) = deliver(&*sink, &batch).await;
    result.unwrap();
    assert_eq!(words(&outcomes), ["park", "park", "park", "park", "park", "delivered"]);
}

#[tokio::test]
async fn what_is_retained_is_there_for_those_who_come_later() {
    let broker = Mosquitto::shared().await;
    let texts = [
        ("retain", "true"),
        ("require_subscribers", "false"),
        ("message_expiry", "1h"),
    ];
    let sink = connected(&broker.url(), &texts).await;
    let batch = [event_for("retained", 1, Some("a")), event_for("retained", 2, Some("a"))];
    assert!(settle(&*sink, &batch, 1).await.is_empty());
    broker.subscribe("retained").await;
    assert_eq!(numbers(&broker, "retained").await, [2]);
}

#[tokio::test]
async fn a_check_tells_what_works_and_sends_nothing() {
    let broker = Mosquitto::start(&[("max_packet_size", "5000")], &[]).await;
    broker.subscribe("looked/at").await;
    let topics = ["looked.at", "a.#"].map(str::to_owned);
    let texts = [("topic_separator", "/"), ("qos", "2"), ("client_id", "relay")];
    let connector = connector(&broker.url(), &texts);
    let sink = connector.connect().await.unwrap();
    let findings = connector.probe(&topics).await;
    let told: Vec<_> = findings
        .iter()
        .map(|finding| (finding.level, finding.message.as_str()))
        .collect();
    let expected = [
        (
            FindingLevel::Works,
            "20 messages under way and packets of 5000 bytes at most",
        ),
        (FindingLevel::Works, "can be sent to"),
        (FindingLevel::Broken, "holds '#'"),
        (FindingLevel::Warning, "do not tell that nobody subscribes"),
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for ((level, message), (expected, part)) in told.iter().zip(expected) {
        assert!(*level == expected && message.contains(part), "{level:?} {message}");
    }
    assert!(numbers(&broker, "looked/at").await.is_empty());
    // The relay's own session goes on beside the check's.
    assert!(settle(&*sink, &[event_for("looked.at", 1, None)], 1).await.is_empty());
}
