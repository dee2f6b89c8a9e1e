//! Kafka, by librdkafka.

use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;

use crate::drain::produce::send_all;
use crate::servers::Servers;
use crate::workload::{TOPIC, Workload};

pub struct Subject {
    brokers: String,
}

impl Subject {
    /// The broker that everything else is measured with.
    pub fn new(servers: &Servers) -> Self {
        Self {
            brokers: servers.kafka.bootstrap(),
        }
    }
}

#[async_trait(?Send)]
impl super::Subject for Subject {
    fn sink(&self) -> String {
        format!("type = \"kafka\"\nbrokers = [{:?}]", self.brokers)
    }

    async fn alone(&self, workload: Arc<Workload>, events: usize) -> Result<f64> {
        let brokers = self.brokers.clone();
        tokio::task::spawn_blocking(move || send_all(&brokers, TOPIC, &workload, events)).await?
    }
}
