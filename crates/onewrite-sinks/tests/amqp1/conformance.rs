//! The suite that every sink passes, on each broker, through a proxy that stands between sink and broker.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::Event;
use onewrite_core::error::BoxError;
use onewrite_testkit::conformance::sink::{Arrived, Destination, SinkHarness, check};
use onewrite_testkit::faults::{FaultProxy, ProxyMode};
use onewrite_testkit::servers::{ActiveMq, Artemis, ArtemisSettings, Qpid};

use super::{LOGIN, connector, event_for};

/// A broker as the suite needs it.
#[async_trait]
trait Broker: Send + Sync {
    fn name(&self) -> &'static str;
    fn port(&self) -> u16;
    async fn create(&self, queue: &str);
    async fn read_all(&self, queue: &str) -> Vec<Arrived>;
    async fn kill9(&self);
    async fn restart(&self);
    /// An address that the broker refuses.
    fn refused(&self) -> Option<&'static str>;
    /// A payload that the broker refuses for its size.
    fn too_large(&self) -> Option<usize>;
}

#[async_trait]
impl Broker for Artemis {
    fn name(&self) -> &'static str {
        "ActiveMQ Artemis"
    }
    fn port(&self) -> u16 {
        self.port()
    }
    async fn create(&self, _queue: &str) {
        // It is created when the sink attaches.
    }
    async fn read_all(&self, queue: &str) -> Vec<Arrived> {
        self.read_all(queue).await
    }
    async fn kill9(&self) {
        self.kill9().await;
    }
    async fn restart(&self) {
        self.restart().await;
    }
    fn refused(&self) -> Option<&'static str> {
        Some("fixed.missing")
    }
    fn too_large(&self) -> Option<usize> {
        // Larger messages become files, up to the disk's size.
        None
    }
}

#[async_trait]
impl Broker for ActiveMq {
    fn name(&self) -> &'static str {
        "ActiveMQ Classic"
    }
    fn port(&self) -> u16 {
        self.port()
    }
    async fn create(&self, _queue: &str) {
        // It is created when the sink attaches.
    }
    async fn read_all(&self, queue: &str) -> Vec<Arrived> {
        self.read_all(queue).await
    }
    async fn kill9(&self) {
        self.kill9().await;
    }
    async fn restart(&self) {
        self.restart().await;
    }
    fn refused(&self) -> Option<&'static str> {
        Some("forbidden.orders")
    }
    fn too_large(&self) -> Option<usize> {
        None
    }
}

#[async_trait]
impl Broker for Qpid {
    fn name(&self) -> &'static str {
        "Qpid Broker-J"
    }
    fn port(&self) -> u16 {
        self.port()
    }
    async fn create(&self, queue: &str) {
        self.put(&format!("queue/{queue}"), "{}").await;
    }
    async fn read_all(&self, queue: &str) -> Vec<Arrived> {
        self.read_all(queue).await
    }
    async fn kill9(&self) {
        self.kill9().await;
    }
    async fn restart(&self) {
        self.restart().await;
    }
    fn refused(&self) -> Option<&'static str> {
        Some("missing")
    }
    fn too_large(&self) -> Option<usize> {
        Some(3_000_000)
    }
}

struct Harness<B> {
    broker: B,
    proxy: FaultProxy,
    queues: usize,
}

impl<B: Broker> Harness<B> {
    async fn new(broker: B) -> Self {
        let proxy = FaultProxy::start(SocketAddr::from(([127, 0, 0, 1], broker.port())))
            .await
            .unwrap();
        Self {
            broker,
            proxy,
            queues: 0,
        }
    }

    fn queue(&self) -> String {
        format!("checked-{}", self.queues)
    }
}

#[async_trait]
impl<B: Broker> SinkHarness for Harness<B> {
    fn name(&self) -> String {
        format!("the sink amqp1 on {}", self.broker.name())
    }

    async fn destination(&mut self) -> Result<Destination, BoxError> {
        self.queues += 1;
        self.broker.create(&self.queue()).await;
        let url = format!("amqp://{}", self.proxy.address());
        Ok(Destination {
            connector: connector(&url, &[&LOGIN[..], &[("timeout", "6s")]].concat()),
            topic: self.queue(),
        })
    }

    async fn read_back(&mut self) -> Result<Vec<Arrived>, BoxError> {
        Ok(self.broker.read_all(&self.queue()).await)
    }

    fn poison(&self) -> Option<Event> {
        Some(event_for(self.broker.refused()?, 1, None))
    }

    fn oversize(&self) -> Option<Event> {
        let mut oversize = event_for(&self.queue(), 1, None);
        oversize.payload = vec![b'x'; self.broker.too_large()?].into();
        Some(oversize)
    }

    async fn lose_replies(&mut self, lose: bool) -> Result<(), BoxError> {
        self.proxy
            .set(if lose { ProxyMode::DropReplies } else { ProxyMode::Pass });
        Ok(())
    }

    async fn stop_broker(&mut self) -> Result<(), BoxError> {
        self.broker.kill9().await;
        Ok(())
    }

    async fn start_broker(&mut self) -> Result<(), BoxError> {
        self.broker.restart().await;
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

async fn passes(broker: impl Broker + 'static) {
    let mut harness = Harness::new(broker).await;
    if let Err(broken) = check(&mut harness).await {
        panic!("{broken}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn amqp1_passes_the_suite_of_sinks_on_artemis() {
    let settings = ArtemisSettings {
        address_settings: "<address-setting match=\"fixed.#\"><auto-create-queues>false</auto-create-queues>\
            <auto-create-addresses>false</auto-create-addresses></address-setting>"
            .to_owned(),
        ..ArtemisSettings::default()
    };
    passes(Artemis::start(&settings).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn amqp1_passes_the_suite_of_sinks_on_activemq_classic() {
    passes(ActiveMq::start("").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn amqp1_passes_the_suite_of_sinks_on_qpid() {
    passes(Qpid::start().await).await;
}
