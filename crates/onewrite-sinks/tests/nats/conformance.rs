//! The suite that every sink passes, through a proxy that stands between sink and server.

use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::Event;
use onewrite_core::error::BoxError;
use onewrite_testkit::conformance::sink::{Arrived, Destination, SinkHarness, check};
use onewrite_testkit::faults::{FaultProxy, ProxyMode};
use onewrite_testkit::servers::Nats;
use serde_json::json;

use super::{connector, to};
use crate::support::event;

/// The largest message that the streams take, in bytes.
const LIMIT: usize = 300_000;

struct Harness {
    nats: Nats,
    proxy: FaultProxy,
    streams: usize,
}

impl Harness {
    fn topic(&self) -> String {
        format!("checked.{}", self.streams)
    }

    fn stream(&self) -> String {
        format!("CHECKED-{}", self.streams)
    }
}

#[async_trait]
impl SinkHarness for Harness {
    fn name(&self) -> String {
        "the sink nats on NATS JetStream".into()
    }

    async fn destination(&mut self) -> Result<Destination, BoxError> {
        self.streams += 1;
        let settings = json!({ "max_msg_size": LIMIT });
        self.nats
            .create_stream(&self.stream(), &[&self.topic()], settings)
            .await;
        let url = format!("nats://{}", self.proxy.address());
        Ok(Destination {
            connector: connector(&url, &[("ack_timeout", "2s")]),
            topic: self.topic(),
        })
    }

    async fn read_back(&mut self) -> Result<Vec<Arrived>, BoxError> {
        Ok(self.nats.read_all(&self.stream()).await)
    }

    fn poison(&self) -> Option<Event> {
        Some(to("checked.missing", event(1, None)))
    }

    fn oversize(&self) -> Option<Event> {
        let mut oversize = to(&self.topic(), event(1, None));
        oversize.payload = vec![b'x'; 2 * LIMIT].into();
        Some(oversize)
    }

    async fn lose_replies(&mut self, lose: bool) -> Result<(), BoxError> {
        self.proxy
            .set(if lose { ProxyMode::DropReplies } else { ProxyMode::Pass });
        Ok(())
    }

    async fn stop_broker(&mut self) -> Result<(), BoxError> {
        self.nats.kill9().await;
        Ok(())
    }

    async fn start_broker(&mut self) -> Result<(), BoxError> {
        self.nats.restart().await;
        Ok(())
    }

    async fn slow_broker(&mut self, slow: bool) -> Result<(), BoxError> {
        self.proxy.set(if slow {
            ProxyMode::Delay(Duration::from_millis(100))
        } else {
            ProxyMode::Pass
        });
        Ok(())
    }

    fn delivery_timeout(&self) -> Duration {
        Duration::from_secs(4)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_passes_the_suite_of_sinks() {
    let nats = Nats::start("").await;
    let proxy = FaultProxy::start(nats.address().parse().unwrap()).await.unwrap();
    let mut harness = Harness {
        nats,
        proxy,
        streams: 0,
    };
    if let Err(broken) = check(&mut harness).await {
        panic!("{broken}");
    }
}
