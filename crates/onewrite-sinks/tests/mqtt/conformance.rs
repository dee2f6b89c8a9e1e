//! The suite that every sink passes, through a proxy that stands between sink and broker.

use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::Event;
use onewrite_core::error::BoxError;
use onewrite_testkit::conformance::sink::{Arrived, Destination, SinkHarness, check};
use onewrite_testkit::faults::{FaultProxy, ProxyMode};
use onewrite_testkit::servers::Mosquitto;

use super::{connector, event_for};

/// The largest packet that the broker takes, in bytes.
const LIMIT: usize = 100_000;

struct Harness {
    broker: Mosquitto,
    proxy: FaultProxy,
    qos: &'static str,
    topics: usize,
}

impl Harness {
    async fn new(qos: &'static str) -> Self {
        let broker = Mosquitto::start(&[("max_packet_size", &LIMIT.to_string())], &[]).await;
        let proxy = FaultProxy::start(([127, 0, 0, 1], broker.port()).into()).await.unwrap();
        Self {
            broker,
            proxy,
            qos,
            topics: 0,
        }
    }

    fn topic(&self) -> String {
        format!("checked/{}", self.topics)
    }
}

#[async_trait]
impl SinkHarness for Harness {
    fn name(&self) -> String {
        format!("the sink mqtt on Mosquitto with QoS {}", self.qos)
    }

    async fn destination(&mut self) -> Result<Destination, BoxError> {
        self.topics += 1;
        self.broker.subscribe(&self.topic()).await;
        Ok(Destination {
            connector: connector(&format!("mqtt://{}", self.proxy.address()), &[("qos", self.qos)]),
            topic: self.topic(),
        })
    }

    async fn read_back(&mut self) -> Result<Vec<Arrived>, BoxError> {
        Ok(self.broker.read_all(&self.topic()).await)
    }

    fn poison(&self) -> Option<Event> {
        // A wildcard, which is for subscriptions alone.
        Some(event_for("checked/#", 1, None))
    }

    fn oversize(&self) -> Option<Event> {
        let mut oversize = event_for(&self.topic(), 1, None);
        oversize.payload = vec![b'x'; LIMIT].into();
        Some(oversize)
    }

    async fn lose_replies(&mut self, lose: bool) -> Result<(), BoxError> {
        self.proxy
            .set(if lose { ProxyMode::DropReplies } else { ProxyMode::Pass });
        Ok(())
    }

    /// Mosquitto acknowledges before it writes anything to disk, so a plain kill would lose what is delivered; the sink's
    /// documentation says so. Here it is killed when no acknowledgement of what is not on disk can get through any more.
    async fn stop_broker(&mut self) -> Result<(), BoxError> {
        self.proxy.set(ProxyMode::HalfOpen);
        self.broker.save().await;
        self.broker.kill9().await;
        self.proxy.set(ProxyMode::Reset);
        Ok(())
    }

    async fn start_broker(&mut self) -> Result<(), BoxError> {
        self.broker.restart().await;
        self.proxy.set(ProxyMode::Pass);
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
}

async fn passes(qos: &'static str) {
    let mut harness = Harness::new(qos).await;
    if let Err(broken) = check(&mut harness).await {
        panic!("{broken}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mqtt_passes_the_suite_of_sinks_with_qos_1() {
    passes("1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mqtt_passes_the_suite_of_sinks_with_qos_2() {
    passes("2").await;
}
