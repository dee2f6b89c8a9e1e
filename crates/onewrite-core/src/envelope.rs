//! An event as one JSON object, for sinks whose wire is JSON: lines of a file, arrays in an HTTP body.
//!
//! | field | JSON | meaning |
//! | --- | --- | --- |
//! | `id` | text | the event's id, a UUID in lower case; the same on every delivery |
//! | `topic` | text | where the event goes: the topic at the sink, where the route makes another of the event's own |
//! | `key` | text or null | the scope of order; null: none was asked |
//! | `type` | text or null | what happened, in the application's words |
//! | `occurred_at` | text | when the database recorded it: RFC 3339 in UTC with microseconds |
//! | `replay` | number | the number of the replay that hands the event out once more; left out of all others |
//! | `content_type` | text | the media type of the payload |
//! | `headers` | object of texts | the event's own headers |
//! | `payload` | any JSON | the payload, where its content type is JSON and it is well-formed: number for number and escape for escape as it was recorded, but with line breaks between its tokens turned into spaces |
//! | `payload_text` | text | the payload, where it is other UTF-8 text |
//! | `payload_base64` | text | the payload in base64 (RFC 4648 section 4, padded), where it is anything else |
//!
//! Exactly one of the three payload fields is there. The object holds no line break, so it can be a line.

use std::borrow::Cow;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::event::Event;

/// Appends the envelope of `event`, which goes to `topic`, to `out`.
pub fn write_envelope(event: &Event, topic: &str, out: &mut Vec<u8>) {
    // Writing into memory cannot fail, and every name in the object is a text.
    serde_json::to_writer(out, &Envelope { event, topic }).expect("an envelope can always be written");
}

/// Appends the JSON document that an event is on a wire of such documents: its envelope, or the event itself where a format has
/// made it a document, a structured CloudEvent. It holds no line break.
pub fn write_document(event: &Event, out: &mut Vec<u8>) {
    let document = (event.headers_complete && is_cloudevent(&event.content_type))
        .then(|| json_on_one_line(&event.payload))
        .flatten();
    match document {
        Some(document) => out.extend_from_slice(document.get().as_bytes()),
        None => write_envelope(event, &event.topic, out),
    }
}

/// Whether a media type is that of a CloudEvent in structured mode.
pub fn is_cloudevent(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/cloudevents+json")
}

/// A body as JSON without line breaks between its tokens, where it is well-formed.
pub fn json_on_one_line(body: &[u8]) -> Option<Cow<'_, RawValue>> {
    serde_json::from_slice::<&RawValue>(body).ok().map(one_line)
}

/// Whether a media type says that the body is JSON: `application/json`, `text/json` or any `+json`.
pub fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let Some((_, subtype)) = essence.split_once('/') else {
        return false;
    };
    subtype.eq_ignore_ascii_case("json")
        || subtype
            .len()
            .checked_sub("+json".len())
            .and_then(|at| subtype.get(at..))
            .is_some_and(|suffix| suffix.eq_ignore_ascii_case("+json"))
}

/// An event that serialises as its envelope.
struct Envelope<'a> {
    event: &'a Event,
    topic: &'a str,
}

impl Serialize for Envelope<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = self.event;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &event.id)?;
        map.serialize_entry("topic", self.topic)?;
        map.serialize_entry("key", &event.key.as_deref())?;
        map.serialize_entry("type", &event.event_type.as_deref())?;
        map.serialize_entry("occurred_at", &format_args!("{:.6}", event.occurred_at))?;
        if let Some(replay) = event.replay {
            map.serialize_entry("replay", &replay)?;
        }
        map.serialize_entry("content_type", &*event.content_type)?;
        map.serialize_entry("headers", &Headers(event))?;
        match Payload::of(event) {
            Payload::Json(json) => map.serialize_entry("payload", &json)?,
            Payload::Text(text) => map.serialize_entry("payload_text", text)?,
            Payload::Bytes(bytes) => {
                map.serialize_entry(
                    "payload_base64",
                    &format_args!("{}", Base64Display::new(bytes, &STANDARD)),
                )?;
            }
        }
        map.end()
    }
}

struct Headers<'a>(&'a Event);

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.headers.iter().map(|(name, value)| (&**name, &**value)))
    }
}

enum Payload<'a> {
    Json(Cow<'a, RawValue>),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl<'a> Payload<'a> {
    fn of(event: &'a Event) -> Self {
        let Ok(text) = std::str::from_utf8(&event.payload) else {
            return Self::Bytes(&event.payload);
        };
        if !is_json(&event.content_type) {
            return Self::Text(text);
        }
        match serde_json::from_str::<&RawValue>(text) {
            Ok(json) => Self::Json(one_line(json)),
            Err(_) => Self::Text(text),
        }
    }
}

