//! What goes over the wire: paths, headers, bodies.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use onewrite_core::Event;
use onewrite_core::error::SinkError;
use onewrite_core::wire::{HEADER_CONTENT_TYPE, HEADER_KEY, key_header, native_headers};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use super::properties::property;
use super::settings::{Destination, Properties, Settings, Version};
use crate::limits::{IBMMQ_NAME_BYTES_MAX, IBMMQ_TOPIC_BYTES_MAX};

/// Must be there with every POST, whatever it holds.
const CSRF_TOKEN: HeaderName = HeaderName::from_static("ibm-mq-rest-csrf-token");
const CORRELATION_ID: HeaderName = HeaderName::from_static("ibm-mq-md-correlationid");
const PERSISTENCE: HeaderName = HeaderName::from_static("ibm-mq-md-persistence");
const EXPIRY: HeaderName = HeaderName::from_static("ibm-mq-md-expiry");
const PRIORITY: HeaderName = HeaderName::from_static("ibm-mq-md-priority");
const USER_PROPERTY: HeaderName = HeaderName::from_static("ibm-mq-usr");

/// The header that tells of a payload that travels in another form than it has.
const PAYLOAD_ENCODING: &str = "onewrite-payload-encoding";

/// The media types that the API takes; all of them make the same message of text.
const MEDIA_TYPES: &[&str] = &[
    "text/plain",
    "text/html",
    "text/xml",
    "application/json",
    "application/xml",
];

/// What is not encoded in the name of a queue.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'_');

/// What is not encoded in the name of a queue manager, whose full stops must be.
const QUEUE_MANAGER: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_');

/// What is not encoded between the slashes of a topic string.
const LEVEL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-').remove(b'~');

