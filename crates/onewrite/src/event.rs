//! What an application appends: an [`Event`], and the checks that every event passes before it is written.

use std::fmt::Write as _;

use bytes::Bytes;
use serde::Serialize;
use uuid::Uuid;

use crate::limits::{
    CONSUMER_BYTES_MAX, CONTENT_TYPE_BYTES_MAX, HEADERS_BYTES_MAX, HEADERS_MAX, KEY_BYTES_MAX, PAYLOAD_BYTES_MAX,
    TOPIC_BYTES_MAX, TYPE_BYTES_MAX,
};

/// The content type of an event that names none.
pub const DEFAULT_CONTENT_TYPE: &str = "application/json";

/// The prefix of the header names that Onewrite itself writes; an event's own headers must not use it.
pub const RESERVED_HEADER_PREFIX: &str = "onewrite-";

/// An event to append to the outbox.
///
/// ```
/// use onewrite::Event;
/// let event = Event::json("shop.orders", &serde_json::json!({"order": 42}))?
///     .key("42")
///     .event_type("OrderPlaced")
///     .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
/// event.check()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The event's identity, the same on every delivery. A new random one (UUID version 4) unless set.
    pub id: Uuid,
    /// Where the event goes; routes match on it. 1 to [`TOPIC_BYTES_MAX`] bytes.
    pub topic: String,
    /// The scope of order: events of one key are delivered in the order of their commits. `None` asks for no order.
    pub key: Option<String>,
    /// What happened, in the application's words, such as `OrderPlaced`.
    pub event_type: Option<String>,
    /// The body, carried untouched. May be empty; at most [`PAYLOAD_BYTES_MAX`] bytes.
    pub payload: Bytes,
    /// The media type of the payload.
    pub content_type: String,
    /// Headers, each name once. At most [`HEADERS_MAX`], together at most [`HEADERS_BYTES_MAX`] bytes. The databases keep
    /// them as a JSON object, and so do not keep their order.
    pub headers: Vec<(String, String)>,
}

impl Event {
    /// An event with this topic and body, a new random id, and no key.
    pub fn new(topic: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self {
            id: Uuid::new_v4(),
            topic: topic.into(),
            key: None,
            event_type: None,
            payload: payload.into(),
            content_type: DEFAULT_CONTENT_TYPE.to_owned(),
            headers: Vec::new(),
        }
    }

    /// An event whose body is `value` as JSON.
    ///
    /// # Errors
    /// When `value` cannot be written as JSON, for example a map whose keys are not strings.
    pub fn json<T: Serialize + ?Sized>(topic: impl Into<String>, value: &T) -> Result<Self, serde_json::Error> {
        Ok(Self::new(topic, serde_json::to_vec(value)?))
    }

    /// Sets the key, the scope of order.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets the type.
    #[must_use]
    pub fn event_type(mut self, event_type: impl Into<String>) -> Self {
        self.event_type = Some(event_type.into());
        self
    }

    /// Sets the id, for applications that draw their own. Two events of one id are one event to an inbox.
    #[must_use]
    pub fn id(mut self, id: Uuid) -> Self {
        self.id = id;
        self
    }

    /// Sets the payload's media type.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = content_type.into();
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Checks every limit. `append` calls it before it touches the database.
    ///
    /// # Errors
    /// The first thing that is wrong, naming the field, what was found and what is allowed.
    pub fn check(&self) -> Result<(), InvalidEvent> {
        check_topic(&self.topic)?;
        if let Some(key) = &self.key {
            check_text("key", key, KEY_BYTES_MAX)?;
        }
        if let Some(event_type) = &self.event_type {
            check_line("type", event_type, TYPE_BYTES_MAX)?;
        }
        check_line("content_type", &self.content_type, CONTENT_TYPE_BYTES_MAX)?;
        check_headers(self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())))?;
        // After the check of their count, so that comparing all with all stays cheap.
        for (at, (name, _)) in self.headers.iter().enumerate() {
            if self.headers[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(InvalidEvent::DuplicateHeader { name: name.clone() });
            }
        }
        check_payload(self.payload.len())
    }

    /// The headers as the JSON object that the `headers` column holds: for writing an event with a driver of one's own.
    pub fn headers_json(&self) -> serde_json::Value {
        self.headers
            .iter()
            .map(|(name, value)| (name.clone(), serde_json::Value::from(value.as_str())))
            .collect()
    }
}

