//! The format `json`.
//!
#![doc = include_str!("guides/json.md")]

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
    Ok(Arc::new(Json {
        content_type: "application/json".into(),
    }))
}

struct Json {
    content_type: Arc<str>,
}

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
        write_envelope(event, outgoing.topic, &mut body);
        Ok(outgoing.with_body(body.into(), Arc::clone(&self.content_type)))
    }
}
