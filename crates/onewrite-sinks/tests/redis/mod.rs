//! The sink `redis` against real servers, and against one that lies.

mod cluster;
mod conformance;
mod lying;
mod refusing;
mod security;
mod streams;
mod waiting;

use std::collections::HashSet;
use std::sync::Arc;

use onewrite_core::error::SinkError;
use onewrite_core::options::Options;
use onewrite_core::{Event, Sink, SinkConnector};
use onewrite_sinks::redis::{FIELDS, build};
use onewrite_testkit::servers::{Redis, Reply};

use crate::support::event;

/// A connector to these addresses, with further options.
pub fn connector(urls: &str, texts: &[(&str, &str)]) -> Arc<dyn SinkConnector> {
    let all = [&[("urls", urls), ("timeout", "3s")], texts].concat();
    // The last of two that name one option counts.
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

/// The ids in a stream, as numbers, in its order.
pub async fn numbers(redis: &Redis, stream: &str) -> Vec<u128> {
    let arrived = redis.read_all(stream).await;
    arrived.iter().map(|arrived| arrived.id.as_u128()).collect()
}

/// The stream holds events 1 to `count`, with `keys` in turn, each key's first arrivals in order.
pub async fn holds_in_order(redis: &Redis, stream: &str, count: u128, keys: u128) {
    let mut first: Vec<u128> = Vec::new();
    let mut seen = HashSet::new();
    first.extend(
        numbers(redis, stream)
            .await
            .into_iter()
            .filter(|number| seen.insert(*number)),
    );
    assert_eq!(first.len() as u128, count);
    for key in 0..keys {
        let of_key: Vec<_> = first.iter().filter(|number| **number % keys == key).collect();
        assert!(of_key.is_sorted(), "{of_key:?}");
    }
}

/// A command that must succeed.
pub async fn done(redis: &Redis, words: &[&str]) {
    let reply = redis.command(words).await;
    assert!(!matches!(reply, Reply::Error(_)), "{words:?}: {reply:?}");
}
