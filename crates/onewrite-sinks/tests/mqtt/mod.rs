//! The sink `mqtt` against a real broker, and against one that lies.

mod conformance;
mod lying;
mod messages;
mod reading;
mod refusing;
mod security;

use std::sync::Arc;

use onewrite_core::error::SinkError;
use onewrite_core::options::Options;
use onewrite_core::{Event, Sink, SinkConnector};
use onewrite_sinks::mqtt::{FIELDS, build};
use onewrite_testkit::servers::Mosquitto;

use crate::support::{deliver, event, word};

/// A connector to these addresses, with further options.
pub fn connector(urls: &str, texts: &[(&str, &str)]) -> Arc<dyn SinkConnector> {
    // The last of two that name one option counts.
    let all = [&[("urls", urls), ("timeout", "3s")], texts].concat();
    let options = Options::from_texts("sinks.x", FIELDS, &all).unwrap();
    build(&options).unwrap_or_else(|error| panic!("{error}"))
}

/// A connected sink.
pub async fn connected(urls: &str, texts: &[(&str, &str)]) -> Box<dyn Sink> {
    connector(urls, texts).connect().await.unwrap()
}

/// Why no sink could be connected.
pub async fn refused(connector: &dyn SinkConnector) -> SinkError {
    connector.connect().await.err().expect("connecting fails")
}

/// An event for a topic.
pub fn event_for(topic: &str, number: u128, key: Option<&str>) -> Event {
    Event {
        topic: topic.into(),
        ..event(number, key)
    }
}

/// The ids that have come under a topic, as numbers, in their order.
pub async fn numbers(broker: &Mosquitto, topic: &str) -> Vec<u128> {
    let arrived = broker.read_all(topic).await;
    arrived.iter().map(|arrived| arrived.id.as_u128()).collect()
}

/// Delivers until nothing is left, connecting anew for each round, and returns what was parked.
pub async fn settle_anew(connector: &dyn SinkConnector, batch: Vec<Event>) -> Vec<u128> {
    let mut left = batch;
    let mut parked = Vec::new();
    for _ in 0..10 {
        let sink = connector.connect().await.unwrap();
        let (_, outcomes) = deliver(&*sink, &left).await;
        let mut rest = Vec::new();
        for (event, outcome) in left.into_iter().zip(outcomes) {
            match word(&outcome) {
                "delivered" => {}
                "park" => parked.push(event.id.as_u128()),
                _ => rest.push(event),
            }
        }
        left = rest;
        if left.is_empty() {
            return parked;
        }
    }
    panic!("{} events are left", left.len());
}
