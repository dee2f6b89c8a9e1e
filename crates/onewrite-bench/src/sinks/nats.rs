//! NATS JetStream, by async-nats.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use async_nats::HeaderMap;
use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use onewrite_testkit::servers::Nats;
use serde_json::json;

use super::{WINDOW, headers};
use crate::workload::{TOPIC, Workload};

pub struct Subject(Nats);

impl Subject {
    /// A server with two streams, one for the relay and one for the library. It synchronises each message to its disk.
    pub async fn start() -> Self {
        let server = Nats::start("").await;
        // A short window: both publish the same ids again in every run.
        let settings = json!({"duplicate_window": 100_000_000});
        server.create_stream("RELAY", &[TOPIC], settings.clone()).await;
        server.create_stream("ALONE", &[ALONE], settings).await;
        Self(server)
    }
}

const ALONE: &str = "alone";

#[async_trait(?Send)]
impl super::Subject for Subject {
    fn sink(&self) -> String {
        format!("type = \"nats\"\nurls = [{:?}]", self.0.url())
    }

    async fn alone(&self, workload: Arc<Workload>, events: usize) -> Result<f64> {
        let client = async_nats::connect(self.0.url()).await?;
        let context = async_nats::jetstream::new(client);
        let began = Instant::now();
        let mut under_way = FuturesUnordered::new();
        for number in 0..events {
            if under_way.len() >= WINDOW {
                under_way.next().await.transpose()?;
            }
            let mut map = HeaderMap::new();
            for (name, value) in headers(number) {
                map.insert(name, value);
            }
            map.insert("Nats-Msg-Id", headers(number)[0].1.as_str());
            let published = context.publish_with_headers(ALONE, map, workload.payload(number).clone());
            under_way.push(published.await?.into_future());
        }
        while let Some(acknowledged) = under_way.next().await {
            acknowledged?;
        }
        Ok(began.elapsed().as_secs_f64())
    }
}
