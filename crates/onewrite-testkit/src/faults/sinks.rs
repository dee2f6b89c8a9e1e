//! Faults of sinks and brokers, around any connector.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::error::SinkError;
use onewrite_core::sink::Finding;
use onewrite_core::{DeliveryReport, Event, Outcome, Sink, SinkConnector};

/// What goes wrong. All of them keep a sink's contract; they are what a broker and a network do.
#[derive(Clone)]
pub enum Fault {
    /// The events arrive, and nobody learns of it.
    LostReply,
    /// The broker refuses one event for now; the event's key stops there.
    Refuse,
    /// The broker refuses for good what this names.
    Poison(Arc<dyn Fn(&Event) -> bool + Send + Sync>),
    /// The broker refuses payloads of more than so many bytes for good.
    Oversize(usize),
    /// The delivery takes so much longer, by tokio's clock.
    Slow(Duration),
    /// The delivery never ends.
    Hang,
    /// The first half arrives, the other half is not even tried.
    PartialSuccess,
    /// The first half arrives, then the sink panics.
    Panic,
    /// Connecting fails.
    ConnectFails,
    /// The first half arrives, then the connection breaks.
    DisconnectMidBatch,
}

impl fmt::Debug for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LostReply => write!(formatter, "LostReply"),
            Self::Refuse => write!(formatter, "Refuse"),
            Self::Poison(_) => write!(formatter, "Poison"),
            Self::Oversize(bytes) => write!(formatter, "Oversize({bytes})"),
            Self::Slow(time) => write!(formatter, "Slow({time:?})"),
            Self::Hang => write!(formatter, "Hang"),
            Self::PartialSuccess => write!(formatter, "PartialSuccess"),
            Self::Panic => write!(formatter, "Panic"),
            Self::ConnectFails => write!(formatter, "ConnectFails"),
            Self::DisconnectMidBatch => write!(formatter, "DisconnectMidBatch"),
        }
    }
}

/// Which deliveries (or connects, for [`Fault::ConnectFails`]) it happens to.
#[derive(Clone, Debug)]
pub enum When {
    /// All.
    Always,
    /// The first so many.
    First(u64),
    /// Every so-manieth.
    Every(u64),
    /// So many in a hundred, by this seed.
    Percent(u32, u64),
}

/// A connector whose sinks suffer a fault. Wrap one in another for several.
pub struct Faulty {
    inner: Arc<dyn SinkConnector>,
    course: Arc<Course>,
}

impl Faulty {
    /// Puts `fault` before `inner`.
    pub fn new(inner: Arc<dyn SinkConnector>, fault: Fault, when: When) -> Arc<Self> {
        let seed = if let When::Percent(_, seed) = when { seed } else { 0 };
        Arc::new(Self {
            inner,
            course: Arc::new(Course {
                fault,
                when: Mutex::new(when),
                count: AtomicU64::new(0),
                happened: AtomicU64::new(0),
                random: Mutex::new(fastrand::Rng::with_seed(seed)),
            }),
        })
    }

    /// Changes when it happens, from now on.
    pub fn set(&self, when: When) {
        self.course.count.store(0, Ordering::Relaxed);
        *self.course.when.lock().expect("no panic while it is held") = when;
    }

    /// How often it has happened.
    pub fn happened(&self) -> u64 {
        self.course.happened.load(Ordering::Relaxed)
    }
}

struct Course {
    fault: Fault,
    when: Mutex<When>,
    count: AtomicU64,
    happened: AtomicU64,
    random: Mutex<fastrand::Rng>,
}

impl Course {
    fn strikes(&self) -> bool {
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let strikes = match &*self.when.lock().expect("no panic while it is held") {
            When::Always => true,
            When::First(first) => number <= *first,
            When::Every(every) => *every > 0 && number.is_multiple_of(*every),
            When::Percent(percent, _) => self.random.lock().expect("no panic while it is held").u32(0..100) < *percent,
        };
        if strikes {
            self.happened.fetch_add(1, Ordering::Relaxed);
        }
        strikes
    }
}

#[async_trait]
impl SinkConnector for Faulty {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    async fn connect(&self) -> Result<Box<dyn Sink>, SinkError> {
        if matches!(self.course.fault, Fault::ConnectFails) && self.course.strikes() {
            return Err(SinkError::reconnect("the connection was refused (a fault on purpose)"));
        }
        Ok(Box::new(FaultySink {
            inner: self.inner.connect().await?,
            course: Arc::clone(&self.course),
        }))
    }

