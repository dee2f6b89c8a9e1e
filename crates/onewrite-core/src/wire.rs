//! The format `native`: what an event looks like at the broker. Its key is the event's key, its body the payload
//! untouched, its headers the event's own plus Onewrite's.

use std::io::Write;

use jiff::Timestamp;
pub use onewrite::event::RESERVED_HEADER_PREFIX;

use crate::event::Event;
use crate::limits::TIME_BYTES_MAX;

/// Header with the event's id.
pub const HEADER_ID: &str = "onewrite-id";
/// Header with the event's topic.
pub const HEADER_TOPIC: &str = "onewrite-topic";
/// Header with the event's type; left out where it has none.
pub const HEADER_TYPE: &str = "onewrite-type";
/// Header with the time at which the event was recorded, as RFC 3339 in UTC with microseconds.
pub const HEADER_OCCURRED_AT: &str = "onewrite-occurred-at";
/// Header with the event's key, for wires that have no key of their own.
pub const HEADER_KEY: &str = "onewrite-key";
/// Header that marks a [replayed](Event::replay) event, with the replay's number.
pub const HEADER_REPLAY: &str = "onewrite-replay";
/// Header with the payload's media type.
pub const HEADER_CONTENT_TYPE: &str = "content-type";

/// Calls `put` with each header that the wire carries: the event's own first, then those of the format `native`, unless
/// another format has [laid down all](Event::headers_complete). An event's own `content-type` header gives way to the
/// column of that name. A sink whose protocol has a property for one of them puts it there instead.
pub fn native_headers(event: &Event, mut put: impl FnMut(&str, &str)) {
    for (name, value) in &event.headers {
        if !name.eq_ignore_ascii_case(HEADER_CONTENT_TYPE) {
            put(name, value);
        }
    }
    if event.headers_complete {
        if !event.content_type.is_empty() {
            put(HEADER_CONTENT_TYPE, &event.content_type);
        }
        return;
    }
    let mut id = uuid::Uuid::encode_buffer();
    put(HEADER_ID, event.id.hyphenated().encode_lower(&mut id));
    put(HEADER_TOPIC, &event.topic);
    if let Some(event_type) = &event.event_type {
        put(HEADER_TYPE, event_type);
    }
    put(HEADER_OCCURRED_AT, written(event.occurred_at, &mut [0; TIME_BYTES_MAX]));
    if let Some(replay) = event.replay {
        put(HEADER_REPLAY, &replay.to_string());
    }
    put(HEADER_CONTENT_TYPE, &event.content_type);
}

/// A time as headers carry it. Written to the stack: it is done for every event.
fn written(time: Timestamp, to: &mut [u8; TIME_BYTES_MAX]) -> &str {
    let mut rest = &mut to[..];
    write!(rest, "{time:.6}").expect("there is room for every time");
    let length = TIME_BYTES_MAX - rest.len();
    str::from_utf8(&to[..length]).expect("a time is a text")
}

/// The [`HEADER_KEY`] for a wire that has no key of its own; `None` where the event has none, or all headers are laid down.
pub fn key_header(event: &Event) -> Option<&str> {
    event.key.as_deref().filter(|_| !event.headers_complete)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_can_be_written() {
        for (time, text) in [
            (Timestamp::MIN, "-009999-01-02T01:59:59.000000Z"),
            (Timestamp::MAX, "9999-12-30T22:00:00.999999Z"),
            (Timestamp::UNIX_EPOCH, "1970-01-01T00:00:00.000000Z"),
        ] {
            assert_eq!(written(time, &mut [0; TIME_BYTES_MAX]), text);
        }
    }
}
