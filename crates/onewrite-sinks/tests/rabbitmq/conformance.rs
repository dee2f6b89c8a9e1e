//! The suite that every sink passes, through a proxy that stands between sink and broker.

use async_trait::async_trait;
use onewrite_core::Event;
use onewrite_core::error::BoxError;
use onewrite_testkit::conformance::sink::{Arrived, Destination, SinkHarness, check};
use onewrite_testkit::faults::FaultProxy;
use onewrite_testkit::servers::RabbitMq;

use super::{connector, to};

/// The largest message that the broker takes, in bytes.
const LIMIT: usize = 300_000;

struct Harness {
    rabbit: RabbitMq,
    proxy: FaultProxy,
    queues: usize,
}

impl Harness {
    async fn new() -> Self {
        let rabbit = RabbitMq::start(&[("max_message_size", &LIMIT.to_string())]).await;
        let proxy = FaultProxy::start(([127, 0, 0, 1], rabbit.port()).into()).await.unwrap();
        Self {
            rabbit,
            proxy,
            queues: 0,
        }
    }

    fn queue(&self) -> String {
        format!("checked-{}", self.queues)
    }
}

#[async_trait]
impl SinkHarness for Harness {
    fn name(&self) -> String {
        "the sink rabbitmq on a quorum queue".into()
    }

    async fn destination(&mut self) -> Result<Destination, BoxError> {
        self.queues += 1;
        self.rabbit.create_queue(&self.queue(), "quorum").await;
        Ok(Destination {
            connector: connector(&format!("amqp://{}", self.proxy.address()), &[]),
            topic: self.queue(),
        })
    }

    async fn read_back(&mut self) -> Result<Vec<Arrived>, BoxError> {
        Ok(self.rabbit.read_all(&self.queue()).await)
    }

    fn poison(&self) -> Option<Event> {
        // A queue that is not there.
        Some(to("checked-missing", 1, None))
    }

    fn oversize(&self) -> Option<Event> {
        let mut oversize = to(&self.queue(), 1, None);
        oversize.payload = vec![7; LIMIT + 1].into();
        Some(oversize)
    }

    fn proxy(&self) -> Option<&FaultProxy> {
        Some(&self.proxy)
    }

    async fn stop_broker(&mut self) -> Result<(), BoxError> {
        self.rabbit.kill9().await;
        Ok(())
    }

    async fn start_broker(&mut self) -> Result<(), BoxError> {
        self.rabbit.restart().await;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_passes_the_suite_of_sinks() {
    let mut harness = Harness::new().await;
    if let Err(broken) = check(&mut harness).await {
        panic!("{broken}");
    }
}