/// Why an event cannot be an outbox event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEvent {
    /// A field that must hold something is empty.
    #[error("{field} is empty; it needs at least one character")]
    Empty {
        /// The field's name.
        field: &'static str,
    },
    /// A field is longer than its limit.
    #[error("{field} has {found} bytes; at most {allowed} are allowed")]
    TooLong {
        /// The field's name.
        field: &'static str,
        /// Its length in bytes.
        found: usize,
        /// The limit in bytes.
        allowed: usize,
    },
    /// A field holds a character that would break or forge a header line on the wire.
    #[error("{field} holds the control character {character} ({shown}); it is not allowed there")]
    ControlCharacter {
        /// The field's name, or the header's.
        field: String,
        /// The character as `U+000D`.
        character: String,
        /// The value with its control characters escaped, shortened.
        shown: String,
    },
    /// More headers than [`HEADERS_MAX`].
    #[error("the event has {found} headers; at most {HEADERS_MAX} are allowed")]
    TooManyHeaders {
        /// How many there are.
        found: usize,
    },
    /// A header name that is empty or not made of letters, digits and the marks that HTTP allows in a field name.
    #[error("the header name {name:?} is not allowed; use letters, digits, '-', '_' and '.'")]
    HeaderName {
        /// The name.
        name: String,
    },
    /// A header name that Onewrite keeps for itself.
    #[error("the header name {name:?} begins with \"{RESERVED_HEADER_PREFIX}\", which Onewrite keeps for itself")]
    ReservedHeader {
        /// The name.
        name: String,
    },
    /// Two headers of one name, of which the headers column would keep one.
    #[error("the header {name:?} is there twice; a name can be used once")]
    DuplicateHeader {
        /// The name.
        name: String,
    },
    /// The headers column holds something other than an object of texts.
    #[error("headers hold {found}; expected a flat JSON object of texts, numbers and booleans")]
    HeadersShape {
        /// What was found.
        found: String,
    },
}

/// Checks a topic: not empty, at most [`TOPIC_BYTES_MAX`] bytes, no control characters.
///
/// # Errors
/// What is wrong with it.
pub fn check_topic(topic: &str) -> Result<(), InvalidEvent> {
    if topic.is_empty() {
        return Err(InvalidEvent::Empty { field: "topic" });
    }
    check_line("topic", topic, TOPIC_BYTES_MAX)
}

/// Checks a text that may hold any character but NUL.
///
/// # Errors
/// What is wrong with it.
pub fn check_text(field: &'static str, text: &str, bytes_max: usize) -> Result<(), InvalidEvent> {
    if text.len() > bytes_max {
        return Err(InvalidEvent::TooLong {
            field,
            found: text.len(),
            allowed: bytes_max,
        });
    }
    match text.chars().find(|character| *character == '\0') {
        Some(character) => Err(control_character(field, text, character)),
        None => Ok(()),
    }
}

/// Checks a text that travels as one line: no control characters at all.
///
/// # Errors
/// What is wrong with it.
pub fn check_line(field: &'static str, text: &str, bytes_max: usize) -> Result<(), InvalidEvent> {
    if text.len() > bytes_max {
        return Err(InvalidEvent::TooLong {
            field,
            found: text.len(),
            allowed: bytes_max,
        });
    }
    match text.chars().find(|character| character.is_control()) {
        Some(character) => Err(control_character(field, text, character)),
        None => Ok(()),
    }
}

