//! Binary mode: the attributes are headers, the body is the payload.

use std::sync::Arc;

use onewrite_core::Event;

use super::attributes::Attributes;
use super::{Outgoing, other_headers};

pub(super) fn write(outgoing: &Outgoing<'_>, attributes: Attributes) -> Event {
    let prefix = outgoing.cloudevents_prefix;
    // The bindings for HTTP (3.1.3.2) and NATS, which have this prefix, encode what a header cannot hold.
    let encodes = prefix == "ce-";
    let header = |(name, value): (Arc<str>, String)| {
        let value = if encodes { encoded(&value) } else { value };
        (Arc::from(format!("{prefix}{name}")), Arc::from(value))
    };
    let mut headers: Vec<(Arc<str>, Arc<str>)> = attributes.0.into_iter().map(header).collect();
    headers.extend(other_headers(outgoing).cloned());
    Event {
        headers,
        headers_complete: true,
        verbatim: None,
        ..outgoing.event.clone()
    }
}

/// Percent-encoded as the HTTP binding 1.0.2 has it: blanks, `"`, `%`, and all that is not visible ASCII.
fn encoded(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'%');
    if value.bytes().all(plain) {
        return value.to_owned();
    }
    let mut text = String::with_capacity(value.len() + 16);
    for byte in value.bytes() {
        if plain(byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}
