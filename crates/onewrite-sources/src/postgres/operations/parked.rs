//! Parked and held events: list, retry, skip, edit.

use jiff::Timestamp;
use onewrite_core::event::headers_from_json;
use onewrite_core::store::{ParkedEdit, ParkedEvent, ParkedFilter};
use onewrite_core::{StoreError, StoreFailure};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::super::error::failed;
use super::super::record::headers_json;

/// The columns of [`ParkedEvent`] in its order, but for the payload. Times travel as microseconds since 1970.
const COLUMNS: &str = "id, relay, route, state, event_id, topic, key, type, content_type, headers::text, \
                       octet_length(payload)::bigint, (extract(epoch FROM occurred_at) * 1000000)::bigint, \
                       (extract(epoch FROM parked_at) * 1000000)::bigint, attempts, error";

/// What fits a [`ParkedFilter`], bound by [`binds`].
const FITS: &str = "($1::bigint[] IS NULL OR id = ANY ($1)) AND ($2::text IS NULL OR relay = $2) \
                    AND ($3::text IS NULL OR route = $3) AND ($4::text IS NULL OR topic = $4) \
                    AND ($5::text IS NULL OR key = $5)";

/// Lists events, oldest first.
pub(super) async fn list(client: &Client, filter: &ParkedFilter) -> Result<Vec<ParkedEvent>, StoreError> {
    let ids = ids(filter);
    let payload = if filter.with_payload { "payload" } else { "NULL::bytea" };
    let sql = format!("SELECT {COLUMNS}, {payload} FROM onewrite.parked_event WHERE {FITS} ORDER BY id LIMIT $6");
    let rows = client.query_typed(&sql, &binds(filter, &ids)).await;
    rows.map_err(|error| failed("reading parked events", error))?
        .iter()
        .map(parked_event)
        .collect()
}

/// Marks poison for another delivery. What is held behind it follows by itself.
pub(super) async fn retry(client: &Client, filter: &ParkedFilter) -> Result<u64, StoreError> {
    let sql = format!(
        "UPDATE onewrite.parked_event SET state = 'retry' WHERE id IN \
         (SELECT id FROM onewrite.parked_event WHERE state = 'parked' AND {FITS} ORDER BY id LIMIT $6 FOR UPDATE)"
    );
    let marked = client.execute_typed(&sql, &binds(filter, &ids(filter))).await;
    marked.map_err(|error| failed("marking parked events for another delivery", error))
}

/// Removes events. Those that are only held behind another are removed when they are named by number, and not by the way.
pub(super) async fn skip(client: &Client, filter: &ParkedFilter) -> Result<Vec<ParkedEvent>, StoreError> {
    let sql = format!(
        "WITH skipped AS (DELETE FROM onewrite.parked_event WHERE id IN (SELECT id FROM onewrite.parked_event \
             WHERE (state <> 'held' OR $1 IS NOT NULL) AND {FITS} ORDER BY id LIMIT $6 FOR UPDATE) RETURNING *), \
         noted AS (INSERT INTO onewrite.skipped_event (sequence, relay) SELECT skipped.sequence, relay FROM skipped \
             JOIN onewrite.outbox ON outbox.sequence = skipped.sequence AND outbox.id = skipped.event_id \
             ON CONFLICT DO NOTHING) \
         SELECT {COLUMNS}, payload FROM skipped"
    );
    let rows = client.query_typed(&sql, &binds(filter, &ids(filter))).await;
    let rows = rows.map_err(|error| failed("removing parked events", error))?;
    let mut events = rows.iter().map(parked_event).collect::<Result<Vec<_>, _>>()?;
    events.sort_by_key(|event| event.id);
    Ok(events)
}

fn refused(id: i64, problem: impl std::fmt::Display) -> StoreError {
    let words = format!("parked event {id} is left as it is: {problem}");
    StoreError::new(StoreFailure::Refused, words)
}

/// Checks an edit against the limits of events.
///
/// # Errors
/// What is wrong with it: an event that breaks a limit would only be parked again.
pub(super) fn check(id: i64, edit: &ParkedEdit) -> Result<(), StoreError> {
    edit.check().map_err(|invalid| refused(id, &invalid).because(invalid))
}