/// Checks all headers of one event: count, total length, names, values, and the reserved prefix.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_headers<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> Result<(), InvalidEvent> {
    let (mut count, mut bytes) = (0, 0);
    for (name, value) in headers {
        count += 1;
        bytes += name.len() + value.len();
        check_header_name(name)?;
        if let Some(character) = value
            .chars()
            .find(|character| character.is_control() && *character != '\t')
        {
            return Err(control_character(&format!("header {name:?}"), value, character));
        }
    }
    if count > HEADERS_MAX {
        return Err(InvalidEvent::TooManyHeaders { found: count });
    }
    if bytes > HEADERS_BYTES_MAX {
        return Err(InvalidEvent::TooLong {
            field: "headers",
            found: bytes,
            allowed: HEADERS_BYTES_MAX,
        });
    }
    Ok(())
}

/// Checks the name of a consumer of the inbox: not empty, at most [`CONSUMER_BYTES_MAX`] bytes, no control characters.
///
/// # Errors
/// What is wrong with it.
pub fn check_consumer(consumer: &str) -> Result<(), InvalidEvent> {
    if consumer.is_empty() {
        return Err(InvalidEvent::Empty { field: "consumer" });
    }
    check_line("consumer", consumer, CONSUMER_BYTES_MAX)
}

/// Checks a payload's length.
///
/// # Errors
/// [`InvalidEvent::TooLong`] past [`PAYLOAD_BYTES_MAX`].
pub fn check_payload(length: usize) -> Result<(), InvalidEvent> {
    if length > PAYLOAD_BYTES_MAX {
        return Err(InvalidEvent::TooLong {
            field: "payload",
            found: length,
            allowed: PAYLOAD_BYTES_MAX,
        });
    }
    Ok(())
}

fn check_header_name(name: &str) -> Result<(), InvalidEvent> {
    // The token characters of RFC 9110 section 5.6.2, which the other brokers' header names allow as well.
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(InvalidEvent::HeaderName { name: name.to_owned() });
    }
    let reserved = name.get(..RESERVED_HEADER_PREFIX.len());
    if reserved.is_some_and(|start| start.eq_ignore_ascii_case(RESERVED_HEADER_PREFIX)) {
        return Err(InvalidEvent::ReservedHeader { name: name.to_owned() });
    }
    Ok(())
}

fn control_character(field: &str, text: &str, character: char) -> InvalidEvent {
    let mut shown = String::new();
    for shown_character in text.chars().take(40) {
        let _ = write!(shown, "{}", shown_character.escape_debug());
    }
    InvalidEvent::ControlCharacter {
        field: field.to_owned(),
        character: format!("U+{:04X}", u32::from(character)),
        shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Event {
        Event::new("shop.orders", "{}")
    }

    #[test]
    fn a_plain_event_passes_and_an_empty_payload_too() {
        assert_eq!(plain().check(), Ok(()));
        assert_eq!(Event::new("shop.orders", Bytes::new()).check(), Ok(()));
    }

    #[test]
    fn each_limit_is_told_with_what_was_found() {
        let told = |event: Event| event.check().unwrap_err().to_string();
        assert_eq!(
            told(Event::new("", "x")),
            "topic is empty; it needs at least one character"
        );
        assert_eq!(
            told(plain().key("k".repeat(10_000))),
            "key has 10000 bytes; at most 1024 are allowed"
        );
        assert_eq!(
            told(Event::new("t", vec![0; PAYLOAD_BYTES_MAX + 1])),
            "payload has 67108865 bytes; at most 67108864 are allowed"
        );
        assert_eq!(
            told(plain().key("a\0b")),
            "key holds the control character U+0000 (a\\0b); it is not allowed there"
        );
        assert_eq!(
            told(plain().header("x", "a\r\nb")),
            "header \"x\" holds the control character U+000D (a\\r\\nb); it is not allowed there"
        );
        assert_eq!(
            told(plain().header("a b", "x")),
            "the header name \"a b\" is not allowed; use letters, digits, '-', '_' and '.'"
        );
        assert_eq!(
            told(plain().header("x", "1").header("x", "2")),
            "the header \"x\" is there twice; a name can be used once"
        );
        assert!(told(plain().header("Onewrite-Id", "x")).contains("keeps for itself"));
        let many = (0..=HEADERS_MAX).fold(plain(), |event, n| event.header(format!("h{n}"), "v"));
        assert_eq!(told(many), "the event has 65 headers; at most 64 are allowed");
    }
}