/// The same JSON without line breaks. JSON's own texts cannot hold a raw one, so every one stands between tokens.
fn one_line(json: &RawValue) -> Cow<'_, RawValue> {
    if !json.get().contains(['\n', '\r']) {
        return Cow::Borrowed(json);
    }
    let line = json.get().replace(['\n', '\r'], " ");
    Cow::Owned(RawValue::from_string(line).expect("spaces between tokens leave JSON well-formed"))
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use bytes::Bytes;
    use jiff::Timestamp;
    use proptest::prelude::*;
    use serde_json::Value;
    use uuid::Uuid;

    use super::*;

    fn event(content_type: &str, payload: &[u8]) -> Event {
        Event {
            id: Uuid::from_u128(7),
            topic: "shop.orders".into(),
            key: None,
            event_type: None,
            payload: Bytes::copy_from_slice(payload),
            content_type: content_type.into(),
            headers: Vec::new(),
            occurred_at: Timestamp::from_microsecond(1_700_000_000_000_001).unwrap(),
            replay: None,
            headers_complete: false,
            verbatim: None,
        }
    }

    fn written(event: &Event) -> String {
        let mut out = Vec::new();
        write_envelope(event, &event.topic, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_envelope_looks_as_documented() {
        let mut event = event(
            "application/json",
            b"{\"n\":1.0,\"big\":123456789012345678901234567890}",
        );
        event.key = Some("42".into());
        event.event_type = Some("OrderPlaced".into());
        event.headers = vec![("traceparent".into(), "00-ab".into())];
        assert_eq!(
            written(&event),
            "{\"id\":\"00000000-0000-0000-0000-000000000007\",\"topic\":\"shop.orders\",\"key\":\"42\",\
             \"type\":\"OrderPlaced\",\"occurred_at\":\"2023-11-14T22:13:20.000001Z\",\
             \"content_type\":\"application/json\",\"headers\":{\"traceparent\":\"00-ab\"},\
             \"payload\":{\"n\":1.0,\"big\":123456789012345678901234567890}}"
        );
    }

    #[test]
    fn the_payload_goes_into_the_field_that_can_hold_it() {
        for (content_type, payload, field) in [
            ("application/json", &b"{\n  \"a\": 1\r\n}"[..], "payload"),
            ("application/cloudevents+JSON; charset=utf-8", b"[]", "payload"),
            ("application/json", b"", "payload_text"),
            ("application/json", b"{\"a\":", "payload_text"),
            ("application/json", b"{} {}", "payload_text"),
            ("text/plain", b"{}", "payload_text"),
            ("json", b"{}", "payload_text"),
            ("application/json", b"\"\xff\"", "payload_base64"),
            ("application/octet-stream", b"\x00\xff", "payload_base64"),
        ] {
            let line = written(&event(content_type, payload));
            let json: Value = serde_json::from_str(&line).unwrap();
            let present: Vec<_> = json
                .as_object()
                .unwrap()
                .keys()
                .filter(|name| name.starts_with("payload"))
                .collect();
            assert_eq!(present, [field], "{content_type} {payload:?}");
            assert!(!line.contains(['\n', '\r']), "{line}");
        }
    }

    #[test]
    fn a_replayed_event_tells_its_replay_and_no_other_does() {
        let mut event = event("text/plain", b"x");
        assert!(!written(&event).contains("replay"));
        event.replay = Some(3);
        let json: Value = serde_json::from_str(&written(&event)).unwrap();
        assert_eq!(json["replay"], 3);
    }

    #[test]
    fn a_document_is_the_envelope_or_the_cloudevent_that_a_format_made() {
        let document = |event: &Event| {
            let mut out = Vec::new();
            write_document(event, &mut out);
            String::from_utf8(out).unwrap()
        };
        let mut event = event(
            "application/cloudevents+json; charset=utf-8",
            b"{\"specversion\":\n\"1.0\"}",
        );
        assert_eq!(
            document(&event),
            written(&event),
            "the application's own is a payload like any other"
        );
        event.headers_complete = true;
        assert_eq!(document(&event), "{\"specversion\": \"1.0\"}");
        event.payload = Bytes::from_static(b"{");
        assert_eq!(document(&event), written(&event));
    }

    proptest! {
        #[test]
        fn every_event_is_one_line_of_json_from_which_the_payload_can_be_read(
            payload in prop::collection::vec(any::<u8>(), 0..200),
            text in any::<String>(),
            content_type in prop::sample::select(vec!["application/json", "text/plain"]),
        ) {
            for payload in [&payload[..], text.as_bytes(), serde_json::to_string_pretty(&[&text]).unwrap().as_bytes()] {
                let mut event = event(content_type, payload);
                event.key = Some(text.as_str().into());
                let line = written(&event);
                prop_assert!(!line.contains(['\n', '\r']));
                let json: Value = serde_json::from_str(&line).unwrap();
                prop_assert_eq!(json["key"].as_str(), Some(text.as_str()));
                if let Some(text) = json["payload_text"].as_str() {
                    prop_assert_eq!(text.as_bytes(), payload);
                } else if let Some(text) = json["payload_base64"].as_str() {
                    prop_assert_eq!(STANDARD.decode(text).unwrap(), payload);
                } else {
                    prop_assert_eq!(&json["payload"], &serde_json::from_slice::<Value>(payload).unwrap());
                }
            }
        }
    }
}
