//! Messages: what of an event these services can carry, and how.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use onewrite_core::Event;
use onewrite_core::error::SinkError;
use onewrite_core::wire::{HEADER_CONTENT_TYPE, HEADER_KEY, RESERVED_HEADER_PREFIX, key_header, native_headers};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::Service;
use super::settings::Settings;
use crate::hex::hex;
use crate::limits::{AWS_ATTRIBUTE_NAME_BYTES_MAX, AWS_ATTRIBUTES_MAX, AWS_GROUP_BYTES_MAX};

/// The attribute that tells of a payload that travels in another form than it has.
const PAYLOAD_ENCODING: &str = "onewrite-payload-encoding";

/// The attribute with the headers that cannot be attributes themselves.
const HEADERS: &str = "onewrite-headers";

/// A message to be sent.
#[derive(Debug)]
pub(crate) struct Message {
    /// The address of the queue or topic.
    pub address: String,
    /// Body and attributes, in bytes, as the services count them.
    pub size: usize,
    pub body: String,
    /// All of type String.
    pub attributes: Vec<(String, String)>,
    /// Message group and deduplication id, for a FIFO queue or topic.
    pub fifo: Option<(String, String)>,
}

impl Message {
    /// The message of an event.
    ///
    /// # Errors
    /// To park an event that names no queue or topic, or is too large.
    pub(super) fn new<S: Service>(settings: &Settings, event: &Event) -> Result<Self, SinkError> {
        let address = settings.address.address(event)?.into_owned();
        let fifo = S::place_name(&address).map_err(SinkError::park)?.ends_with(".fifo");
        let (body, encoding) = body(&event.payload);
        let attributes = attributes(event, encoding);
        let of_attributes = attributes
            .iter()
            .map(|(name, value)| name.len() + "String".len() + value.len());
        let size = body.len() + of_attributes.sum::<usize>();
        let most = settings.message_bytes_max;
        if size > most {
            return Err(SinkError::park(format!(
                "the message has {size} bytes with its attributes, more than max_message_bytes = {most}"
            )));
        }
        Ok(Self {
            address,
            size,
            body,
            attributes,
            fifo: fifo.then(|| (group(event), deduplication(event))),
        })
    }
}

/// The body, and how it is encoded where it is.
fn body(payload: &[u8]) -> (String, Option<&'static str>) {
    match std::str::from_utf8(payload) {
        Ok("") => ("-".to_owned(), Some("empty")),
        Ok(text) if is_carried(text) => (text.to_owned(), None),
        _ => (STANDARD.encode(payload), Some("base64")),
    }
}

fn attributes(event: &Event, encoding: Option<&'static str>) -> Vec<(String, String)> {
    let (mut ours, mut own, mut rest) = (Vec::new(), Vec::new(), Map::new());
    let mut sort = |name: &str, value: &str| {
        if name == HEADER_CONTENT_TYPE && value.is_empty() {
            return;
        }
        let pair = (name.to_owned(), value.to_owned());
        match name {
            HEADER_CONTENT_TYPE => ours.push(pair),
            _ if name.starts_with(RESERVED_HEADER_PREFIX) => ours.push(pair),
            _ => own.push(pair),
        }
    };
    native_headers(event, &mut sort);
    if let Some(key) = key_header(event) {
        sort(HEADER_KEY, key);
    }
    let mut attributes = Vec::with_capacity(AWS_ATTRIBUTES_MAX);
    for (name, value) in ours {
        if is_attribute(&name, &value) {
            attributes.push((name, value));
        } else {
            rest.insert(name, value.into());
        }
    }
    attributes.extend(encoding.map(|encoding| (PAYLOAD_ENCODING.to_owned(), encoding.to_owned())));
    let taken = attributes.len() + usize::from(!rest.is_empty());
    let room = AWS_ATTRIBUTES_MAX.saturating_sub(taken);
    if own.len() <= room && own.iter().all(|(name, value)| is_attribute(name, value)) {
        attributes.extend(own);
    } else {
        rest.extend(own.into_iter().map(|(name, value)| (name, value.into())));
    }
    if !rest.is_empty() {
        attributes.push((HEADERS.to_owned(), ascii(&Value::Object(rest).to_string())));
    }
    attributes
}

/// The message group of an event: its key, as far as it can be the name of one.
fn group(event: &Event) -> String {
    let fits =
        |key: &str| (1..=AWS_GROUP_BYTES_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    match event.key.as_deref() {
        None => event.id.hyphenated().to_string(),
        Some(key) if fits(key) => key.to_owned(),
        Some(key) => hex(&Sha256::digest(key)),
    }
}

/// The same on every delivery of an event; a replay is meant to arrive again.
fn deduplication(event: &Event) -> String {
    match event.replay {
        Some(number) => format!("{}-{number}", event.id),
        None => event.id.hyphenated().to_string(),
    }
}

/// Whether SQS carries the text (Amazon SQS API Reference, `SendMessage`, `MessageBody`), also as a subscriber of a topic.
fn is_carried(text: &str) -> bool {
    text.chars().all(|character| {
        matches!(character, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
    })
}

/// Whether a header can be an attribute (Amazon SQS Developer Guide, "Amazon SQS message metadata"; Amazon
/// SNS Developer Guide, "Amazon SNS message attributes").
fn is_attribute(name: &str, value: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    (1..=AWS_ATTRIBUTE_NAME_BYTES_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
        && !(name.starts_with('.') || name.ends_with('.') || name.contains(".."))
        && !(lower.starts_with("aws.") || lower.starts_with("amazon."))
        && lower != HEADERS
        && lower != PAYLOAD_ENCODING
        && !value.is_empty()
        && is_carried(value)
}

/// JSON in which every character is one that every service carries.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if matches!(character, ' '..='~') {
            text.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_xml_does_not_allow_is_not_carried() {
        for (text, expected) in [
            ("a\tb\r\nc ä 🦀 \u{7f}\u{85}\u{fffd}", true),
            ("\u{0}", false),
            ("\u{b}", false),
            ("\u{fffe}", false),
            ("\u{ffff}", false),
        ] {
            assert_eq!(is_carried(text), expected, "{text:?}");
        }
    }

    #[test]
    fn names_of_attributes_are_those_that_are_allowed() {
        for (name, expected) in [
            ("traceparent", true),
            ("a.b_c-D", true),
            (".a", false),
            ("a..b", false),
            ("AWS.x", false),
            ("amazon.x", false),
            ("a b", false),
            ("", false),
            (HEADERS, false),
        ] {
            assert_eq!(is_attribute(name, "x"), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back_from_the_json(text in any::<String>()) {
            let json = ascii(&json!({ "a": text }).to_string());
            prop_assert!(json.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            let read: Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(read["a"].as_str().unwrap(), text);
        }
    }
}
