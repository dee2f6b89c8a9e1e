//! What the broker itself says has arrived.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use onewrite_testkit::wait;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::workload::PARTITIONS;

/// How long the broker may take to answer.
const ANSWER: Duration = Duration::from_secs(20);

/// The ends of a topic's partitions. Clones ask by the same connection.
#[derive(Clone)]
pub struct Ends {
    consumer: Arc<BaseConsumer>,
    topic: String,
}

impl Ends {
    /// Connects, so that later looks cost a round trip each and nothing more.
    pub async fn connect(brokers: String, topic: &str) -> Result<Self> {
        let consumer = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
        let ends = Self {
            consumer: Arc::new(consumer),
            topic: topic.to_owned(),
        };
        wait::until("the partitions of a topic that may be new are served", async || {
            ends.total().await.ok()
        })
        .await;
        Ok(ends)
    }

    /// How many records the broker has acknowledged or is about to: all it has written down.
    pub async fn total(&self) -> Result<usize> {
        let ends = self.clone();
        tokio::task::spawn_blocking(move || ends.count()).await?
    }

    fn count(&self) -> Result<usize> {
        let mut total = 0;
        for partition in 0..PARTITIONS {
            let marks = self.consumer.fetch_watermarks(&self.topic, partition, ANSWER);
            let (_, end) =
                marks.with_context(|| format!("asking for the end of {}, partition {partition}", self.topic))?;
            total += usize::try_from(end)?;
        }
        Ok(total)
    }
}
