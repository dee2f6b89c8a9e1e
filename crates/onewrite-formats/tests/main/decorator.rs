//! What the decorator promises, whatever the format.

use std::sync::Arc;
use std::task::{Context, Waker};

use async_trait::async_trait;
use onewrite_core::sink::Finding;
use onewrite_core::{DeliveryReport, Event, Outcome, Sink, SinkConnector, SinkError};
use onewrite_formats::format::Outgoing;
use onewrite_formats::{Format, formatted};
use onewrite_testkit::memory::MemoryBroker;

use crate::support::{deliver, event, sink};

/// Fails as the payload says.
struct Moody;

#[async_trait]
impl Format for Moody {
    fn kind(&self) -> &'static str {
        "moody"
    }

    async fn format(&self, outgoing: &Outgoing<'_>) -> Result<Event, SinkError> {
        match &outgoing.event.payload[..] {
            b"park" => Err(SinkError::park("it cannot be written so")),
            b"retry" => Err(SinkError::retry("the registry is away")),
            b"halt" => Err(SinkError::halt("the password is wrong")),
            _ => Ok(outgoing.event.clone()),
        }
    }
}

fn batch(events: &[(&str, &str)]) -> Vec<Event> {
    let numbered = (1..).zip(events);
    numbered
        .map(|(number, (key, payload))| event(number, Some(key), payload))
        .collect()
}

#[test]
fn native_without_a_topic_is_the_connector_itself() {
    let connector: Arc<dyn SinkConnector> = MemoryBroker::new().connector();
    let same = formatted(Arc::clone(&connector), None, None).unwrap();
    assert!(Arc::ptr_eq(&connector, &same));
}

#[tokio::test]
async fn an_event_that_cannot_be_formatted_stops_its_key_alone() {
    let broker = MemoryBroker::new();
    let sink = sink(broker.connector(), Some(Arc::new(Moody)), None).await;
    let batch = batch(&[
        ("a", "1"),
        ("b", "park"),
        ("c", "retry"),
        ("b", "2"),
        ("a", "3"),
        ("c", "4"),
    ]);
    let (result, words) = deliver(&*sink, &batch).await;
    result.unwrap();
    let expected = [
        "delivered",
        "Park: it cannot be written so",
        "Retry { after: None }: the registry is away",
        "unknown",
        "delivered",
        "unknown",
    ];
    assert_eq!(words, expected);
    assert_eq!(broker.ids(), [batch[0].id, batch[4].id]);
}

#[tokio::test]
async fn what_the_sink_says_is_said_of_the_right_event() {
    let broker = MemoryBroker::new();
    broker.refuse(|event| (event.payload == "2").then(|| "no".to_owned()));
    let sink = sink(broker.connector(), Some(Arc::new(Moody)), None).await;
    let batch = batch(&[("b", "park"), ("a", "1"), ("c", "2"), ("a", "3")]);
    let (_, words) = deliver(&*sink, &batch).await;
    assert_eq!(
        words,
        ["Park: it cannot be written so", "delivered", "Park: no", "delivered"]
    );
}

#[tokio::test]
async fn an_error_about_the_route_is_one_of_the_delivery() {
    let broker = MemoryBroker::new();
    let sink = sink(broker.connector(), Some(Arc::new(Moody)), None).await;
    let (result, words) = deliver(&*sink, &batch(&[("a", "1"), ("b", "halt"), ("c", "2")])).await;
    assert_eq!(result.unwrap_err().to_string(), "the password is wrong");
    assert_eq!(words, ["delivered", "unknown", "unknown"]);
    broker.stop();
    let (result, words) = deliver(&*sink, &batch(&[("a", "1"), ("b", "park")])).await;
    assert!(result.unwrap_err().to_string().contains("broke"));
    assert_eq!(words, ["unknown", "Park: it cannot be written so"]);
}

#[tokio::test]
async fn the_topic_is_that_of_the_template() {
    let broker = MemoryBroker::new();
    let sink = sink(broker.connector(), None, Some("shop.{topic}.{key}")).await;
    let mut batch = batch(&[("a", "1"), ("b", "2")]);
    batch[1].key = None;
    let (_, words) = deliver(&*sink, &batch).await;
    assert_eq!(words[0], "delivered");
    assert!(
        words[1].starts_with("Park: the template \"shop.{topic}.{key}\" needs the event's key"),
        "{words:?}"
    );
    assert_eq!(&*broker.log()[0].topic, "shop.orders.a");
}

/// Notes the first event and then never ends.
struct Stuck;

#[async_trait]
impl SinkConnector for Stuck {
    fn kind(&self) -> &'static str {
        "stuck"
    }

    async fn connect(&self) -> Result<Box<dyn Sink>, SinkError> {
        Ok(Box::new(Stuck))
    }

    async fn probe(&self, _: &[String]) -> Vec<Finding> {
        Vec::new()
    }
}

#[async_trait]
impl Sink for Stuck {
    async fn deliver(&self, _: &[Event], report: &mut DeliveryReport) -> Result<(), SinkError> {
        report.delivered(0);
        std::future::pending().await
    }

    async fn close(&self) -> Result<(), SinkError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_dropped_delivery_keeps_what_was_known() {
    let sink = sink(Arc::new(Stuck), Some(Arc::new(Moody)), None).await;
    let batch = batch(&[("a", "park"), ("b", "2"), ("c", "3")]);
    let mut report = DeliveryReport::new(batch.len());
    {
        let mut delivery = sink.deliver(&batch, &mut report);
        let mut context = Context::from_waker(Waker::noop());
        assert!(delivery.as_mut().poll(&mut context).is_pending());
    }
    let outcomes = report.into_outcomes();
    let expected = matches!(outcomes[..], [Outcome::Failed(_), Outcome::Delivered, Outcome::Unknown]);
    assert!(expected, "{outcomes:?}");
}
