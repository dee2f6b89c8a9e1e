//! The suite that every sink passes, through a proxy that stands between sink and server and also plays its crashes.

use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::Event;
use onewrite_core::error::BoxError;
use onewrite_testkit::conformance::sink::{Arrived, Destination, SinkHarness, check};
use onewrite_testkit::faults::{FaultProxy, ProxyMode};

use super::connector;
use super::stub::{Stub, Topic};
use crate::support::event;

/// Most bytes of a batch, less than the sink is told, so that the server refuses.
const LIMIT: usize = 200_000;

struct Harness {
    stub: Stub,
    proxy: FaultProxy,
    topics: usize,
}

impl Harness {
    fn topic(&self) -> String {
        format!("checked-{}.fifo", self.topics)
    }
}

#[async_trait]
impl SinkHarness for Harness {
    fn name(&self) -> String {
        "the sink sns on a stand-in for SNS".into()
    }

    async fn destination(&mut self) -> Result<Destination, BoxError> {
        self.topics += 1;
        let arn = super::arn(&self.topic());
        self.stub.with(|state| state.topics.insert(arn, Topic::default()));
        Ok(Destination {
            connector: connector(&self.proxy.address().to_string(), "{topic}", &[("timeout", "2s")]),
            topic: self.topic(),
        })
    }

    async fn read_back(&mut self) -> Result<Vec<Arrived>, BoxError> {
        Ok(self.stub.read_all(&self.topic()))
    }

    fn poison(&self) -> Option<Event> {
        // A topic that is not there.
        let mut poison = event(1, None);
        poison.topic = "checked-missing.fifo".into();
        Some(poison)
    }

    fn oversize(&self) -> Option<Event> {
        let mut oversize = event(1, None);
        oversize.topic = self.topic().into();
        oversize.payload = vec![b'x'; LIMIT + 1].into();
        Some(oversize)
    }

    fn proxy(&self) -> Option<&FaultProxy> {
        Some(&self.proxy)
    }

    fn slowness(&self) -> Duration {
        Duration::from_millis(20)
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
async fn sns_passes_the_suite_of_sinks() {
    let stub = Stub::start(&[]).await;
    stub.with(|state| state.bytes_max = LIMIT);
    let proxy = FaultProxy::start(stub.address().parse().unwrap()).await.unwrap();
    let mut harness = Harness { stub, proxy, topics: 0 };
    if let Err(broken) = check(&mut harness).await {
        panic!("{broken}");
    }
    harness.stub.assert_allowed();
}
