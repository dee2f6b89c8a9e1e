//! The sink `kafka`, against a broker inside the process that fails on demand, and against Apache Kafka itself.

mod apache;
mod chaos;
mod connecting;
mod driver;
mod failing;
mod records;
mod refusing;

use std::sync::Arc;

use krafka::consumer::ConsumerRecord;
use krafka::testing::FakeBroker;
use onewrite_core::options::Options;
use onewrite_core::{Event, Sink, SinkConnector};
use onewrite_sinks::kafka;
use uuid::Uuid;

/// A connector with these options.
pub fn connector(brokers: &str, texts: &[(&str, &str)]) -> Arc<dyn SinkConnector> {
    let texts = [&[("brokers", brokers)], texts].concat();
    let options = Options::from_texts("sinks.events", kafka::FIELDS, &texts).unwrap();
    kafka::build(&options).unwrap()
}

/// A broker inside the process with one topic.
pub async fn fake(topic: &str, partitions: i32) -> FakeBroker {
    let broker = FakeBroker::start().await.unwrap();
    broker.with_state(|state| state.auto_create_topics = false);
    broker.create_topic(topic, partitions);
    broker
}

/// A connected sink.
pub async fn sink(broker: &FakeBroker, texts: &[(&str, &str)]) -> Box<dyn Sink> {
    connector(&broker.bootstrap_servers(), texts).connect().await.unwrap()
}

/// The id that a record carries.
pub fn id(record: &ConsumerRecord) -> Uuid {
    let (_, value) = record.headers.iter().find(|(name, _)| name == "onewrite-id").unwrap();
    Uuid::try_parse_ascii(value.as_ref().unwrap()).unwrap()
}

/// Ids on the log of a topic, partition after partition, in their order.
pub fn log(broker: &FakeBroker, topic: &str) -> Vec<Uuid> {
    broker.all_records(topic).unwrap().iter().map(id).collect()
}

/// The event, for another topic.
pub fn to(topic: &str, event: Event) -> Event {
    Event {
        topic: topic.into(),
        ..event
    }
}
