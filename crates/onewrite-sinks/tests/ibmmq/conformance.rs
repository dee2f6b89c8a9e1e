//! The suite that every sink must pass, through a proxy that stands between sink and server.

use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::Event;
use onewrite_core::error::BoxError;
use onewrite_testkit::conformance::sink::{Arrived, Destination, SinkHarness, check};
use onewrite_testkit::faults::FaultProxy;

use super::connector;
use super::reference::arrived;
use super::stub::{Queue, Stub};
use crate::support::event;

/// MAXMSGL of the queues, in bytes; the sink is told of more, so that the server refuses.
const LIMIT: usize = 300_000;

struct Harness {
    stub: Stub,
    proxy: FaultProxy,
    queues: usize,
}

impl Harness {
    fn queue(&self) -> String {
        format!("CHECKED.{}", self.queues)
    }
}

#[async_trait]
impl SinkHarness for Harness {
    fn name(&self) -> String {
        "the sink ibmmq on a stand-in for mqweb".into()
    }

    async fn destination(&mut self) -> Result<Destination, BoxError> {
        self.queues += 1;
        let queue = Queue {
            message_bytes_max: Some(LIMIT),
            ..Queue::default()
        };
        self.stub.with(|state| state.queues.insert(self.queue(), queue));
        Ok(Destination {
            connector: connector(&format!("http://{}", self.proxy.address()), &[]),
            topic: self.queue(),
        })
    }

    async fn read_back(&mut self) -> Result<Vec<Arrived>, BoxError> {
        Ok(self.stub.messages(&self.queue()).iter().map(arrived).collect())
    }

    fn poison(&self) -> Option<Event> {
        // A queue that is not there.
        let mut poison = event(1, None);
        poison.topic = "CHECKED.MISSING".into();
        Some(poison)
    }

    fn oversize(&self) -> Option<Event> {
        let mut oversize = event(1, None);
        oversize.topic = self.queue().into();
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
        self.stub.stop().await;
        Ok(())
    }

    async fn start_broker(&mut self) -> Result<(), BoxError> {
        self.stub.start_again().await;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ibmmq_passes_the_suite_of_sinks() {
    let stub = Stub::start(&[]).await;
    let proxy = FaultProxy::start(stub.address).await.unwrap();
    let mut harness = Harness { stub, proxy, queues: 0 };
    if let Err(broken) = check(&mut harness).await {
        panic!("{broken}");
    }
    let not_allowed = harness.stub.with(|state| std::mem::take(&mut state.not_allowed));
    assert_eq!(not_allowed, Vec::<String>::new(), "what the reference does not allow");
}
