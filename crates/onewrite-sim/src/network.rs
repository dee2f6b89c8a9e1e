//! The way to a broker: what is lost, late, or given up and arrives all the same.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::sink::Finding;
use onewrite_core::{DeliveryReport, Event, Outcome, Sink, SinkConnector, SinkError};
use onewrite_testkit::faults::{Fault, Faulty, When};

/// A connector over a bad network, and what to switch it with.
pub struct Network {
    /// What connects through it.
    pub connector: Arc<dyn SinkConnector>,
    faults: Vec<Arc<Faulty>>,
    late: Arc<Late>,
}

impl Network {
    /// A network of which so many in a hundred deliveries suffer each fault.
    pub fn new(broker: Arc<dyn SinkConnector>, percent: u32, seed: u64) -> Self {
        let late = Arc::new(Late {
            inner: broker,
            percent: Mutex::new(percent),
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
        });
        let mut connector: Arc<dyn SinkConnector> = late.clone();
        let faults = [
            Fault::LostReply,
            Fault::Refuse,
            Fault::Slow(Duration::from_millis(700)),
            Fault::Hang,
            Fault::PartialSuccess,
            Fault::Panic,
            Fault::ConnectFails,
            Fault::DisconnectMidBatch,
        ];
        let mut all = Vec::new();
        for (at, fault) in faults.into_iter().enumerate() {
            let faulty = Faulty::new(connector, fault, When::Percent(percent, seed + at as u64));
            all.push(Arc::clone(&faulty));
            connector = faulty;
        }
        Self {
            connector,
            faults: all,
            late,
        }
    }

    /// From now on nothing goes wrong on the way.
    pub fn heal(&self) {
        self.faults.iter().for_each(|fault| fault.set(When::First(0)));
        *self.late.percent.lock().expect("no panic while it is held") = 0;
    }
}

/// Requests that arrive late, and whether or not somebody still waits for them: a broker carries out what it has received
/// although the client gave it up.
struct Late {
    inner: Arc<dyn SinkConnector>,
    percent: Mutex<u32>,
    random: Mutex<fastrand::Rng>,
}

impl Late {
    fn by(&self) -> Option<Duration> {
        let mut random = self.random.lock().expect("no panic while it is held");
        let strikes = random.u32(0..100) < *self.percent.lock().expect("no panic while it is held");
        strikes.then(|| Duration::from_millis(random.u64(1..20_000)))
    }
}

#[async_trait]
impl SinkConnector for Late {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    async fn connect(&self) -> Result<Box<dyn Sink>, SinkError> {
        let sink: Arc<dyn Sink> = self.inner.connect().await?.into();
        Ok(Box::new(LateSink {
            inner: sink,
            by: self.by(),
        }))
    }

    async fn probe(&self, topics: &[String]) -> Vec<Finding> {
        self.inner.probe(topics).await
    }
}

struct LateSink {
    inner: Arc<dyn Sink>,
    by: Option<Duration>,
}

#[async_trait]
impl Sink for LateSink {
    async fn deliver(&self, batch: &[Event], report: &mut DeliveryReport) -> Result<(), SinkError> {
        let Some(by) = self.by else {
            return self.inner.deliver(batch, report).await;
        };
        let (sink, events) = (self.inner.clone(), batch.to_vec());
        let arriving = tokio::spawn(async move {
            tokio::time::sleep(by).await;
            let mut unheard = DeliveryReport::new(events.len());
            sink.deliver(&events, &mut unheard).await.map(|()| unheard)
        });
        let arrived = arriving.await.expect("a broker does not panic")?;
        for (index, outcome) in arrived.into_outcomes().into_iter().enumerate() {
            match outcome {
                Outcome::Delivered => report.delivered(index),
                Outcome::Failed(error) => report.failed(index, error),
                Outcome::Unknown => {}
            }
        }
        Ok(())
    }

    async fn close(&self) -> Result<(), SinkError> {
        match self.by {
            // What the broker has received it carries out, whoever hangs up.
            Some(_) => Ok(()),
            None => self.inner.close().await,
        }
    }
}
