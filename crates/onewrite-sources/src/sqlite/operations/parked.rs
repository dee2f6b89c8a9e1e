//! Parked and held events: list, retry, skip, edit.

use jiff::Timestamp;
use onewrite_core::store::{ParkedEdit, ParkedEvent, ParkedFilter};
use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, TransactionBehavior, params};

use super::super::rows::parse_time;

/// The columns of [`ParkedEvent`] in its order, but for the payload.
const COLUMNS: &str = "id, relay, route, state, event_id, topic, key, type, content_type, headers, octet_length(payload), \
                       occurred_at, parked_at, attempts, error";

/// What fits a [`ParkedFilter`], bound by [`binds`].
const FITS: &str = "(?1 IS NULL OR id IN (SELECT value FROM json_each(?1))) AND (?2 IS NULL OR relay = ?2) \
                    AND (?3 IS NULL OR route = ?3) AND (?4 IS NULL OR topic = ?4) AND (?5 IS NULL OR key = ?5)";

/// Lists events, oldest first.
pub(super) fn list(connection: &Connection, filter: &ParkedFilter) -> rusqlite::Result<Vec<ParkedEvent>> {
    let payload = if filter.with_payload { "payload" } else { "x''" };
    let sql = format!("SELECT {COLUMNS}, {payload} FROM onewrite_parked_event WHERE {FITS} ORDER BY id LIMIT ?6");
    select(connection, &sql, filter)
}

/// Marks poison for another delivery. What is held behind it follows by itself.
pub(super) fn retry(connection: &Connection, filter: &ParkedFilter) -> rusqlite::Result<u64> {
    let sql = format!(
        "UPDATE onewrite_parked_event SET state = 'retry' WHERE id IN \
         (SELECT id FROM onewrite_parked_event WHERE state = 'parked' AND {FITS} ORDER BY id LIMIT ?6)"
    );
    let marked = connection.execute(&sql, binds(filter).each_ref().map(|bind| &**bind))?;
    Ok(marked as u64)
}

/// Removes events. Those that are only held behind another are removed when they are named by number, and not by the way.
pub(super) fn skip(connection: &mut Connection, filter: &ParkedFilter) -> rusqlite::Result<Vec<ParkedEvent>> {
    const NOTE: &str = "INSERT OR IGNORE INTO onewrite_skipped_event (sequence, relay) \
                        SELECT sequence, relay FROM onewrite_parked_event WHERE id = ?1 \
                        AND EXISTS (SELECT 1 FROM onewrite_outbox AS event WHERE event.sequence = onewrite_parked_event.sequence)";
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let sql = format!(
        "SELECT {COLUMNS}, payload FROM onewrite_parked_event \
         WHERE (state <> 'held' OR ?1 IS NOT NULL) AND {FITS} ORDER BY id LIMIT ?6"
    );
    let skipped = select(&transaction, &sql, filter)?;
    for event in &skipped {
        transaction.prepare_cached(NOTE)?.execute([event.id])?;
        transaction.execute("DELETE FROM onewrite_parked_event WHERE id = ?1", [event.id])?;
    }
    transaction.commit()?;
    Ok(skipped)
}

/// Changes a parked event; `false` where there is none of this number; in words, why it may not be changed. What is under retry or held
/// may be on its way as it was: it would be delivered so, and the changed row removed.
pub(super) fn edit(connection: &mut Connection, id: i64, edit: &ParkedEdit) -> rusqlite::Result<Result<bool, String>> {
    const EDIT: &str = "UPDATE onewrite_parked_event SET topic = coalesce(?2, topic), payload = coalesce(?3, payload), \
                        content_type = coalesce(?4, content_type), headers = coalesce(?5, headers) WHERE id = ?1";
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let state = "SELECT state FROM onewrite_parked_event WHERE id = ?1";
    let state = transaction.query_row(state, [id], |row| row.get::<_, String>(0));
    let Some(state) = state.optional()? else {
        return Ok(Ok(false));
    };
    if state != "parked" {
        return Ok(Err(format!(
            "its state is {state:?}, and it may be on its way as it is; only what is \"parked\" can be changed"
        )));
    }
    let headers = edit.headers.as_ref().map(serde_json::Value::to_string);
    let bound = params![id, edit.topic, edit.payload, edit.content_type, headers];
    let changed = transaction.execute(EDIT, bound)?;
    transaction.commit()?;
    Ok(Ok(changed > 0))
}

fn binds(filter: &ParkedFilter) -> [Box<dyn ToSql>; 6] {
    let ids = (!filter.ids.is_empty()).then(|| serde_json::json!(filter.ids).to_string());
    [
        Box::new(ids),
        Box::new(filter.relay.clone()),
        Box::new(filter.route.clone()),
        Box::new(filter.topic.clone()),
        Box::new(filter.key.clone()),
        // A negative limit is none.
        Box::new(filter.limit.unwrap_or(-1)),
    ]
}

fn select(connection: &Connection, sql: &str, filter: &ParkedFilter) -> rusqlite::Result<Vec<ParkedEvent>> {
    let mut statement = connection.prepare(sql)?;
    statement
        .query_map(binds(filter).each_ref().map(|bind| &**bind), parked_event)?
        .collect()
}

/// An event may be parked because its columns hold what they should not, so they are shown as well as they can be.
fn parked_event(row: &Row<'_>) -> rusqlite::Result<ParkedEvent> {
    let bytes = |column| -> rusqlite::Result<Option<&[u8]>> { Ok(row.get_ref(column)?.as_bytes_or_null()?) };
    let optional = |column| -> rusqlite::Result<Option<String>> {
        Ok(bytes(column)?.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
    };
    let text = |column| optional(column).map(Option::unwrap_or_default);
    let time = |column| -> rusqlite::Result<Timestamp> { Ok(parse_time(&text(column)?).unwrap_or_default()) };
    let headers = text(9)?;
    Ok(ParkedEvent {
        id: row.get(0)?,
        relay: row.get(1)?,
        route: row.get(2)?,
        state: row.get(3)?,
        event_id: text(4)?.parse().unwrap_or_default(),
        topic: text(5)?,
        key: optional(6)?,
        event_type: optional(7)?,
        content_type: text(8)?,
        headers: serde_json::from_str(&headers).unwrap_or(serde_json::Value::String(headers)),
        payload_bytes: row.get(10)?,
        occurred_at: time(11)?,
        parked_at: time(12)?,
        attempts: row.get(13)?,
        error: text(14)?,
        payload: bytes(15)?.unwrap_or_default().to_vec(),
    })
}
