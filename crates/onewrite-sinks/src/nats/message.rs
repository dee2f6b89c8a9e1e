//! What an event is on the wire of NATS: a subject, headers, and the payload untouched.

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use onewrite_core::Event;
use onewrite_core::error::SinkError;
use onewrite_core::wire::{HEADER_CONTENT_TYPE, HEADER_KEY, RESERVED_HEADER_PREFIX, key_header, native_headers};
use uuid::Uuid;

use super::settings::Settings;
use crate::limits::NATS_SUBJECT_BYTES_MAX;

/// By which a stream knows a repeated event.
pub(super) const MESSAGE_ID: &str = "Nats-Msg-Id";

/// A message that the server can take, as far as the sink can tell.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub event: Uuid,
    pub subject: String,
    pub headers: HeaderMap,
    pub payload: Bytes,
    /// Headers and payload, as the server counts them.
    pub bytes: usize,
    /// Whether it is wanted once more, where the stream holds it already.
    pub replayed: bool,
}

impl Message {
    /// The message for an event, to a server that takes so many bytes.
    ///
    /// # Errors
    /// To park the event: no message can be made of it.
    pub(super) fn new(settings: &Settings, event: &Event, most: usize) -> Result<Self, SinkError> {
        let subject = settings.subject.address(event)?.into_owned();
        if let Some(problem) = subject_problem(&subject) {
            return Err(SinkError::park(format!("the subject {subject:?} {problem}")));
        }
        let mut builder = Builder::default();
        native_headers(event, |name, text| builder.put(name, text));
        if let Some(key) = key_header(event) {
            builder.put(HEADER_KEY, key);
        }
        builder.own(MESSAGE_ID, &event.id.hyphenated().to_string());
        if let Some(stream) = &settings.stream {
            builder.own("Nats-Expected-Stream", stream);
        }
        if let Some(name) = builder.unusable {
            return Err(SinkError::park(format!(
                "{name:?} cannot be the name of a NATS header; use visible ASCII without a colon"
            )));
        }
        let bytes = builder.bytes + FRAME_BYTES + event.payload.len();
        if bytes > most {
            return Err(SinkError::park(format!(
                "the message has {bytes} bytes with its headers, and the server takes {most} at most (its max_payload)"
            )));
        }
        Ok(Self {
            event: event.id,
            subject,
            headers: builder.headers,
            payload: event.payload.clone(),
            bytes,
            replayed: event.replay.is_some(),
        })
    }
}

/// Why nothing can be published to this subject; `None` where something can.
pub(super) fn subject_problem(subject: &str) -> Option<&'static str> {
    if subject.split('.').any(str::is_empty) {
        return Some("has an empty part; expected parts with single dots between them");
    }
    if subject.contains(|character: char| character.is_whitespace() || character.is_control()) {
        return Some("holds blanks or control characters, which no subject can have");
    }
    if subject.contains(['*', '>']) {
        return Some("has a wildcard, \"*\" or \">\"; an event goes to one subject");
    }
    if subject.starts_with('$') || subject.starts_with("_INBOX.") {
        return Some("begins as those of the server itself do, with \"$\" or \"_INBOX.\"");
    }
    if subject.len() > NATS_SUBJECT_BYTES_MAX {
        return Some("is longer than a server's line of control is by default");
    }
    None
}

/// `NATS/1.0`, its line break, and the one that ends the headers.
const FRAME_BYTES: usize = 12;

/// Headers by which a client tells the server what to do, such as `Nats-Rollup`, which deletes what the stream holds.
const SERVERS_OWN: &str = "nats-";

#[derive(Default)]
struct Builder {
    headers: HeaderMap,
    bytes: usize,
    unusable: Option<String>,
}

impl Builder {
    /// A header that events have a say in.
    fn put(&mut self, name: &str, text: &str) {
        let begins_with = |prefix: &str| {
            let start = name.as_bytes().get(..prefix.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
        };
        if begins_with(SERVERS_OWN) || (name.eq_ignore_ascii_case(HEADER_CONTENT_TYPE) && text.is_empty()) {
            return;
        }
        let value = value(text, begins_with(RESERVED_HEADER_PREFIX));
        self.own(name, &value);
    }

    /// A header of the sink's own.
    fn own(&mut self, name: &str, text: &str) {
        match (name.parse::<HeaderName>(), text.parse::<HeaderValue>()) {
            (Ok(header), Ok(value)) if !name.is_empty() => {
                self.bytes += name.len() + text.len() + ": \r\n".len();
                self.headers.append(header, value);
            }
            _ => {
                self.unusable.get_or_insert_with(|| name.to_owned());
            }
        }
    }
}

/// A header's value: Onewrite's own always decodable, others as they are where NATS carries them unchanged.
fn value(text: &str, ours: bool) -> String {
    let visible = |byte: u8| matches!(byte, b'!'..=b'~');
    // Clients trim blanks at the ends, and a line break would begin another header.
    let carried = text.trim() == text && !text.contains(|character: char| character.is_control() && character != '\t');
    if !ours && carried {
        return text.to_owned();
    }
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if visible(byte) && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn subjects_that_nothing_can_be_published_to_are_told() {
        for (subject, expected) in [
            ("", "empty part"),
            ("shop..orders", "empty part"),
            (".shop", "empty part"),
            ("shop.orders.", "empty part"),
            ("shop orders", "blanks"),
            ("shop\r\nPUB x 1", "blanks"),
            ("shop.*", "wildcard"),
            ("shop.>", "wildcard"),
            ("$JS.API.STREAM.DELETE.EVENTS", "begins as"),
            ("_INBOX.x", "begins as"),
            (&"s".repeat(NATS_SUBJECT_BYTES_MAX + 1), "longer"),
        ] {
            let problem = subject_problem(subject);
            assert!(
                problem.is_some_and(|words| words.contains(expected)),
                "{subject:?}: {problem:?}"
            );
        }
        for subject in ["shop.orders", "shop", "shop.Grüße.42", "shop.$x"] {
            assert_eq!(subject_problem(subject), None, "{subject}");
        }
    }

    #[test]
    fn headers_that_the_server_obeys_are_left_out_and_those_that_cannot_be_are_told() {
        let mut builder = Builder::default();
        builder.put("nats-rollup", "all");
        builder.put("Nats-Msg-Id", "forged");
        builder.put("content-type", "");
        assert!(builder.headers.is_empty() && builder.unusable.is_none());
        for name in ["", "a b", "a:b", "a\r\nb", "ä"] {
            let mut builder = Builder::default();
            builder.put(name, "x");
            assert_eq!(builder.unusable.as_deref(), Some(name));
        }
    }

    fn decoded(text: &str) -> String {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((&first, after)) = rest.split_first() {
            rest = after;
            if first == b'%' {
                bytes.push(u8::from_str_radix(std::str::from_utf8(&rest[..2]).unwrap(), 16).unwrap());
                rest = &rest[2..];
            } else {
                bytes.push(first);
            }
        }
        String::from_utf8(bytes).unwrap()
    }

    proptest! {
        #[test]
        fn our_own_headers_can_always_be_decoded(text in any::<String>()) {
            prop_assert_eq!(decoded(&value(&text, true)), text);
        }

        #[test]
        fn no_value_breaks_a_line(text in "[ -~\t]{0,20}|\\PC{0,20}|.{0,9}\r\n.{0,9}") {
            let shown = value(&text, false);
            prop_assert!(!shown.contains(['\r', '\n']) && shown.trim() == shown);
            prop_assert!(shown == text || decoded(&shown) == text);
        }
    }
}
