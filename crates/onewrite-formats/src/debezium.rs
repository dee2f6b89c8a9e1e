//! The format `debezium`: the records that Debezium's outbox event router writes for the same event.
//!
#![doc = include_str!("guides/debezium.md")]

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use onewrite_core::error::SinkError;
use onewrite_core::options::{BuildError, Field, Kind, Options};
use onewrite_core::{Event, Template, Verbatim};

use crate::fields::{defaulted, field};
use crate::format::{Format, Outgoing};

/// What can be configured.
pub const FIELDS: &[Field] = &[
    field(
        "headers",
        Kind::Map,
        "Headers beside id: names and templates, such as { eventType = \"{type}\", aggregateType = \"{topic}\" }. An event that \
         lacks a template's field has the header without a value.",
    ),
    defaulted(
        "event_headers",
        Kind::Flag,
        "true",
        "Whether the event's own headers travel too, such as traceparent.",
    ),
];

/// Debezium's header with the event's id.
const ID: &str = "id";

/// Makes the format.
///
/// # Errors
/// A header that is not a template, or has the name `id`.
pub fn build(options: &Options) -> Result<Arc<dyn Format>, BuildError> {
    let mut headers = Vec::new();
    for (name, text) in options.map("headers") {
        let problem = |words: String| BuildError::new(options, "headers", format!("{name:?} {words}"));
        if name == ID {
            return Err(problem(
                "is the header of the event's id and cannot be another".to_owned(),
            ));
        }
        let template =
            Template::parse(text).map_err(|error| problem(format!("has the value {text:?}, which {error}")))?;
        headers.push((Arc::from(name), template));
    }
    Ok(Arc::new(Debezium {
        headers,
        event_headers: options.flag("event_headers"),
    }))
}

struct Debezium {
    headers: Vec<(Arc<str>, Template)>,
    event_headers: bool,
}

impl Debezium {
    fn record(&self, event: &Event) -> Verbatim {
        let id = event.id.hyphenated().to_string();
        let mut headers = vec![(Arc::from(ID), Some(Bytes::from(id)))];
        let text = |text: &str| Some(Bytes::copy_from_slice(text.as_bytes()));
        if self.event_headers {
            let own = event.headers.iter();
            let own = own.filter(|(name, _)| &**name != ID && !self.headers.iter().any(|(other, _)| other == name));
            headers.extend(own.map(|(name, value)| (Arc::clone(name), text(value))));
        }
        for (name, template) in &self.headers {
            let value = template.render(event).ok();
            headers.push((Arc::clone(name), value.and_then(|value| text(&value))));
        }
        Verbatim {
            key: event.key.as_deref().and_then(text),
            headers,
            ..Verbatim::default()
        }
    }
}

#[async_trait]
impl Format for Debezium {
    fn kind(&self) -> &'static str {
        "debezium"
    }

    async fn format(&self, outgoing: &Outgoing<'_>) -> Result<Event, SinkError> {
        let event = outgoing.event;
        let record = match &event.verbatim {
            Some(record) => record.clone(),
            None => Box::new(self.record(event)),
        };
        let text = |(name, value): &(Arc<str>, Option<Bytes>)| {
            let value = value.as_deref()?;
            Some((Arc::clone(name), String::from_utf8_lossy(value).into()))
        };
        Ok(Event {
            headers: record.headers.iter().filter_map(text).collect(),
            headers_complete: true,
            verbatim: Some(record),
            ..event.clone()
        })
    }
}
