//! Structured mode: one JSON document holds everything.

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use onewrite_core::Event;
use onewrite_core::envelope::{is_json, json_on_one_line};
use onewrite_core::error::SinkError;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::attributes::Attributes;
use super::{Outgoing, other_headers};

/// The media type of a structured CloudEvent.
const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

pub(super) fn write(outgoing: &Outgoing<'_>, attributes: &Attributes) -> Event {
    let event = outgoing.event;
    let mut body = Vec::with_capacity(event.payload.len() + 512);
    // Writing into memory cannot fail, and every name in the object is a text.
    serde_json::to_writer(&mut body, &Document { event, attributes }).expect("a CloudEvent can always be written");
    laid(outgoing, body.into())
}

/// A CloudEvent that the application wrote, as it is.
pub(super) fn pass(outgoing: &Outgoing<'_>) -> Result<Event, SinkError> {
    let payload = &outgoing.event.payload;
    match json_on_one_line(payload) {
        Some(_) => Ok(laid(outgoing, payload.clone())),
        None => Err(SinkError::park(
            "the content type says that the payload is a CloudEvent, but it is not JSON",
        )),
    }
}

fn laid(outgoing: &Outgoing<'_>, payload: bytes::Bytes) -> Event {
    Event {
        payload,
        content_type: CONTENT_TYPE.into(),
        headers: other_headers(outgoing).cloned().collect(),
        headers_complete: true,
        verbatim: None,
        ..outgoing.event.clone()
    }
}

struct Document<'a> {
    event: &'a Event,
    attributes: &'a Attributes,
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { event, attributes } = self;
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in &attributes.0 {
            map.serialize_entry(&**name, value)?;
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
