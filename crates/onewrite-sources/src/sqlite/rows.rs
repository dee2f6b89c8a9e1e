//! From rows to events.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use onewrite_core::event::{Event, Headers, headers_from_json};
use onewrite_core::routing::Share;
use onewrite_core::{Position, Sourced};
use rusqlite::Row;
use rusqlite::types::ValueRef;
use uuid::Uuid;

/// The columns that [`event_of`] reads, in its order, as the outbox names them.
pub(super) const EVENT_COLUMNS: &str = "id, topic, key, type, content_type, headers, payload, occurred_at";

/// The same of `onewrite_parked_event`.
pub(super) const PARKED_COLUMNS: &str = "event_id, topic, key, type, content_type, headers, payload, occurred_at";

/// How many they are: the place of the first column after them.
pub(super) const EVENT_WIDTH: usize = 8;

const TOPIC: usize = 1;
const TYPE: usize = 3;

/// Whether the share takes the event of a row that begins with [`EVENT_COLUMNS`]. Nothing but two columns is read, so that
/// passing an event costs little however large it is.
pub(super) fn is_taken(row: &Row<'_>, share: &Share) -> rusqlite::Result<bool> {
    let mut ignored = None;
    let topic = text(row.get_ref(TOPIC)?, "topic", &mut ignored).unwrap_or_default();
    let event_type = text(row.get_ref(TYPE)?, "type", &mut ignored);
    Ok(share.takes(&topic, event_type.as_deref()))
}

/// The event of a row that begins with [`EVENT_COLUMNS`]. What does not make a valid event becomes a defect: SQLite keeps a
/// value as the type it came as, and an application can switch the table's checks off.
pub(super) fn event_of(row: &Row<'_>, position: Position) -> rusqlite::Result<Sourced> {
    let mut defect = None;
    let id = text(row.get_ref(0)?, "id", &mut defect).unwrap_or_default();
    let topic = text(row.get_ref(TOPIC)?, "topic", &mut defect).unwrap_or_default();
    let key = text(row.get_ref(2)?, "key", &mut defect);
    let event_type = text(row.get_ref(TYPE)?, "type", &mut defect);
    let content_type = text(row.get_ref(4)?, "content_type", &mut defect).unwrap_or_default();
    let headers = text(row.get_ref(5)?, "headers", &mut defect).unwrap_or_default();
    let occurred_at = text(row.get_ref(7)?, "occurred_at", &mut defect).unwrap_or_default();
    let shared = |text: Cow<'_, str>| Arc::<str>::from(&*text);
    let event = Event {
        id: read_id(&id, &mut defect),
        topic: shared(topic),
        key: key.map(shared),
        event_type: event_type.map(shared),
        content_type: shared(content_type),
        headers: read_headers(&headers, &mut defect),
        payload: Bytes::from(bytes(row.get_ref(6)?).into_owned()),
        occurred_at: read_time(&occurred_at, &mut defect),
        replay: None,
        headers_complete: false,
        verbatim: None,
    };
    let mut sourced = Sourced::checked(position, event);
    sourced.defect = defect.or(sourced.defect);
    Ok(sourced)
}

/// A time as SQLite's functions and people write it: RFC 3339, or date and time in UTC, or the date alone.
pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    let in_utc = || TimeZone::UTC.to_timestamp(text.parse().ok()?).ok();
    text.parse().ok().or_else(in_utc)
}

fn read_id(text: &str, defect: &mut Option<String>) -> Uuid {
    text.parse().unwrap_or_else(|_| {
        defect.get_or_insert_with(|| format!("id holds {text:?}; expected a UUID"));
        Uuid::nil()
    })
}

fn read_time(text: &str, defect: &mut Option<String>) -> Timestamp {
    parse_time(text).unwrap_or_else(|| {
        defect.get_or_insert_with(|| {
            format!("occurred_at holds {text:?}; expected a time such as \"2026-01-31T12:00:00.000Z\"")
        });
        Timestamp::UNIX_EPOCH
    })
}

fn read_headers(text: &str, defect: &mut Option<String>) -> Headers {
    if text == "{}" {
        return Headers::new();
    }
    let read = serde_json::from_str(text)
        .map_err(|error| format!("headers hold no JSON: {error}"))
        .and_then(|json| headers_from_json(&json).map_err(|invalid| invalid.to_string()));
    read.unwrap_or_else(|words| {
        defect.get_or_insert(words);
        Headers::new()
    })
}

/// A column's text; `None` for NULL.
fn text<'a>(value: ValueRef<'a>, column: &str, defect: &mut Option<String>) -> Option<Cow<'a, str>> {
    if let ValueRef::Blob(_) = value {
        defect.get_or_insert_with(|| format!("{column} holds bytes; expected a text"));
    }
    match (value, bytes(value)) {
        (ValueRef::Null, _) => None,
        (_, Cow::Borrowed(bytes)) => {
            let text = String::from_utf8_lossy(bytes);
            if let Cow::Owned(_) = text {
                defect.get_or_insert_with(|| format!("{column} is not valid UTF-8"));
            }
            Some(text)
        }
        (_, Cow::Owned(digits)) => Some(Cow::Owned(String::from_utf8_lossy(&digits).into_owned())),
    }
}

/// A column's bytes, whatever type of value the application gave it.
fn bytes(value: ValueRef<'_>) -> Cow<'_, [u8]> {
    match value {
        ValueRef::Null => Cow::Borrowed(&[]),
        ValueRef::Integer(number) => Cow::Owned(number.to_string().into()),
        ValueRef::Real(number) => Cow::Owned(number.to_string().into()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Cow::Borrowed(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_and_sqlite_write_them() {
        let expected: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        for text in [
            "2026-01-31T12:00:00.000Z",
            "2026-01-31 12:00:00",
            "2026-01-31 12:00",
            "2026-01-31T12:00Z",
            "2026-01-31T13:00:00+01:00",
            "2026-01-31 13:00:00+01:00",
        ] {
            assert_eq!(parse_time(text), Some(expected), "{text}");
        }
        assert_eq!(parse_time("2026-01-31"), "2026-01-31T00:00:00Z".parse().ok());
        assert_eq!(parse_time("yesterday"), None);
    }
}
