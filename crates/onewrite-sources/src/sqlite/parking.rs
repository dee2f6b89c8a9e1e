//! Setting events aside.

use onewrite_core::event::headers_to_json;
use onewrite_core::routing::Share;
use onewrite_core::{ParkReason, Parking};
use rusqlite::{Transaction, params};

/// Sets an event of the outbox aside. One that was set aside before, in a run that did not come to record it, stays as it is
/// when it only has to wait.
pub(super) fn park(
    transaction: &Transaction<'_>,
    share: &Share,
    sequence: i64,
    parking: &Parking,
) -> rusqlite::Result<()> {
    // The columns are taken from the row itself where it is still there: an event cannot hold all that a row can (an id that is
    // none, bytes that are no text, headers that are nested), and what is no event must not become one by being set aside.
    const PARK: &str = "\
        INSERT INTO onewrite_parked_event (relay, route, sequence, state, event_id, topic, key, type, content_type, headers, \
                                           payload, occurred_at, attempts, error) \
        SELECT ?1, ?2, ?3, ?4, coalesce(event.id, ?5), coalesce(event.topic, ?6), iif(event.id IS NULL, ?7, event.key), \
               iif(event.id IS NULL, ?8, event.type), coalesce(event.content_type, ?9), coalesce(event.headers, ?10), \
               coalesce(event.payload, ?11), coalesce(event.occurred_at, ?12), ?13, ?14 \
        FROM (SELECT 1) LEFT JOIN onewrite_outbox AS event ON event.sequence = ?3 WHERE true \
        ON CONFLICT (relay, route, sequence) DO UPDATE SET state = excluded.state, error = excluded.error, \
               attempts = excluded.attempts, parked_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') \
        WHERE excluded.state <> 'held'";
    let event = &parking.event;
    let (state, words) = told(parking);
    transaction.prepare_cached(PARK)?.execute(params![
        share.relay,
        share.route,
        sequence,
        state,
        event.id.to_string(),
        &*event.topic,
        event.key.as_deref(),
        event.event_type.as_deref(),
        &*event.content_type,
        headers_to_json(&event.headers).to_string(),
        &*event.payload,
        event.occurred_at.to_string(),
        parking.attempts,
        words,
    ])?;
    Ok(())
}

/// Sets an event of `onewrite_parked_event` aside once more, by its number there. It belongs to this route now, which may have
/// taken it over from the route of what no other took.
pub(super) fn park_again(
    transaction: &Transaction<'_>,
    share: &Share,
    id: i64,
    parking: &Parking,
) -> rusqlite::Result<()> {
    const PARK: &str = "\
        UPDATE OR REPLACE onewrite_parked_event SET route = ?2, state = ?3, error = ?4, attempts = attempts + ?5, \
               parked_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = ?1";
    let (state, words) = told(parking);
    transaction
        .prepare_cached(PARK)?
        .execute((id, &share.route, state, words, parking.attempts))
        .map(|_| ())
}

fn told(parking: &Parking) -> (&'static str, &str) {
    match &parking.reason {
        ParkReason::Poison(words) => ("parked", words),
        ParkReason::Held => ("held", "waits behind a parked event of its key"),
    }
}
