//! Structured mode: one JSON document holds everything.

use std::sync::Arc;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use onewrite_core::Event;
use onewrite_core::envelope::{is_json, json_on_one_line};
use onewrite_core::error::SinkError;
use onewrite_core::event::Headers;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::attributes::Attributes;
use super::{Outgoing, REPLAY, binary, other_headers};

/// The media type of a structured CloudEvent.
pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

pub(super) fn write(outgoing: &Outgoing<'_>, attributes: &Attributes<'_>, content_type: Arc<str>) -> Event {
    let event = outgoing.event;
    let headers = other_headers(outgoing).cloned().collect();
    let mut body = Vec::with_capacity(event.payload.len() + 512);
    // Writing into memory cannot fail, and every name in the object is a text.
    serde_json::to_writer(&mut body, &Document { event, attributes }).expect("a CloudEvent can always be written");
    outgoing.laid_down(headers, body.into(), content_type)
}

/// A CloudEvent that the application wrote, as it is. That it is replayed stands beside it.
pub(super) fn pass(outgoing: &Outgoing<'_>, content_type: Arc<str>) -> Result<Event, SinkError> {
    let event = outgoing.event;
    if json_on_one_line(&event.payload).is_none() {
        return Err(SinkError::park(
            "the content type says that the payload is a CloudEvent, but it is not JSON",
        ));
    }
    let mut headers: Headers = other_headers(outgoing).cloned().collect();
    if let Some(replay) = event.replay {
        binary::put(outgoing, &mut headers, REPLAY, replay.to_string().into());
    }
    Ok(outgoing.laid_down(headers, event.payload.clone(), content_type))
}

struct Document<'a> {
    event: &'a Event,
    attributes: &'a Attributes<'a>,
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { event, attributes } = self;
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in &attributes.0 {
            map.serialize_entry(name, value)?;
        }
        if !event.content_type.is_empty() {
            map.serialize_entry("datacontenttype", &*event.content_type)?;
        }
        if event.payload.is_empty() {
            return map.end();
        }
        if is_json(&event.content_type)
            && let Some(json) = json_on_one_line(&event.payload)
        {
            map.serialize_entry("data", &json)?;
        } else if is_text(&event.content_type)
            && let Ok(text) = std::str::from_utf8(&event.payload)
        {
            map.serialize_entry("data", text)?;
        } else {
            let text = Base64Display::new(&event.payload, &STANDARD);
            map.serialize_entry("data_base64", &format_args!("{text}"))?;
        }
        map.end()
    }
}

/// Whether a media type is that of a text in UTF-8.
fn is_text(content_type: &str) -> bool {
    let (essence, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let (essence, parameters) = (essence.trim().to_ascii_lowercase(), parameters.to_ascii_lowercase());
    let textual = essence.starts_with("text/") || essence == "application/xml" || essence.ends_with("+xml");
    textual && (!parameters.contains("charset") || parameters.contains("utf-8"))
}
