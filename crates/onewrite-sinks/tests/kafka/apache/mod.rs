//! Against Apache Kafka.

mod conformance;
mod outage;
mod security;
mod topics;
mod verbatim;

use onewrite_testkit::servers::Kafka;
use uuid::Uuid;

/// Ids on the log of a topic, partition after partition, in their order.
pub async fn log(kafka: &Kafka, topic: &str) -> Vec<Uuid> {
    let records = kafka.read_all(topic).await;
    records
        .iter()
        .map(|record| record.header("onewrite-id").expect("an id").parse().expect("a UUID"))
        .collect()
}