    async fn probe(&self, topics: &[String]) -> Vec<Finding> {
        self.inner.probe(topics).await
    }
}

struct FaultySink {
    inner: Box<dyn Sink>,
    course: Arc<Course>,
}

#[async_trait]
impl Sink for FaultySink {
    async fn deliver(&self, batch: &[Event], report: &mut DeliveryReport) -> Result<(), SinkError> {
        if matches!(self.course.fault, Fault::ConnectFails) || !self.course.strikes() {
            return self.inner.deliver(batch, report).await;
        }
        match &self.course.fault {
            Fault::LostReply => {
                let mut unheard = DeliveryReport::new(batch.len());
                self.inner.deliver(batch, &mut unheard).await?;
                Err(SinkError::reconnect("the reply was lost (a fault on purpose)"))
            }
            Fault::Refuse => {
                let at = batch.len() / 3;
                let busy = || SinkError::retry("the broker is busy (a fault on purpose)");
                self.but_for(batch, report, &|index, _| (index == at).then(busy)).await
            }
            Fault::Poison(names) => {
                let poison = || SinkError::park("the broker refuses it for good (a fault on purpose)");
                self.but_for(batch, report, &|_, event| names(event).then(poison)).await
            }
            Fault::Oversize(most) => {
                let large = |event: &Event| event.payload.len() > *most;
                let words = |event: &Event| {
                    SinkError::park(format!(
                        "{} bytes are more than {most} (a fault on purpose)",
                        event.payload.len()
                    ))
                };
                self.but_for(batch, report, &|_, event| large(event).then(|| words(event)))
                    .await
            }
            Fault::Slow(time) => {
                tokio::time::sleep(*time).await;
                self.inner.deliver(batch, report).await
            }
            Fault::Hang => std::future::pending().await,
            Fault::PartialSuccess => self.half(batch, report).await,
            Fault::Panic => {
                self.half(batch, report).await?;
                panic!("a panic on purpose");
            }
            Fault::DisconnectMidBatch => {
                self.half(batch, report).await?;
                Err(SinkError::reconnect("the connection broke (a fault on purpose)"))
            }
            Fault::ConnectFails => Ok(()),
        }
    }

    async fn close(&self) -> Result<(), SinkError> {
        self.inner.close().await
    }
}

impl FaultySink {
    async fn half(&self, batch: &[Event], report: &mut DeliveryReport) -> Result<(), SinkError> {
        let some: Vec<usize> = (0..batch.len().div_ceil(2)).collect();
        pass_on(&*self.inner, batch, &some, report).await
    }

    /// Delivers everything but what is refused and what stands behind it under its key.
    async fn but_for(
        &self,
        batch: &[Event],
        report: &mut DeliveryReport,
        refused: &(dyn Fn(usize, &Event) -> Option<SinkError> + Sync),
    ) -> Result<(), SinkError> {
        let mut stopped = HashSet::new();
        let mut some = Vec::with_capacity(batch.len());
        for (index, event) in batch.iter().enumerate() {
            if event.key.as_ref().is_some_and(|key| stopped.contains(key)) {
                continue;
            }
            match refused(index, event) {
                None => some.push(index),
                Some(error) => {
                    report.failed(index, error);
                    stopped.extend(event.key.as_ref());
                }
            }
        }
        pass_on(&*self.inner, batch, &some, report).await
    }
}

/// Delivers the events at these places, and notes their outcomes.
pub(super) async fn pass_on(
    inner: &dyn Sink,
    batch: &[Event],
    places: &[usize],
    report: &mut DeliveryReport,
) -> Result<(), SinkError> {
    let some: Vec<Event> = places.iter().map(|place| batch[*place].clone()).collect();
    let mut part = DeliveryReport::new(some.len());
    let result = inner.deliver(&some, &mut part).await;
    for (place, outcome) in places.iter().zip(part.into_outcomes()) {
        match outcome {
            Outcome::Delivered => report.delivered(*place),
            Outcome::Failed(error) => report.failed(*place, error),
            Outcome::Unknown => {}
        }
    }
    result
}
