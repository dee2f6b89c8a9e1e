//! The sink `nats`, against NATS itself.

mod cluster;
mod conformance;
mod failing;
mod guarded;
mod login;
mod permissions;
mod probing;
mod refusing;
mod tls;

use std::sync::Arc;

use onewrite_core::options::Options;
use onewrite_core::{Event, Outcome, SinkConnector};
use onewrite_sinks::nats;
use uuid::Uuid;

/// A connector with these options.
pub fn connector(urls: &str, texts: &[(&str, &str)]) -> Arc<dyn SinkConnector> {
    let texts = [&[("urls", urls)], texts].concat();
    let options = Options::from_texts("sinks.events", nats::FIELDS, &texts).unwrap();
    nats::build(&options).unwrap()
}

/// The event, for another topic.
pub fn to(topic: &str, event: Event) -> Event {
    Event {
        topic: topic.into(),
        ..event
    }
}

/// The ids of what arrived.
pub fn ids(arrived: &[onewrite_testkit::conformance::sink::Arrived]) -> Vec<Uuid> {
    arrived.iter().map(|event| event.id).collect()
}

/// The words of an event that failed.
pub fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Failed(error) => onewrite_core::error::chain(error),
        _ => panic!("{outcome:?} has no words"),
    }
}
