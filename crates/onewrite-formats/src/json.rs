//! The format `json`: the body is the [envelope](onewrite_core::envelope), one JSON object with everything that the event has,
//! for consumers that look at no headers. The headers stay those of the format `native`, but for the content type, which is that
//! of the body; the envelope tells the payload's.
//!
//! A sink whose wire is JSON documents (`file`, `stdout`, `http` with `mode = "batch"`) writes the envelope itself, once.

use std::sync::Arc;

use async_trait::async_trait;
use onewrite_core::Event;
use onewrite_core::envelope::write_envelope;
use onewrite_core::error::SinkError;
use onewrite_core::options::{BuildError, Field, Options};

use crate::format::{Format, Outgoing};

/// What the configuration calls it.
pub(crate) const KIND: &str = "json";

/// What can be configured: nothing.
pub const FIELDS: &[Field] = &[];

/// Makes the format.
///
/// # Errors
/// None.
pub fn build(_options: &Options) -> Result<Arc<dyn Format>, BuildError> {
    Ok(Arc::new(Json))
}

struct Json;

#[async_trait]
impl Format for Json {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn makes_documents(&self) -> bool {
        true
    }

    async fn format(&self, outgoing: &Outgoing<'_>) -> Result<Event, SinkError> {
        let event = outgoing.event;
        let mut body = Vec::with_capacity(event.payload.len() + 512);
        write_envelope(event, &mut body);
        Ok(Event {
            payload: body.into(),
            content_type: "application/json".into(),
            verbatim: None,
            ..event.clone()
        })
    }
}
