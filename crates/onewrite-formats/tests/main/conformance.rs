//! A sink behind the decorator is still a sink: the suite for sinks, through it.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::error::BoxError;
use onewrite_core::wire::native_headers;
use onewrite_core::{Event, Template};
use onewrite_formats::formatted;
use onewrite_testkit::conformance::sink::{Arrived, Destination, SinkHarness, check};
use onewrite_testkit::memory::MemoryBroker;

use crate::support::event;

const LARGEST: usize = 1 << 20;

/// A broker in memory behind a template that changes nothing.
struct Behind(MemoryBroker);

#[async_trait]
impl SinkHarness for Behind {
    fn name(&self) -> String {
        "the sink in memory behind a template".to_owned()
    }

    async fn destination(&mut self) -> Result<Destination, BoxError> {
        self.0 = MemoryBroker::new();
        self.0.refuse(|event| {
            let too_large = event.payload.len() > LARGEST;
            (too_large || event.payload == "poison").then(|| "refused".to_owned())
        });
        let template = Template::parse("{topic|none}")?;
        Ok(Destination {
            connector: formatted(self.0.connector(), None, Some(template))?,
            topic: "orders".to_owned(),
        })
    }

    async fn read_back(&mut self) -> Result<Vec<Arrived>, BoxError> {
        let arrived = |event: &Event| {
            let mut headers = BTreeMap::new();
            native_headers(event, |name, value| {
                headers.insert(name.to_ascii_lowercase(), value.to_owned());
            });
            Arrived {
                id: event.id,
                key: event.key.as_deref().map(str::to_owned),
                payload: event.payload.to_vec(),
                headers,
            }
        };
        Ok(self.0.log().iter().map(arrived).collect())
    }

    fn poison(&self) -> Option<Event> {
        Some(event(1, None, "poison"))
    }

    fn oversize(&self) -> Option<Event> {
        Some(event(1, None, &"x".repeat(LARGEST + 1)))
    }

    async fn lose_replies(&mut self, lose: bool) -> Result<(), BoxError> {
        self.0.lose_replies(lose);
        Ok(())
    }

    async fn stop_broker(&mut self) -> Result<(), BoxError> {
        self.0.stop();
        Ok(())
    }

    async fn start_broker(&mut self) -> Result<(), BoxError> {
        self.0.start();
        Ok(())
    }

    async fn slow_broker(&mut self, slow: bool) -> Result<(), BoxError> {
        self.0.slow_down(Duration::from_millis(if slow { 20 } else { 0 }));
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_behind_the_decorator_keeps_the_contract() {
    if let Err(broken) = check(&mut Behind(MemoryBroker::new())).await {
        panic!("{broken}");
    }
}
