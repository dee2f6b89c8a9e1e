//! The suite that every sink passes, through a proxy that stands between sink and server and also plays its crashes: ElasticMQ does not
//! bring back everything after SIGKILL, as Amazon's service would.

use async_trait::async_trait;
use onewrite_core::Event;
use onewrite_core::error::BoxError;
use onewrite_testkit::conformance::sink::{Arrived, Destination, SinkHarness, check};
use onewrite_testkit::faults::{FaultProxy, ProxyMode};
use onewrite_testkit::servers::ElasticMq;

use super::connector;
use crate::support::event;

struct Harness {
    server: ElasticMq,
    proxy: FaultProxy,
    queues: usize,
}

impl Harness {
    fn queue(&self) -> String {
        format!("checked-{}.fifo", self.queues)
    }
}

#[async_trait]
impl SinkHarness for Harness {
    fn name(&self) -> String {
        "the sink sqs on ElasticMQ".into()
    }

    async fn destination(&mut self) -> Result<Destination, BoxError> {
        self.queues += 1;
        self.server.create_queue(&self.queue()).await;
        // The limit of the server lies lower, so that it is the one that refuses.
        let texts = [("max_message_bytes", "1MiB")];
        Ok(Destination {
            connector: connector(
                &self.proxy.address().to_string(),
                &self.server.queue_url("{topic}"),
                &texts,
            ),
            topic: self.queue(),
        })
    }

    async fn read_back(&mut self) -> Result<Vec<Arrived>, BoxError> {
        Ok(self.server.read_all(&self.queue()).await)
    }

    fn poison(&self) -> Option<Event> {
        // A queue that is not there.
        let mut poison = event(1, None);
        poison.topic = "checked-missing.fifo".into();
        Some(poison)
    }

    fn oversize(&self) -> Option<Event> {
        let mut oversize = event(1, None);
        oversize.topic = self.queue().into();
        oversize.payload = vec![b'x'; 300_000].into();
        Some(oversize)
    }

    fn proxy(&self) -> Option<&FaultProxy> {
        Some(&self.proxy)
    }

    async fn stop_broker(&mut self) -> Result<(), BoxError> {
        self.proxy.set(ProxyMode::Reset);
        Ok(())
    }

    async fn start_broker(&mut self) -> Result<(), BoxError> {
        self.proxy.set(ProxyMode::Pass);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqs_passes_the_suite_of_sinks() {
    let server = ElasticMq::start().await;
    let proxy = FaultProxy::start(server.address().parse().unwrap()).await.unwrap();
    let mut harness = Harness {
        server,
        proxy,
        queues: 0,
    };
    if let Err(broken) = check(&mut harness).await {
        panic!("{broken}");
    }
}
