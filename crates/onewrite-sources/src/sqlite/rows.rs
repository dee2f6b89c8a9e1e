//! Events from rows, and rows from events that are set aside.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use onewrite_core::event::{Event, Headers, headers_from_json, headers_to_json};
use onewrite_core::{ParkReason, Parking, Position, Sourced};
use rusqlite::types::ValueRef;
use rusqlite::{Row, Transaction};
use uuid::Uuid;

/// The columns that [`sourced`] reads, in its order.
pub(super) const EVENT_COLUMNS: &str = "id, topic, key, type, content_type, headers, payload, occurred_at";

/// The event in the columns from `first` on. What does not make a valid event becomes a defect: the row is parked, and
/// nothing of it is lost.
pub(super) fn sourced(row: &Row<'_>, first: usize, position: Position) -> rusqlite::Result<Sourced> {
    let mut defect = None;
    let mut note = |problem: String| {
        defect.get_or_insert(problem);
    };
    let id: String = text(row.get_ref(first)?);
    let id = Uuid::parse_str(&id).unwrap_or_else(|_| {
        note(format!("id holds {id:?}; expected a UUID"));
        Uuid::nil()
    });
    let headers = headers(&text(row.get_ref(first + 5)?)).unwrap_or_else(|problem| {
        note(problem);
        Headers::new()
    });
    let occurred_at: String = text(row.get_ref(first + 7)?);
    let occurred_at = timestamp(&occurred_at).unwrap_or_else(|| {
        note(format!(
            "occurred_at holds {occurred_at:?}; expected a time such as \"2026-01-31T12:00:00.000Z\""
        ));
        Timestamp::UNIX_EPOCH
    });
    let event = Event {
        id,
        topic: text(row.get_ref(first + 1)?).into(),
        key: optional(row.get_ref(first + 2)?),
        event_type: optional(row.get_ref(first + 3)?),
        content_type: text(row.get_ref(first + 4)?).into(),
        headers,
        payload: bytes(row.get_ref(first + 6)?),
        occurred_at,
    };
    let mut sourced = Sourced::checked(position, event);
    sourced.defect = defect.or(sourced.defect);
    Ok(sourced)
}

/// A time as SQLite's functions and people write it: RFC 3339, or date and time in UTC.
pub(super) fn timestamp(text: &str) -> Option<Timestamp> {
    let civil = || jiff::tz::TimeZone::UTC.to_timestamp(text.parse().ok()?).ok();
    text.parse().ok().or_else(civil)
}

/// A time as the outbox's own default writes it, so that texts compare as times do.
pub(super) fn time_text(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// Sets an event of the outbox aside. One that is there already stays, and poison stays poison.
pub(super) fn park(
    transaction: &Transaction<'_>,
    relay: &str,
    route: &str,
    sequence: i64,
    parking: &Parking,
) -> rusqlite::Result<()> {
    const PARK: &str = "INSERT INTO onewrite_parked_event (relay, route, sequence, state, event_id, topic, key, type, content_type, \
                        headers, payload, occurred_at, attempts, error) \
                        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) \
                        ON CONFLICT (relay, route, sequence) DO UPDATE SET \
                        state = CASE WHEN excluded.state = 'held' THEN state ELSE excluded.state END, \
                        error = CASE WHEN excluded.state = 'held' THEN error ELSE excluded.error END, \
                        attempts = attempts + excluded.attempts";
    let Parking { event, attempts, .. } = parking;
    let (state, error) = state(parking);
    transaction.prepare_cached(PARK)?.execute(rusqlite::params![
        relay,
        route,
        sequence,
        state,
        event.id.to_string(),
        &*event.topic,
        event.key.as_deref(),
        event.event_type.as_deref(),
        &*event.content_type,
        headers_to_json(&event.headers).to_string(),
        &*event.payload,
        time_text(event.occurred_at),
        attempts,
        error,
    ])?;
    Ok(())
}

/// Sets an event aside once more that came from there; it belongs to this route now.
pub(super) fn park_again(
    transaction: &Transaction<'_>,
    route: &str,
    id: i64,
    parking: &Parking,
) -> rusqlite::Result<()> {
    const PARK: &str = "UPDATE OR REPLACE onewrite_parked_event SET route = ?2, state = ?3, error = ?4, attempts = attempts + ?5 WHERE id = ?1";
    let (state, error) = state(parking);
    transaction
        .prepare_cached(PARK)?
        .execute((id, route, state, error, parking.attempts))
        .map(|_| ())
}

fn state(parking: &Parking) -> (&'static str, &str) {
    match &parking.reason {
        ParkReason::Poison(words) => ("parked", words),
        ParkReason::Held => ("held", "waits behind a parked event of its key"),
    }
}

fn headers(json: &str) -> Result<Headers, String> {
    if json == "{}" {
        return Ok(Headers::new());
    }
    let value = serde_json::from_str(json).map_err(|error| format!("headers hold no JSON: {error}"))?;
    headers_from_json(&value).map_err(|invalid| invalid.to_string())
}

fn text(value: ValueRef<'_>) -> String {
    String::from_utf8_lossy(&bytes(value)).into_owned()
}

fn optional(value: ValueRef<'_>) -> Option<Arc<str>> {
    (value != ValueRef::Null).then(|| text(value).into())
}

/// The bytes of a column, whatever storage class the application gave it.
fn bytes(value: ValueRef<'_>) -> Bytes {
    match value {
        ValueRef::Null => Bytes::new(),
        ValueRef::Integer(number) => number.to_string().into(),
        ValueRef::Real(number) => number.to_string().into(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Bytes::copy_from_slice(bytes),
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
            "2026-01-31T13:00:00+01:00",
        ] {
            assert_eq!(timestamp(text), Some(expected), "{text}");
        }
        assert_eq!(timestamp("yesterday"), None);
        assert_eq!(time_text(expected), "2026-01-31T12:00:00.000Z");
    }
}
