//! The suite that every sink passes, through a proxy that stands between sink and server.

use async_trait::async_trait;
use onewrite_core::Event;
use onewrite_core::error::BoxError;
use onewrite_testkit::conformance::sink::{Arrived, Destination, SinkHarness, check};
use onewrite_testkit::faults::FaultProxy;
use onewrite_testkit::servers::Redis;

use super::{connector, done, event_for};

/// The longest argument that the server takes, in bytes; it can be set no lower.
const LIMIT: usize = 1024 * 1024;

struct Harness {
    redis: Redis,
    proxy: FaultProxy,
    streams: usize,
}

impl Harness {
    async fn new() -> Self {
        let redis = Redis::start(&[("proto-max-bulk-len", &LIMIT.to_string())]).await;
        let proxy = FaultProxy::start(([127, 0, 0, 1], redis.port()).into()).await.unwrap();
        Self {
            redis,
            proxy,
            streams: 0,
        }
    }

    fn stream(&self) -> String {
        format!("checked-{}", self.streams)
    }
}

#[async_trait]
impl SinkHarness for Harness {
    fn name(&self) -> String {
        "the sink redis on Redis".into()
    }

    async fn destination(&mut self) -> Result<Destination, BoxError> {
        self.streams += 1;
        // Of another type than a stream: what goes there is refused.
        done(&self.redis, &["SET", "no-stream", "a text"]).await;
        Ok(Destination {
            connector: connector(&format!("redis://{}", self.proxy.address()), &[]),
            topic: self.stream(),
        })
    }

    async fn read_back(&mut self) -> Result<Vec<Arrived>, BoxError> {
        Ok(self.redis.read_all(&self.stream()).await)
    }

    fn poison(&self) -> Option<Event> {
        Some(event_for("no-stream", 1, None))
    }

    fn oversize(&self) -> Option<Event> {
        let mut oversize = event_for(&self.stream(), 1, None);
        oversize.payload = vec![b'x'; LIMIT + 1].into();
        Some(oversize)
    }

    fn proxy(&self) -> Option<&FaultProxy> {
        Some(&self.proxy)
    }

    async fn stop_broker(&mut self) -> Result<(), BoxError> {
        self.redis.kill9().await;
        Ok(())
    }

    async fn start_broker(&mut self) -> Result<(), BoxError> {
        self.redis.restart().await;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_passes_the_suite_of_sinks() {
    let mut harness = Harness::new().await;
    if let Err(broken) = check(&mut harness).await {
        panic!("{broken}");
    }
}
