//! The adapters in memory as harnesses of the suites.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::error::BoxError;
use onewrite_core::wire::native_headers;
use onewrite_core::{Event, Outbox, SinkConnector};
use onewrite_testkit::conformance::sink::{Arrived, Destination, SinkHarness};
use onewrite_testkit::conformance::source::{PlainRow, SourceHarness, Subject, Transaction, Writers};
use onewrite_testkit::memory::{MemoryBroker, MemoryDatabase, MemoryTransaction};

/// Puts something before an adapter.
type Wrap<T> = Box<dyn Fn(Arc<T>) -> Arc<T> + Send>;

/// A broker in memory, with something between it and the suite.
pub struct BrokerHarness {
    pub name: &'static str,
    pub broker: MemoryBroker,
    pub wrap: Wrap<dyn SinkConnector>,
}

const TOPIC: &str = "memory";
const LARGEST: usize = 1 << 20;

impl BrokerHarness {
    /// The broker with its own connector.
    pub fn plain() -> Self {
        Self::wrapped("the sink in memory", |connector| connector)
    }

    /// The broker behind whatever `wrap` makes of its connector.
    pub fn wrapped(
        name: &'static str,
        wrap: impl Fn(Arc<dyn SinkConnector>) -> Arc<dyn SinkConnector> + Send + 'static,
    ) -> Self {
        Self {
            name,
            broker: MemoryBroker::new(),
            wrap: Box::new(wrap),
        }
    }
}

#[async_trait]
impl SinkHarness for BrokerHarness {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    async fn destination(&mut self) -> Result<Destination, BoxError> {
        self.broker = MemoryBroker::new();
        self.broker.refuse(|event| {
            if event.payload.len() > LARGEST {
                return Some(format!("{} bytes are more than {LARGEST}", event.payload.len()));
            }
            (event.payload == "poison").then(|| "the broker in memory refuses this payload".to_owned())
        });
        Ok(Destination {
            connector: (self.wrap)(self.broker.connector()),
            topic: TOPIC.to_owned(),
        })
    }

    async fn read_back(&mut self) -> Result<Vec<Arrived>, BoxError> {
        Ok(self.broker.log().iter().map(arrived).collect())
    }

    fn poison(&self) -> Option<Event> {
        Some(event("poison".into()))
    }

    fn oversize(&self) -> Option<Event> {
        Some(event(vec![b'x'; LARGEST + 1].into()))
    }

    async fn lose_replies(&mut self, lose: bool) -> Result<(), BoxError> {
        self.broker.lose_replies(lose);
        Ok(())
    }

    async fn stop_broker(&mut self) -> Result<(), BoxError> {
        self.broker.stop();
        Ok(())
    }

    async fn start_broker(&mut self) -> Result<(), BoxError> {
        self.broker.start();
        Ok(())
    }

    async fn slow_broker(&mut self, slow: bool) -> Result<(), BoxError> {
        self.broker.slow_down(if slow {
            Duration::from_millis(20)
        } else {
            Duration::ZERO
        });
        Ok(())
    }
}

fn arrived(event: &Event) -> Arrived {
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
}

/// An event of the broker's topic.
fn event(payload: bytes::Bytes) -> Event {
    Event {
        id: uuid::Uuid::new_v4(),
        topic: TOPIC.into(),
        key: None,
        event_type: None,
        payload,
        content_type: "text/plain".into(),
        headers: Vec::new(),
        occurred_at: Default::default(),
        replay: None,
        headers_complete: false,
        verbatim: None,
    }
}

/// A database in memory, with something between it and the suite.
pub struct DatabaseHarness {
    pub name: &'static str,
    pub wrap: Wrap<dyn Outbox>,
    /// What is done to each database before it is used.
    pub prepare: fn(&MemoryDatabase),
}

impl DatabaseHarness {
    /// The database itself.
    pub fn plain() -> Self {
        Self::wrapped("the source in memory", |outbox| outbox)
    }

    /// The database behind whatever `wrap` makes of it.
    pub fn wrapped(name: &'static str, wrap: impl Fn(Arc<dyn Outbox>) -> Arc<dyn Outbox> + Send + 'static) -> Self {
        Self {
            name,
            wrap: Box::new(wrap),
            prepare: |_| (),
        }
    }
}

#[async_trait]
impl SourceHarness for DatabaseHarness {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    async fn fresh(&mut self) -> Result<Subject, BoxError> {
        let database = MemoryDatabase::new();
        (self.prepare)(&database);
        Ok(Subject {
            outbox: (self.wrap)(Arc::new(database.clone())),
            operations: Arc::new(database.clone()),
            writers: Arc::new(MemoryWriters(database)),
        })
    }
}

struct MemoryWriters(MemoryDatabase);

#[async_trait]
impl Writers for MemoryWriters {
    async fn begin(&self) -> Result<Box<dyn Transaction>, BoxError> {
        Ok(Box::new(Writing(self.0.begin())))
    }
}

struct Writing(MemoryTransaction);

#[async_trait]
impl Transaction for Writing {
    async fn append(&mut self, events: &[onewrite::Event]) -> Result<(), BoxError> {
        for event in events {
            event.check()?;
        }
        self.0.append(events).await;
        Ok(())
    }

    async fn insert(&mut self, row: PlainRow) -> Result<(), BoxError> {
        self.0.insert(row);
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(), BoxError> {
        self.0.commit();
        Ok(())
    }

    async fn rollback(self: Box<Self>) -> Result<(), BoxError> {
        self.0.rollback();
        Ok(())
    }
}
