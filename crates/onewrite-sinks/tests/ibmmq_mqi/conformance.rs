//! The suite that every sink must pass.

use async_trait::async_trait;
use onewrite_core::Event;
use onewrite_core::error::BoxError;
use onewrite_testkit::conformance::sink::{Arrived, Destination, SinkHarness, check};

use super::connector;
use super::stub::{Stub, arrived};
use crate::support::event;

/// MAXMSGL of the queues, in bytes; the sink is told of more, so that the queue manager refuses.
const LIMIT: usize = 300_000;

struct Harness {
    stub: Stub,
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
        "the sink ibmmq on a stand-in for IBM's client library".into()
    }

    async fn destination(&mut self) -> Result<Destination, BoxError> {
        self.queues += 1;
        self.stub.queue(&self.queue(), true);
        Ok(Destination {
            connector: connector(&self.stub, &[]),
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

    async fn lose_replies(&mut self, lose: bool) -> Result<(), BoxError> {
        self.stub.set("lose", lose.into());
        Ok(())
    }

    async fn stop_broker(&mut self) -> Result<(), BoxError> {
        self.stub.set("down", 1);
        Ok(())
    }

    async fn start_broker(&mut self) -> Result<(), BoxError> {
        self.stub.set("down", 0);
        Ok(())
    }

    async fn slow_broker(&mut self, slow: bool) -> Result<(), BoxError> {
        // Of every call: a connection makes one after the other.
        self.stub.set("slow", if slow { 2 } else { 0 });
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ibmmq_by_the_mqi_passes_the_suite_of_sinks() {
    let stub = Stub::with(&[]);
    stub.set("limit", LIMIT as _);
    let mut harness = Harness { stub, queues: 0 };
    if let Err(broken) = check(&mut harness).await {
        panic!("{broken}");
    }
    assert_eq!(harness.stub.count("handles"), 0, "message handles that were left");
}
