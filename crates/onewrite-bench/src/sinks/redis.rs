//! Redis streams, by the crate redis: pipelines of a hundred entries, several under way.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use onewrite_testkit::servers::Redis;

use super::{WINDOW, headers};
use crate::workload::Workload;

/// Entries of one pipeline.
const PIPELINE: usize = 100;

pub struct Subject(Redis);

impl Subject {
    /// A server that synchronises its file each second, as Redis does by default.
    pub async fn start() -> Self {
        Self(Redis::start(&[("appendfsync", "everysec")]).await)
    }
}

#[async_trait(?Send)]
impl super::Subject for Subject {
    fn sink(&self) -> String {
        format!("type = \"redis\"\nurls = [{:?}]", self.0.url())
    }

    async fn alone(&self, workload: Arc<Workload>, events: usize) -> Result<f64> {
        let client = redis::Client::open(self.0.url())?;
        let connection = client.get_multiplexed_async_connection().await?;
        let began = Instant::now();
        stream::iter((0..events).step_by(PIPELINE))
            .map(|from| {
                let mut pipeline = redis::pipe();
                for number in from..events.min(from + PIPELINE) {
                    let command = pipeline.cmd("XADD").arg("alone").arg("*");
                    for (name, value) in headers(number) {
                        command.arg(name).arg(value);
                    }
                    command.arg("payload").arg(&workload.payload(number)[..]);
                }
                let mut connection = connection.clone();
                async move { pipeline.query_async::<Vec<String>>(&mut connection).await }
            })
            .buffer_unordered(WINDOW / PIPELINE)
            .try_for_each(|_| async { Ok(()) })
            .await?;
        Ok(began.elapsed().as_secs_f64())
    }
}
