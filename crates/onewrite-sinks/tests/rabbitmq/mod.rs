//! The RabbitMQ sink against RabbitMQ.

mod conformance;
mod declaring;
mod messages;
mod options;
mod outages;
mod probing;
mod refusals;
mod returns;
mod security;

use std::sync::Arc;

use onewrite_core::error::chain;
use onewrite_core::options::Options;
use onewrite_core::{Action, Event, Outcome, SinkConnector};
use onewrite_sinks::rabbitmq::{FIELDS, build};
use onewrite_testkit::servers::RabbitMq;
use uuid::Uuid;

use crate::support::{deliver, event};

/// A connector to the broker at `url` with these options.
fn connector(url: &str, texts: &[(&str, &str)]) -> Arc<dyn SinkConnector> {
    let texts: Vec<_> = [("urls", url)].iter().chain(texts).copied().collect();
    build(&Options::from_texts("sinks.events", FIELDS, &texts).unwrap()).unwrap()
}

/// A name that no other test of this run has.
fn name(what: &str) -> String {
    format!("{what}-{}", Uuid::new_v4().simple())
}

/// Events for one topic, numbered from `first`, their keys taken in turn from so many.
fn events_for(topic: &str, first: u128, count: u128, keys: u128) -> Vec<Event> {
    (first..first + count)
        .map(|number| to(topic, number, Some(&format!("key-{}", number % keys))))
        .collect()
}

/// An event for a topic.
fn to(topic: &str, number: u128, key: Option<&str>) -> Event {
    Event {
        topic: topic.into(),
        ..event(number, key)
    }
}

/// Ids in a queue in their order.
async fn ids(rabbit: &RabbitMq, queue: &str) -> Vec<Uuid> {
    rabbit.read_all(queue).await.iter().map(|arrived| arrived.id).collect()
}

/// What became of a batch in the end.
#[derive(Debug, Default)]
struct Settled {
    delivered: Vec<Uuid>,
    parked: Vec<(Uuid, String)>,
}

/// Delivers until nothing is left, connecting anew when the sink asks for it, as core does.
async fn settle(connector: &dyn SinkConnector, batch: &[Event]) -> Settled {
    let mut settled = Settled::default();
    let mut left = batch.to_vec();
    let mut sink = None;
    let settling = async {
        while !left.is_empty() {
            let connected = match sink.take() {
                Some(connected) => connected,
                None => match connector.connect().await {
                    Ok(connected) => connected,
                    Err(error) => {
                        assert_eq!(error.action, Action::Reconnect, "{}", chain(&error));
                        tokio::time::sleep(std::time::Duration::from_millis(20)).await; // slow on purpose
                        continue;
                    }
                },
            };
            let (result, outcomes) = deliver(&*connected, &left).await;
            if let Err(error) = &result {
                assert_ne!(error.action, Action::Halt, "{}", chain(error));
            }
            let mut rest = Vec::new();
            for (event, outcome) in left.drain(..).zip(outcomes) {
                match outcome {
                    Outcome::Delivered => settled.delivered.push(event.id),
                    Outcome::Failed(error) if error.action == Action::Park => {
                        settled.parked.push((event.id, error.to_string()));
                    }
                    Outcome::Failed(_) | Outcome::Unknown => rest.push(event),
                }
            }
            left = rest;
            if !matches!(&result, Err(error) if error.action == Action::Reconnect) {
                sink = Some(connected);
            }
        }
    };
    let limit = onewrite_testkit::wait::PATIENCE;
    let done = tokio::time::timeout(limit, settling).await;
    assert!(done.is_ok(), "events are left after {limit:?}");
    settled
}
