//! What goes over the wire: headers, bodies, signatures.

use std::borrow::Cow;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use onewrite_core::Event;
use onewrite_core::envelope::{is_cloudevent, write_document};
use onewrite_core::error::SinkError;
use onewrite_core::wire::{
    HEADER_CONTENT_TYPE, HEADER_ID, HEADER_KEY, HEADER_OCCURRED_AT, HEADER_TOPIC, HEADER_TYPE, RESERVED_HEADER_PREFIX,
    key_header, native_headers,
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, InvalidHeaderName};
use reqwest::{Method, Request};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::settings::Settings;
use crate::hex::hex;

const ID: HeaderName = HeaderName::from_static(HEADER_ID);
const TOPIC: HeaderName = HeaderName::from_static(HEADER_TOPIC);
const TYPE: HeaderName = HeaderName::from_static(HEADER_TYPE);
const OCCURRED_AT: HeaderName = HeaderName::from_static(HEADER_OCCURRED_AT);
const KEY: HeaderName = HeaderName::from_static(HEADER_KEY);
const IDEMPOTENCY: HeaderName = HeaderName::from_static(IDEMPOTENCY_KEY);

/// The header by which a receiver knows a repeated request.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The header with the time and the signature.
pub const SIGNATURE: &str = "onewrite-signature";

/// An event's own headers of these names are left out: they frame the message, choose the server, or say who is asking,
/// and an event has no say in any of it.
pub const NEVER_FROM_EVENTS: &[&str] = &[
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "idempotency-key",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers that frame the message, which only the HTTP client can get right.
pub(super) const NEVER_CONFIGURED: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What of an event's text cannot stand in one of Onewrite's own headers: all but visible ASCII, and what the encoding is made of.
const OURS: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// The request for one event: its payload as the body.
///
/// # Errors
/// When a header's name cannot be one; such an event is poison.
pub(super) fn single(settings: &Settings, event: &Event) -> Result<Request, SinkError> {
    let mut headers = HeaderMap::with_capacity(event.headers.len() + settings.headers.len() + 8);
    let mut problem = None;
    native_headers(event, |name, text| match header_name(name) {
        Ok(header) if NEVER_FROM_EVENTS.contains(&header.as_str()) => {}
        Ok(header) if header == CONTENT_TYPE && text.is_empty() => {}
        Ok(header) => {
            let value = value(&header, text);
            headers.append(header, value);
        }
        Err(error) => problem = Some((name.to_owned(), error)),
    });
    if let Some((name, error)) = problem {
        return Err(SinkError::park(format!("{name:?} cannot be the name of an HTTP header")).because(error));
    }
    if let Some(key) = key_header(event) {
        headers.insert(KEY, value(&KEY, key));
    }
    let id = event
        .id
        .hyphenated()
        .encode_lower(&mut Uuid::encode_buffer())
        .to_owned();
    Ok(finish(settings, headers, id, event.payload.clone()))
}

/// The request for several events: a JSON array of their documents.
pub(super) fn many<'a>(settings: &Settings, events: impl Iterator<Item = &'a Event>) -> Request {
    let mut body = vec![b'['];
    let mut ids = Sha256::new();
    let mut cloudevents = true;
    for event in events {
        if body.len() > 1 {
            body.push(b',');
        }
        write_document(event, &mut body);
        cloudevents &= event.headers_complete && is_cloudevent(&event.content_type);
        ids.update(event.id.as_bytes());
    }
    body.push(b']');
    let mut headers = HeaderMap::with_capacity(8);
    let content_type = if cloudevents {
        "application/cloudevents-batch+json; charset=utf-8"
    } else {
        "application/json"
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    // Half of the hash is as long as an id, and as safe from another batch having the same.
    let id = hex(&ids.finalize()[..16]);
    finish(settings, headers, id, body.into())
}

fn finish(settings: &Settings, mut headers: HeaderMap, id: String, body: Bytes) -> Request {
    for (name, value) in &settings.headers {
        headers.insert(name, value.clone());
    }
    let id = HeaderValue::from_maybe_shared(Bytes::from(id));
    headers.insert(IDEMPOTENCY, id.expect("hexadecimal digits make a header value"));
    if body.is_empty() {
        // The client sends no length then, and some servers refuse a POST without one.
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    if let Some(secret) = &settings.hmac_secret {
        let now = Timestamp::now().as_second();
        let signature = signature(secret.expose().as_bytes(), now, &body);
        headers.insert(HeaderName::from_static(SIGNATURE), visible(&signature));
    }
    // Built as a whole: the client's builder would put every header into another map once more.
    let mut request = Request::new(Method::POST, settings.url.clone());
    *request.headers_mut() = headers;
    *request.body_mut() = Some(body.into());
    request
}

fn signature(secret: &[u8], seconds: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(seconds.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    format!("t={seconds},v1={}", hex(&mac.finalize().into_bytes()))
}

/// The name of a header. Those that every event has are not looked at letter by letter.
fn header_name(name: &str) -> Result<HeaderName, InvalidHeaderName> {
    Ok(match name {
        HEADER_ID => ID,
        HEADER_TOPIC => TOPIC,
        HEADER_TYPE => TYPE,
        HEADER_OCCURRED_AT => OCCURRED_AT,
        HEADER_CONTENT_TYPE => CONTENT_TYPE,
        other => HeaderName::from_bytes(other.as_bytes())?,
    })
}

/// A header's value: Onewrite's own always decodable, others as they are where HTTP can carry them.
fn value(header: &HeaderName, text: &str) -> HeaderValue {
    let carried = |byte: u8| matches!(byte, b' '..=b'~' | b'\t');
    let ours = header.as_str().starts_with(RESERVED_HEADER_PREFIX);
    let trimmed = text.trim_matches([' ', '\t']).len() == text.len();
    if !ours && trimmed && text.bytes().all(carried) {
        return visible(text);
    }
    visible(&Cow::from(utf8_percent_encode(text, OURS)))
}

fn visible(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("visible ASCII, blanks and tabs make a header value")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_signature_is_that_of_the_known_example() {
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac secret
        assert_eq!(
            signature(b"secret", 1_700_000_000, b"{}"),
            "t=1700000000,v1=b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163"
        );
    }

    fn decoded(text: &str) -> String {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((&first, after)) = rest.split_first() {
            if first == b'%' {
                bytes.push(u8::from_str_radix(std::str::from_utf8(&after[..2]).unwrap(), 16).unwrap());
                rest = &after[2..];
            } else {
                bytes.push(first);
                rest = after;
            }
        }
        String::from_utf8(bytes).unwrap()
    }

    proptest! {
        #[test]
        fn our_own_headers_can_always_be_decoded(text in any::<String>()) {
            let value = value(&HeaderName::from_static(HEADER_KEY), &text);
            prop_assert_eq!(decoded(value.to_str().unwrap()), text);
        }

        #[test]
        fn other_headers_hold_no_control_character_and_stay_as_they_are_where_they_can(text in "[ -~\t]{0,20}|\\PC{0,20}|.{0,9}\r\n.{0,9}") {
            let value = value(&HeaderName::from_static("traceparent"), &text);
            let shown = value.to_str().unwrap();
            prop_assert!(shown.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)));
            if !text.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)) || text.trim_matches([' ', '\t']) != text {
                prop_assert_eq!(decoded(shown), text);
            } else {
                prop_assert_eq!(shown, text);
            }
        }
    }
}
