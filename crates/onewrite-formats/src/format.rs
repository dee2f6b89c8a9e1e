//! The contract of formats.

use std::sync::Arc;

use async_trait::async_trait;
use onewrite_core::Event;
use onewrite_core::error::SinkError;
use onewrite_core::sink::Finding;

/// Turns events into what the wire carries. One value serves every route that names the format, so what it has learned of a
/// schema serves all of them.
#[async_trait]
pub trait Format: Send + Sync {
    /// The format's type as the configuration names it.
    fn kind(&self) -> &'static str;

    /// Whether each event becomes one JSON document, which a sink whose wire is such documents can carry.
    fn makes_documents(&self) -> bool {
        false
    }

    /// The event that the sink shall write, without its topic, which is the route's matter.
    ///
    /// # Errors
    /// What became of this event: parked where it can never be written so, retried where that may pass. An error that halts is
    /// about all events of the route.
    async fn format(&self, outgoing: &Outgoing<'_>) -> Result<Event, SinkError>;

    /// Tells a person what works and what does not, for `onewrite check`; `topics` are the topics at the sink that are known
    /// beforehand. Nothing is changed.
    async fn probe(&self, _topics: &[String]) -> Vec<Finding> {
        Vec::new()
    }
}

/// An event on its way out.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The event as the outbox holds it.
    pub event: &'a Event,
    /// The topic at the sink.
    pub topic: &'a Arc<str>,
    /// What CloudEvents attributes begin with among the sink's headers;
    /// see [`cloudevents_prefix`](onewrite_core::SinkConnector::cloudevents_prefix).
    pub cloudevents_prefix: &'static str,
}
