//! The sink `amqp1` against ActiveMQ Artemis, ActiveMQ Classic and Qpid Broker-J.

mod artemis;
mod classic;
mod conformance;
mod cut;
mod many;
mod options;
mod qpid;
mod scripted;
mod tls;

use std::sync::Arc;

use onewrite_core::error::chain;
use onewrite_core::options::Options;
use onewrite_core::{Event, Outcome, SinkConnector};
use onewrite_sinks::amqp1::{FIELDS, build};
use onewrite_testkit::conformance::sink::Arrived;

use crate::support::event;

/// A connector with these options.
pub fn connector(urls: &str, texts: &[(&str, &str)]) -> Arc<dyn SinkConnector> {
    let texts = [&[("urls", urls)], texts].concat();
    let options = Options::from_texts("sinks.test", FIELDS, &texts).unwrap();
    build(&options).unwrap()
}

/// The login of the fixtures' user.
pub const LOGIN: [(&str, &str); 2] = [("user", "relay"), ("password", "relay-secret")];

/// An event of this number for an address.
pub fn event_for(address: &str, number: u128, key: Option<&str>) -> Event {
    let mut event = event(number, key);
    event.topic = address.into();
    event
}

/// The words of a failure.
pub fn said(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Failed(error) => chain(error),
        other => format!("{other:?}"),
    }
}

/// The numbers of what arrived.
pub fn ids(arrived: &[Arrived]) -> Vec<u128> {
    arrived.iter().map(|arrived| arrived.id.as_u128()).collect()
}
