//! The suite that every sink passes, through a proxy that stands between sink and broker.

use async_trait::async_trait;
use onewrite_core::Event;
use onewrite_core::error::BoxError;
use onewrite_testkit::conformance::sink::{Arrived, Destination, SinkHarness, check};
use onewrite_testkit::faults::FaultProxy;
use onewrite_testkit::servers::Kafka;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::kafka::connector;
use crate::support::event;

/// The largest batch that the topics take, in bytes.
const LIMIT: usize = 300_000;

struct Harness {
    kafka: Kafka,
    proxy: FaultProxy,
    topics: usize,
}

impl Harness {
    async fn new() -> Self {
        let proxy = FaultProxy::bind().await.unwrap();
        let kafka = Kafka::start_behind(proxy.address().port(), &[]).await;
        let broker: SocketAddr = kafka.client_bootstrap().parse().unwrap();
        proxy.forward_to(broker);
        Self {
            kafka,
            proxy,
            topics: 0,
        }
    }

    fn topic(&self) -> String {
        format!("checked-{}", self.topics)
    }
}

#[async_trait]
impl SinkHarness for Harness {
    fn name(&self) -> String {
        "the sink kafka on Apache Kafka".into()
    }

    async fn destination(&mut self) -> Result<Destination, BoxError> {
        self.topics += 1;
        let limit = LIMIT.to_string();
        self.kafka
            .create_topic(&self.topic(), 3, &[("max.message.bytes", &limit)])
            .await;
        Ok(Destination {
            connector: connector(&self.proxy.address().to_string(), &[]),
            topic: self.topic(),
        })
    }

    async fn read_back(&mut self) -> Result<Vec<Arrived>, BoxError> {
        let records = self.kafka.read_all(&self.topic()).await;
        let arrived = records.into_iter().map(|record| {
            let headers: BTreeMap<String, String> = record
                .headers
                .iter()
                .map(|(name, value)| {
                    let value = String::from_utf8_lossy(value.as_deref().unwrap_or_default());
                    (name.to_ascii_lowercase(), value.into_owned())
                })
                .collect();
            Arrived {
                id: headers["onewrite-id"].parse().expect("a UUID"),
                key: record.key.map(|key| String::from_utf8(key).expect("a text")),
                payload: record.value.expect("a body"),
                headers,
            }
        });
        Ok(arrived.collect())
    }

    fn poison(&self) -> Option<Event> {
        // A topic that is not there.
        let mut poison = event(1, None);
        poison.topic = "checked-missing".into();
        Some(poison)
    }

    fn oversize(&self) -> Option<Event> {
        let mut oversize = event(1, None);
        oversize.topic = self.topic().into();
        // Noise, which no compression makes smaller.
        let mut random = fastrand::Rng::with_seed(1);
        oversize.payload = (0..2 * LIMIT).map(|_| random.u8(..)).collect::<Vec<u8>>().into();
        Some(oversize)
    }

    fn proxy(&self) -> Option<&FaultProxy> {
        Some(&self.proxy)
    }

    async fn stop_broker(&mut self) -> Result<(), BoxError> {
        self.kafka.kill9().await;
        Ok(())
    }

    async fn start_broker(&mut self) -> Result<(), BoxError> {
        self.kafka.restart().await;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_passes_the_suite_of_sinks() {
    let mut harness = Harness::new().await;
    if let Err(broken) = check(&mut harness).await {
        panic!("{broken}");
    }
}
