//! The contract of sinks: where events go.

use std::ops::{Deref, DerefMut};

use async_trait::async_trait;

use crate::error::SinkError;
use crate::event::Event;
use crate::verify::ReadBack;

/// Makes connected sinks. Core drops a sink whose connection broke and connects anew, with its own backoff.
#[async_trait]
pub trait SinkConnector: Send + Sync {
    /// The sink's type as the configuration names it.
    fn kind(&self) -> &'static str;

    /// Connects and makes sure that the broker answers.
    async fn connect(&self) -> Result<Box<dyn Sink>, SinkError>;

    /// What CloudEvents attributes are among this protocol's headers. A protocol that CloudEvents has a binding for says so here.
    fn cloudevents(&self) -> CloudEventsBinding {
        CloudEventsBinding::NONE
    }

    /// Whether the sink writes each event as a JSON [document](crate::envelope::write_document) of its own making, so that formats
    /// that lay down a body of another kind make no sense before it.
    fn writes_documents(&self) -> bool {
        false
    }

    /// How `onewrite verify` reads back what arrived; or why that cannot be, in words that follow "since", such as "a topic keeps
    /// nothing".
    fn read_back(&self) -> Result<Box<dyn ReadBack>, &'static str> {
        Err("it does not tell how")
    }

    /// Tells a person what works and what does not, for `onewrite check`; `topics` are the literal topics of its routes.
    async fn probe(&self, topics: &[String]) -> Vec<Finding>;
}

/// What the attributes of a CloudEvent are among a protocol's headers, in the binary mode of the format `cloudevents`: what the
/// protocol's binding says of them (<https://github.com/cloudevents/spec/tree/main/cloudevents/bindings>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloudEventsBinding {
    /// What the name of an attribute begins with, such as `ce_` for Kafka. Empty: an attribute's name is a header's name.
    pub prefix: &'static str,
    /// Whether values are percent-encoded, since headers cannot hold them as they are: HTTP's binding (3.1.3.2) and that of NATS
    /// (the same section) ask for it, the others take UTF-8.
    pub percent_encoded: bool,
    /// Whether `datacontenttype` is an attribute among the others, as for NATS, rather than the protocol's own content type alone.
    pub data_content_type: bool,
}

impl CloudEventsBinding {
    /// For protocols without a binding: names as over HTTP, values as they are.
    pub const NONE: Self = Self::prefixed("ce-");

    /// The binding of a protocol whose headers hold any text.
    pub const fn prefixed(prefix: &'static str) -> Self {
        Self {
            prefix,
            percent_encoded: false,
            data_content_type: false,
        }
    }
}

/// A connected sink: there is nothing to reconnect inside.
///
/// A sink upholds:
/// - **Delivered means acknowledged.** [`DeliveryReport::delivered`] is said of an event only after the broker
///   acknowledged that it keeps it.
/// - **A failure stops its key.** When an event is not delivered, no later event of its key in this batch may reach the
///   broker, in this call or after it.
/// - **No order across calls is asked.** Core never has two batches under way that share a key.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Delivers a batch, in slice order for each key, and notes each event's outcome in `report` as soon as it is
    /// known. What is not noted counts as unknown and is tried again. An error is about the connection or the route as
    /// a whole; outcomes noted before it stand. Calls run concurrently. When the future is dropped, events that were
    /// not noted may still arrive, even after later calls of this or another sink, but only as repetitions: never so
    /// that the first delivery of an event comes before that of an earlier one of its key.
    async fn deliver(&self, batch: &[Event], report: &mut DeliveryReport) -> Result<(), SinkError>;

    /// Lets what is under way come to rest and frees the connection. Calling it twice is harmless.
    async fn close(&self) -> Result<(), SinkError>;
}

/// What became of one event.
#[derive(Debug, Default)]
pub enum Outcome {
    /// Not reported: it may or may not have arrived. It is tried again.
    #[default]
    Unknown,
    /// The broker acknowledged that it keeps the event.
    Delivered,
    /// It did not arrive, for this reason.
    Failed(SinkError),
}

/// The outcomes of one batch, one for each event. Starts all unknown.
#[derive(Debug)]
pub struct DeliveryReport {
    outcomes: Vec<Outcome>,
}

impl DeliveryReport {
    /// A report over `length` events of which nothing is known.
    pub fn new(length: usize) -> Self {
        Self {
            outcomes: std::iter::repeat_with(Outcome::default).take(length).collect(),
        }
    }

    /// Notes that the broker acknowledged the event at `index` of the batch.
    ///
    /// # Panics
    /// When `index` is outside the batch.
    pub fn delivered(&mut self, index: usize) {
        self.outcomes[index] = Outcome::Delivered;
    }

    /// Notes that the event at `index` failed.
    ///
    /// # Panics
    /// When `index` is outside the batch.
    pub fn failed(&mut self, index: usize, error: SinkError) {
        self.outcomes[index] = Outcome::Failed(error);
    }

    /// What is known of the event at `index`.
    ///
    /// # Panics
    /// When `index` is outside the batch.
    pub fn outcome(&self, index: usize) -> &Outcome {
        &self.outcomes[index]
    }

    /// The outcomes in the order of the batch.
    pub fn into_outcomes(self) -> Vec<Outcome> {
        self.outcomes
    }

    /// A report over the events at these places of the batch, for a sink behind this one. What is noted there is noted here as soon as
    /// it is dropped, also where that is in the middle of a delivery.
    pub fn part(&mut self, places: Vec<usize>) -> PartReport<'_> {
        PartReport {
            part: Self::new(places.len()),
            places,
            whole: self,
        }
    }
}

/// What [`DeliveryReport::part`] returns.
#[derive(Debug)]
pub struct PartReport<'a> {
    part: DeliveryReport,
    places: Vec<usize>,
    whole: &'a mut DeliveryReport,
}

impl Deref for PartReport<'_> {
    type Target = DeliveryReport;

    fn deref(&self) -> &DeliveryReport {
        &self.part
    }
}

impl DerefMut for PartReport<'_> {
    fn deref_mut(&mut self) -> &mut DeliveryReport {
        &mut self.part
    }
}

impl Drop for PartReport<'_> {
    fn drop(&mut self) {
        for (place, noted) in self.places.iter().zip(self.part.outcomes.drain(..)) {
            if !matches!(noted, Outcome::Unknown) {
                self.whole.outcomes[*place] = noted;
            }
        }
    }
}

/// One thing that a check found out, for people.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// How grave it is.
    pub level: FindingLevel,
    /// What was looked at, such as `topic shop.orders`.
    pub subject: String,
    /// What was found, and for anything but `Works` what to do.
    pub message: String,
}

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingLevel {
    /// It works.
    Works,
    /// It works, but a person should know something.
    Warning,
    /// It does not work.
    Broken,
}

impl Finding {
    /// A finding that all is well.
    pub fn works(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            level: FindingLevel::Works,
            subject: subject.into(),
            message: message.into(),
        }
    }

    /// A finding that a person should know of.
    pub fn warning(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            level: FindingLevel::Warning,
            subject: subject.into(),
            message: message.into(),
        }
    }

    /// A finding that something does not work.
    pub fn broken(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            level: FindingLevel::Broken,
            subject: subject.into(),
            message: message.into(),
        }
    }
}
