//! What the end of the way must be able to do, whichever broker it is.

use async_trait::async_trait;
use onewrite_testkit::servers::Kafka;
use uuid::Uuid;

/// A broker with a destination for the events of a topic, which something independent of the relay can read.
#[async_trait]
pub trait Broker: Send + Sync {
    /// The keys of a sink's section that delivers to it.
    fn sink(&self, topic: &str) -> String;

    /// `kill -9`.
    async fn kill(&self);

    /// Starts it again, with what it holds.
    async fn start_again(&self);

    /// The ids of everything that it holds, duplicates included, in an order that keeps that of each key.
    async fn delivered(&self, topic: &str) -> Vec<Uuid>;
}

#[async_trait]
impl Broker for Kafka {
    fn sink(&self, _topic: &str) -> String {
        format!("type = \"kafka\"\nbrokers = [\"{}\"]", self.bootstrap())
    }

    async fn kill(&self) {
        self.kill9().await;
    }

    async fn start_again(&self) {
        self.restart().await;
    }

    async fn delivered(&self, topic: &str) -> Vec<Uuid> {
        // A key is in one partition, so partition by partition keeps each key's order.
        let records = self.read_all(topic).await;
        let id = |text: &str| text.parse().expect("an id is a UUID");
        records
            .iter()
            .map(|record| id(record.header("onewrite-id").expect("every record has its id")))
            .collect()
    }
}