/// Changes a parked event; `false` where there is none of this number.
///
/// # Errors
/// `Refused` where it is under retry or held: it may be on its way as it was, would be delivered so, and the changed row removed.
pub(super) async fn edit(client: &Client, id: i64, edit: &ParkedEdit) -> Result<bool, StoreError> {
    // What the event's own contract lays down follows: its headers are these, and what has a payload is no tombstone.
    const EDIT: &str = "UPDATE onewrite.parked_event SET topic = coalesce($2, topic), payload = coalesce($3, payload), \
                        content_type = coalesce($4, content_type), headers = coalesce($5::jsonb, headers), \
                        record = record || CASE WHEN $6 IS NULL THEN '{}' ELSE jsonb_build_object('headers', $6::jsonb) END \
                                        || CASE WHEN $3 IS NULL THEN '{}' ELSE '{\"tombstone\": false}'::jsonb END \
                        WHERE id = $1 AND state = 'parked'";
    const STATE: &str = "SELECT state FROM onewrite.parked_event WHERE id = $1";
    let headers = edit.headers.as_ref().map(serde_json::Value::to_string);
    // They were checked before.
    let read = edit
        .headers
        .as_ref()
        .and_then(|headers| headers_from_json(headers).ok());
    let record = read.map(|headers| headers_json(&headers));
    let binds: [(&(dyn ToSql + Sync), Type); 6] = [
        (&id, Type::INT8),
        (&edit.topic, Type::TEXT),
        (&edit.payload, Type::BYTEA),
        (&edit.content_type, Type::TEXT),
        (&headers, Type::TEXT),
        (&record, Type::TEXT),
    ];
    let doing = |error| failed("changing a parked event", error);
    if client.execute_typed(EDIT, &binds).await.map_err(doing)? > 0 {
        return Ok(true);
    }
    let left = client
        .query_typed_opt(STATE, &[(&id, Type::INT8)])
        .await
        .map_err(doing)?;
    left.map_or(Ok(false), |row| {
        let state: &str = row.get(0);
        Err(refused(
            id,
            format_args!(
                "its state is {state:?}, and it may be on its way as it is; only what is \"parked\" can be changed"
            ),
        ))
    })
}

fn ids(filter: &ParkedFilter) -> Option<&[i64]> {
    (!filter.ids.is_empty()).then_some(&filter.ids)
}

fn binds<'a>(filter: &'a ParkedFilter, ids: &'a Option<&'a [i64]>) -> [(&'a (dyn ToSql + Sync), Type); 6] {
    [
        (ids, Type::INT8_ARRAY),
        (&filter.relay, Type::TEXT),
        (&filter.route, Type::TEXT),
        (&filter.topic, Type::TEXT),
        (&filter.key, Type::TEXT),
        (&filter.limit, Type::INT8),
    ]
}

fn parked_event(row: &Row) -> Result<ParkedEvent, StoreError> {
    let id: i64 = row.get(0);
    let unreadable = |what: &str| StoreError::new(StoreFailure::Refused, format!("parked event {id} holds {what}"));
    let time = |column: usize| {
        let time = Timestamp::from_microsecond(row.get(column));
        time.map_err(|error| unreadable("a time that cannot be read").because(error))
    };
    let headers = serde_json::from_str(row.get(9));
    Ok(ParkedEvent {
        id,
        relay: row.get(1),
        route: row.get(2),
        state: row.get(3),
        event_id: row.get(4),
        topic: row.get(5),
        key: row.get(6),
        event_type: row.get(7),
        content_type: row.get(8),
        headers: headers.map_err(|error| unreadable("headers that cannot be read").because(error))?,
        payload_bytes: row.get(10),
        occurred_at: time(11)?,
        parked_at: time(12)?,
        attempts: row.get(13),
        error: row.get(14),
        payload: row.get::<_, Option<Vec<u8>>>(15).unwrap_or_default(),
    })
}
