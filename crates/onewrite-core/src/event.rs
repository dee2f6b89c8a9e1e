//! An event as the outbox holds it, on its way to a sink.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use onewrite::event::{InvalidEvent, check_headers, check_line, check_payload, check_text, check_topic};
use onewrite::limits::{CONTENT_TYPE_BYTES_MAX, KEY_BYTES_MAX, TYPE_BYTES_MAX};
use uuid::Uuid;

/// Header names and values in their order.
pub type Headers = Vec<(Arc<str>, Arc<str>)>;

/// A recorded event. Sources make it, sinks read it, nobody changes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The identity that every delivery of this event carries.
    pub id: Uuid,
    /// Where the event goes.
    pub topic: Arc<str>,
    /// The scope of order; `None` asks for none.
    pub key: Option<Arc<str>>,
    /// What happened, in the application's words.
    pub event_type: Option<Arc<str>>,
    /// The body, untouched.
    pub payload: Bytes,
    /// The media type of the payload.
    pub content_type: Arc<str>,
    /// The application's own headers, in their order.
    pub headers: Headers,
    /// When the database recorded it, by the database's clock.
    pub occurred_at: Timestamp,
    /// The number of the replay that hands the event out once more; `None` where it is on its way for the first time.
    pub replay: Option<i64>,
    /// Whether a format has laid down all headers: then `headers` are what the wire carries, and a sink adds none of those of
    /// the format `native`. What a protocol has a property of its own for, such as a message's id, is the sink's all the same.
    pub headers_complete: bool,
    /// What the record looks like at a broker of keyed records, where the source's contract lays it down to the byte. A sink
    /// that has records of this shape writes it in place of the format's own rendering; others render the fields above.
    pub verbatim: Option<Box<Verbatim>>,
}

/// A record laid down by the source's contract, such as that of Debezium's outbox event router. Its value is the event's
/// payload, unless it is a [`tombstone`](Self::tombstone).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verbatim {
    /// The record's key; not always the text of the event's key, which is the scope of order.
    pub key: Option<Bytes>,
    /// Whether the record has no value at all.
    pub tombstone: bool,
    /// The record's headers in their order; a header may have no value.
    pub headers: Vec<(Arc<str>, Option<Bytes>)>,
    /// The partition it must go to; `None` leaves it to the sink.
    pub partition: Option<i32>,
    /// The record's time in milliseconds since 1970; `None` stands for the event's `occurred_at`.
    pub timestamp: Option<i64>,
}

impl Verbatim {
    fn weight(&self) -> usize {
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| name.len() + value.as_ref().map_or(0, Bytes::len));
        size_of::<Self>() + self.key.as_ref().map_or(0, Bytes::len) + headers.sum::<usize>()
    }
}

impl Event {
    /// What the event weighs against a byte budget: its texts and payload, and what the structure itself takes.
    pub fn weight(&self) -> usize {
        let texts = self.topic.len()
            + self.key.as_deref().map_or(0, str::len)
            + self.event_type.as_deref().map_or(0, str::len)
            + self
                .headers
                .iter()
                .map(|(name, value)| name.len() + value.len())
                .sum::<usize>();
        let verbatim = self.verbatim.as_deref().map_or(0, Verbatim::weight);
        size_of::<Self>() + texts + self.payload.len() + verbatim
    }

    /// Checks the event against every limit, for rows that came by a plain `INSERT` and passed no library.
    ///
    /// # Errors
    /// What is wrong; such an event is poison and is parked before any sink sees it.
    pub fn check(&self) -> Result<(), InvalidEvent> {
        check_topic(&self.topic)?;
        if let Some(key) = &self.key {
            check_text("key", key, KEY_BYTES_MAX)?;
        }
        if let Some(event_type) = &self.event_type {
            check_line("type", event_type, TYPE_BYTES_MAX)?;
        }
        check_line("content_type", &self.content_type, CONTENT_TYPE_BYTES_MAX)?;
        check_headers(self.headers.iter().map(|(name, value)| (&**name, &**value)))?;
        check_payload(self.payload.len())
    }
}

/// Reads the headers column: a flat JSON object whose values are texts, numbers or booleans (null is left out).
///
/// # Errors
/// [`InvalidEvent::HeadersShape`] naming what was found instead.
pub fn headers_from_json(json: &serde_json::Value) -> Result<Headers, InvalidEvent> {
    let shape = |found: String| InvalidEvent::HeadersShape { found };
    let serde_json::Value::Object(object) = json else {
        return Err(shape(format!("{} at the top", kind_of(json))));
    };
    let mut headers = Vec::with_capacity(object.len());
    for (name, value) in object {
        let text: Arc<str> = match value {
            serde_json::Value::Null => continue,
            serde_json::Value::String(text) => text.as_str().into(),
            serde_json::Value::Number(number) => number.to_string().into(),
            serde_json::Value::Bool(flag) => flag.to_string().into(),
            other => return Err(shape(format!("{} under {name:?}", kind_of(other)))),
        };
        headers.push((name.as_str().into(), text));
    }
    Ok(headers)
}

/// Writes headers as the JSON object that the headers column holds.
pub fn headers_to_json(headers: &[(Arc<str>, Arc<str>)]) -> serde_json::Value {
    headers
        .iter()
        .map(|(name, value)| (name.to_string(), serde_json::Value::from(&**value)))
        .collect()
}

fn kind_of(json: &serde_json::Value) -> &'static str {
    match json {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "a boolean",
        serde_json::Value::Number(_) => "a number",
        serde_json::Value::String(_) => "a text",
        serde_json::Value::Array(_) => "an array",
        serde_json::Value::Object(_) => "an object",
    }
}
