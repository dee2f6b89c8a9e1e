//! The contract of formats.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use onewrite_core::Event;
use onewrite_core::error::SinkError;
use onewrite_core::event::Headers;
use onewrite_core::sink::{CloudEventsBinding, Finding};

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

    /// The event that the sink shall write, made by [`Outgoing::with_body`] or [`Outgoing::laid_down`]. Whoever reads it can tell
    /// whether it is [replayed](Event::replay): where the format lays down all headers, that is among them.
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
    /// What CloudEvents attributes are among the sink's headers.
    pub cloudevents: CloudEventsBinding,
}

impl Outgoing<'_> {
    /// The event with this body. Its own headers stay, and the sink puts those of the format `native` beside them.
    pub fn with_body(&self, payload: Bytes, content_type: Arc<str>) -> Event {
        self.made(self.event.headers.clone(), payload, content_type)
    }

    /// The event with this body and these headers, to which the sink adds none.
    pub fn laid_down(&self, headers: Headers, payload: Bytes, content_type: Arc<str>) -> Event {
        Event {
            headers_complete: true,
            ..self.made(headers, payload, content_type)
        }
    }

    /// Nothing is copied that the format replaces.
    fn made(&self, headers: Headers, payload: Bytes, content_type: Arc<str>) -> Event {
        let event = self.event;
        Event {
            id: event.id,
            topic: Arc::clone(self.topic),
            key: event.key.clone(),
            event_type: event.event_type.clone(),
            payload,
            content_type,
            headers,
            occurred_at: event.occurred_at,
            replay: event.replay,
            headers_complete: event.headers_complete,
            verbatim: None,
        }
    }
}