/// A message to be put.
#[derive(Debug)]
pub(super) struct Put {
    /// The path, from the slash on.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// The message of an event.
///
/// # Errors
/// To park an event that has no address, is too large, or holds what the API cannot carry.
pub(super) fn put(settings: &Settings, event: &Event) -> Result<Put, SinkError> {
    let path = match &settings.destination {
        Destination::Queue(queue) => queue_path(settings, &queue.address(event)?)?,
        Destination::Topic(topic) => {
            let topic = topic_path(&topic.address(event)?)
                .map_err(|problem| SinkError::park(format!("no topic string can be made of the event: {problem}")))?;
            format!("{}/topic/{topic}/message", base(settings))
        }
    };
    let mut headers = descriptor(settings, event);
    let text = std::str::from_utf8(&event.payload).is_ok();
    let carried = settings.properties != Properties::None;
    if !text && !carried {
        return Err(SinkError::park(
            "the payload is not UTF-8, and without properties nothing could say that it is encoded; \
             use api_version \"v3\" with properties, or a format that encodes it",
        ));
    }
    let (body, media_type) = if text {
        (event.payload.clone(), media_type(&event.content_type))
    } else {
        (Bytes::from(STANDARD.encode(&event.payload)), "text/plain")
    };
    let content_type = HeaderValue::from_str(&format!("{media_type};charset=utf-8"));
    headers.insert(CONTENT_TYPE, content_type.expect("a media type makes a header's value"));
    if body.is_empty() {
        // The client sends no length then, and some servers refuse a POST without one.
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    let mut size = body.len();
    if carried {
        size += properties(settings, event, text, &mut headers);
    }
    if size > settings.message_bytes_max {
        let most = settings.message_bytes_max;
        return Err(SinkError::park(format!(
            "the message has {size} bytes with its properties, more than max_message_bytes = {most}"
        )));
    }
    Ok(Put { path, headers, body })
}

/// The path of a queue's messages.
///
/// # Errors
/// To park an event that names no queue.
fn queue_path(settings: &Settings, queue: &str) -> Result<String, SinkError> {
    if !is_name(queue) {
        return Err(SinkError::park(format!(
            "{queue:?} cannot be the name of a queue; expected 1 to {IBMMQ_NAME_BYTES_MAX} of the characters A-Z a-z 0-9 . / _ %"
        )));
    }
    let queue = utf8_percent_encode(queue, NAME);
    Ok(format!("{}/queue/{queue}/message", base(settings)))
}

/// The path that shows the first message of a queue without taking it; `None` where there can be no such queue.
pub(super) fn browse_path(settings: &Settings, queue: &str) -> Option<String> {
    let path = queue_path(settings, queue).ok()?;
    Some(format!("{path}list?limit=1"))
}

/// The path that tells who one is.
pub(super) fn login_path(settings: &Settings) -> String {
    format!("/ibmmq/rest/{}/login", settings.version.as_str())
}

/// The headers of every request.
pub(super) fn credentials(settings: &Settings) -> HeaderMap {
    let authorization = settings.authorization.iter();
    authorization.map(|value| (AUTHORIZATION, value.clone())).collect()
}

/// Whether a queue or a queue manager can have this name, and a path can hold it.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=IBMMQ_NAME_BYTES_MAX).contains(&name.len())
        // A path would lose them, encoded or not.
        && !matches!(name, "." | "..")
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./_%".contains(&byte))
}

/// A topic string as a path holds it.
///
/// # Errors
/// Why it cannot hold it.
pub(super) fn topic_path(topic: &str) -> Result<String, String> {
    if !(1..=IBMMQ_TOPIC_BYTES_MAX).contains(&topic.len()) {
        return Err(format!(
            "it has {} bytes; expected 1 to {IBMMQ_TOPIC_BYTES_MAX}",
            topic.len()
        ));
    }
    if topic.split('/').any(|level| matches!(level, "" | "." | "..")) {
        return Err(format!(
            "{topic:?} has an empty level, or one of nothing but full stops, which a URL cannot hold"
        ));
    }
    let levels = topic
        .split('/')
        .map(|level| utf8_percent_encode(level, LEVEL).to_string());
    Ok(levels.collect::<Vec<_>>().join("/"))
}

fn base(settings: &Settings) -> String {
    let version = settings.version.as_str();
    let manager = utf8_percent_encode(&settings.queue_manager, QUEUE_MANAGER);
    format!("/ibmmq/rest/{version}/messaging/qmgr/{manager}")
}

fn descriptor(settings: &Settings, event: &Event) -> HeaderMap {
    let mut headers = credentials(settings);
    headers.insert(CSRF_TOKEN, HeaderValue::from_static("onewrite"));
    headers.insert(
        PERSISTENCE,
        HeaderValue::from_static(if settings.persistent {
            "persistent"
        } else {
            "nonPersistent"
        }),
    );
    let mut put = |name: HeaderName, text: String| {
        headers.insert(
            name,
            HeaderValue::from_str(&text).expect("digits and letters make a header's value"),
        );
    };
    // 24 bytes; an id has 16.
    let correlation = format!("{:0<48}", event.id.simple().to_string());
    put(
        CORRELATION_ID,
        match settings.version {
            Version::V3 => format!("ID:{correlation}"),
            Version::V1 | Version::V2 => correlation,
        },
    );
    if let Some(expiry) = settings.expiry {
        put(EXPIRY, expiry.as_millis().to_string());
    }
    if let Some(priority) = settings.priority {
        put(PRIORITY, priority.to_string());
    }
    headers
}

/// Adds the properties, and returns how many bytes they are.
fn properties(settings: &Settings, event: &Event, text: bool, headers: &mut HeaderMap) -> usize {
    let mut size = 0;
    let mut add = |name: &str, value: &str| {
        if name == HEADER_CONTENT_TYPE && value.is_empty() {
            return;
        }
        let property = property(settings.properties, name, value);
        size += property.len();
        let property = HeaderValue::from_str(&property).expect("visible ASCII makes a header's value");
        headers.append(USER_PROPERTY, property);
    };
    native_headers(event, &mut add);
    if let Some(key) = key_header(event) {
        add(HEADER_KEY, key);
    }
    if !text {
        add(PAYLOAD_ENCODING, "base64");
    }
    size
}

/// The media type that the API takes and that comes nearest.
fn media_type(content_type: &str) -> &'static str {
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if let Some(known) = MEDIA_TYPES.iter().find(|known| **known == essence) {
        return known;
    }
    match essence.rsplit_once('+') {
        Some((_, "json")) => "application/json",
        Some((_, "xml")) => "application/xml",
        _ => "text/plain",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_media_type_is_taken() {
        for (content_type, expected) in [
            ("application/json", "application/json"),
            ("Application/JSON; charset=utf-8", "application/json"),
            ("application/vnd.shop+json", "application/json"),
            ("image/svg+xml", "application/xml"),
            ("text/html", "text/html"),
            ("application/octet-stream", "text/plain"),
            ("", "text/plain"),
        ] {
            assert_eq!(media_type(content_type), expected, "{content_type}");
        }
    }

    #[test]
    fn names_are_those_of_ibm_mq() {
        for name in ["DEV.QUEUE.1", "a/b_c%d", &"Q".repeat(48)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".", "..", "a b", "a-b", "ä", &"Q".repeat(49)] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn topic_strings_are_encoded_level_by_level() {
        assert_eq!(
            topic_path("shop/orders.new?/50%").unwrap(),
            "shop/orders%2Enew%3F/50%25"
        );
        for topic in ["", "/a", "a//b", "a/", "a/../b"] {
            assert!(topic_path(topic).is_err(), "{topic}");
        }
    }
}
