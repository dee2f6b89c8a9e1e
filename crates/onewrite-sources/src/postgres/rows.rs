//! From rows to events, cheaply.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use onewrite_core::event::headers_from_json;
use onewrite_core::{Event, Position, Sourced};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Error, Row};
use uuid::Uuid;

/// The columns that [`Decoder::event`] reads, as a table that holds events names them.
pub(super) const EVENT_COLUMNS: &str = "topic, key, type, content_type, headers, payload, occurred_at";

/// The same for the outermost SELECT.
pub(super) const EVENT_RESULTS: &str = "topic, key, type, content_type, headers::text, payload, occurred_at";

/// Makes events. Texts that most rows share are kept from one row to the next.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    topic: Shared,
    event_type: Shared,
    content_type: Shared,
}

/// The columns of an event as the database sends them.
pub(super) struct RawEvent<'a> {
    pub id: Uuid,
    pub topic: Option<&'a [u8]>,
    pub key: Option<&'a [u8]>,
    pub event_type: Option<&'a [u8]>,
    pub content_type: Option<&'a [u8]>,
    /// A JSON text.
    pub headers: Option<&'a [u8]>,
    pub payload: Bytes,
    pub occurred_at: Microseconds,
}

impl Decoder {
    /// The event of a row whose columns from `first` on are the id and [`EVENT_RESULTS`]. What is wrong with it becomes its
    /// defect; an error is an answer that is none.
    pub fn event(&mut self, row: &Row, first: usize, position: Position) -> Result<Sourced, Error> {
        let text = |at: usize| {
            Ok::<_, Error>(
                row.try_get::<_, Option<RawText<'_>>>(first + at)?
                    .map(|RawText(raw)| raw),
            )
        };
        let (event, defect) = self.make(RawEvent {
            id: row.try_get(first)?,
            topic: text(1)?,
            key: text(2)?,
            event_type: text(3)?,
            content_type: text(4)?,
            headers: text(5)?,
            payload: Bytes::copy_from_slice(row.try_get(first + 6)?),
            occurred_at: row.try_get(first + 7)?,
        });
        Ok(Sourced {
            position,
            event,
            defect,
        })
    }

    /// The event of these columns, and what is wrong with it.
    pub fn make(&mut self, raw: RawEvent<'_>) -> (Event, Option<String>) {
        let mut defect = None;
        let topic = text(raw.topic, "topic", &mut defect).unwrap_or_default();
        let key = text(raw.key, "key", &mut defect);
        let event_type = text(raw.event_type, "type", &mut defect);
        let content_type = text(raw.content_type, "content_type", &mut defect).unwrap_or_default();
        let headers = text(raw.headers, "headers", &mut defect).unwrap_or_default();
        let event = Event {
            id: raw.id,
            topic: self.topic.share(&topic),
            key: key.map(|key| Arc::from(&*key)),
            event_type: event_type.map(|event_type| self.event_type.share(&event_type)),
            payload: raw.payload,
            content_type: self.content_type.share(&content_type),
            headers: read_headers(&headers, &mut defect),
            occurred_at: raw.occurred_at.timestamp(),
            replay: None,
            headers_complete: false,
            verbatim: None,
        };
        let defect = defect.or_else(|| event.check().err().map(|invalid| invalid.to_string()));
        (event, defect)
    }
}

/// The last text of a column.
#[derive(Debug, Default)]
pub(super) struct Shared(Option<Arc<str>>);

impl Shared {
    /// The text; the same one as before where it did not change.
    pub fn share(&mut self, text: &str) -> Arc<str> {
        match &self.0 {
            Some(last) if **last == *text => last.clone(),
            _ => self.0.insert(text.into()).clone(),
        }
    }
}

/// Reads the JSON text of headers; what is wrong with it becomes the defect.
pub(super) fn read_headers(text: &str, defect: &mut Option<String>) -> Vec<(Arc<str>, Arc<str>)> {
    if text == "{}" {
        return Vec::new();
    }
    let read = serde_json::from_str(text)
        .map_err(|error| format!("headers cannot be read: {error}"))
        .and_then(|json| headers_from_json(&json).map_err(|invalid| invalid.to_string()));
    read.unwrap_or_else(|words| {
        defect.get_or_insert(words);
        Vec::new()
    })
}

/// A text as its bytes: a database of encoding SQL_ASCII holds texts that are not UTF-8.
struct RawText<'a>(&'a [u8]);

impl<'a> FromSql<'a> for RawText<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::TEXT
    }
}

fn text<'a>(raw: Option<&'a [u8]>, column: &str, defect: &mut Option<String>) -> Option<Cow<'a, str>> {
    raw.map(|bytes| {
        let text = lossy(bytes);
        if let Cow::Owned(_) = text {
            defect.get_or_insert_with(|| format!("{column} is not valid UTF-8"));
        }
        text
    })
}

/// A text as well as it can be read. Nearly all are sound, and telling so is faster than mending.
pub(super) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

const FROM_1970_TO_2000: i64 = 946_684_800_000_000;

/// PostgreSQL's timestamptz: microseconds since the year 2000.
#[derive(Clone, Copy, Debug)]
pub(super) struct Microseconds(pub i64);

impl Microseconds {
    /// As a time; what lies outside of its range (`infinity`, for example) becomes its nearest end.
    pub fn timestamp(self) -> Timestamp {
        let microseconds = self.0.saturating_add(FROM_1970_TO_2000);
        let nearest = if self.0 < 0 { Timestamp::MIN } else { Timestamp::MAX };
        Timestamp::from_microsecond(microseconds).unwrap_or(nearest)
    }
}

impl From<Timestamp> for Microseconds {
    fn from(time: Timestamp) -> Self {
        // PostgreSQL's range begins in the year 4713 before our era, later than ours.
        const BEGINNING: i64 = -210_866_803_200_000_000;
        Self((time.as_microsecond() - FROM_1970_TO_2000).max(BEGINNING))
    }
}

impl ToSql for Microseconds {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(&self.0.to_be_bytes());
        Ok(IsNull::No)
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Microseconds {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(i64::from_be_bytes(raw.try_into()?)))
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::TIMESTAMPTZ
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_reach_from_end_to_end() {
        assert_eq!(Microseconds(0).timestamp().to_string(), "2000-01-01T00:00:00Z");
        assert_eq!(Microseconds(i64::MAX).timestamp(), Timestamp::MAX);
        assert_eq!(Microseconds(i64::MIN).timestamp(), Timestamp::MIN);
    }

    #[test]
    fn headers_that_are_nested_or_absurd_are_a_defect() {
        for text in [
            r#"{"a": {"b": 1}}"#,
            r#"{"a": [1]}"#,
            &format!(r#"{{"a": 1{}}}"#, "0".repeat(400)),
        ] {
            let mut defect = None;
            assert!(read_headers(text, &mut defect).is_empty());
            assert!(defect.is_some_and(|words| words.starts_with("headers ")), "{text}");
        }
    }
}
