//! Appending events in the caller's transaction.

use serde_json::Value;
use tokio_postgres::Transaction;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::error::AppendError;
use crate::event::Event;
use crate::limits::{APPEND_BYTES_MAX, APPEND_EVENTS_MAX};
use crate::statements::postgres::{APPEND, APPEND_ALL, INSERT_ALL, LOCK_KEYS};

/// Appends an event in the caller's transaction and returns the event's id.
///
/// The event's key is locked until the transaction ends: of two transactions that append to one key, the second waits for
/// the first to end, and so the order of commits is the order of delivery. A transaction that appends to several keys can
/// wait for another that waits for it; hand such events to [`append_all`], which locks their keys in one order for everybody.
///
/// # Errors
/// [`AppendError`], which says what has become of the transaction.
pub async fn append(transaction: &Transaction<'_>, event: &Event) -> Result<Uuid, AppendError> {
    check(std::slice::from_ref(event))?;
    let headers = event.headers_json();
    let payload: &[u8] = &event.payload;
    let row = transaction
        .query_typed_one(
            APPEND,
            &[
                (&event.topic, Type::TEXT),
                (&event.key, Type::TEXT),
                (&payload, Type::BYTEA),
                (&event.event_type, Type::TEXT),
                (&headers, Type::JSONB),
                (&event.content_type, Type::TEXT),
                (&event.id, Type::UUID),
            ],
        )
        .await?;
    Ok(row.get(0))
}

/// Appends events in the caller's transaction, in the order of the slice.
///
/// All keys are locked before the first event is written, in one order for everybody, so that transactions that append by
/// one call each never wait for one another in a circle. One round trip, or two and more past
/// [`APPEND_BYTES_MAX`](crate::limits::APPEND_BYTES_MAX) of payload or
/// [`APPEND_EVENTS_MAX`](crate::limits::APPEND_EVENTS_MAX) events.
///
/// Each different key takes one place in the server's lock table, which by default has some 6,400 for all sessions
/// together. For more than a thousand keys or so, use [`append_under_row_lock`] where its condition holds, or several
/// transactions.
///
/// # Errors
/// [`AppendError`]. When one event is not valid, none is written.
pub async fn append_all(transaction: &Transaction<'_>, events: &[Event]) -> Result<(), AppendError> {
    check(events)?;
    let mut chunks = chunks(events).peekable();
    let first = chunks.next();
    if chunks.peek().is_some() {
        let keys: Vec<&str> = events.iter().filter_map(|event| event.key.as_deref()).collect();
        transaction.query_typed(LOCK_KEYS, &[(&keys, Type::TEXT_ARRAY)]).await?;
    }
    for chunk in first.into_iter().chain(chunks) {
        Columns::of(chunk).send(transaction, APPEND_ALL).await?;
    }
    Ok(())
}

/// Appends events like [`append_all`], but locks no key: for a caller whose transaction holds a lock of its own that every
/// writer of these keys takes before it appends, such as the aggregate's row by `SELECT … FOR UPDATE` or an `UPDATE`. It saves
/// the lock. Without such a lock, events of one key may be delivered in another order than that of their commits.
///
/// It is a plain `INSERT`, and so needs that privilege on the outbox.
///
/// # Errors
/// [`AppendError`]. When one event is not valid, none is written.
pub async fn append_under_row_lock(transaction: &Transaction<'_>, events: &[Event]) -> Result<(), AppendError> {
    check(events)?;
    for chunk in chunks(events) {
        Columns::of(chunk).send(transaction, INSERT_ALL).await?;
    }
    Ok(())
}

fn check(events: &[Event]) -> Result<(), AppendError> {
    for event in events {
        event.check().map_err(|source| AppendError::Invalid {
            event: event.id,
            source,
        })?;
    }
    Ok(())
}

/// Events by column, as the statements take them.
struct Columns<'a> {
    ids: Vec<Uuid>,
    topics: Vec<&'a str>,
    keys: Vec<Option<&'a str>>,
    types: Vec<Option<&'a str>>,
    content_types: Vec<&'a str>,
    headers: Vec<Value>,
    payloads: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    fn of(events: &'a [Event]) -> Self {
        Self {
            ids: events.iter().map(|event| event.id).collect(),
            topics: events.iter().map(|event| event.topic.as_str()).collect(),
            keys: events.iter().map(|event| event.key.as_deref()).collect(),
            types: events.iter().map(|event| event.event_type.as_deref()).collect(),
            content_types: events.iter().map(|event| event.content_type.as_str()).collect(),
            headers: events.iter().map(Event::headers_json).collect(),
            payloads: events.iter().map(|event| &*event.payload).collect(),
        }
    }

    async fn send(&self, transaction: &Transaction<'_>, statement: &str) -> Result<(), tokio_postgres::Error> {
        let binds: [(&(dyn ToSql + Sync), Type); 7] = [
            (&self.ids, Type::UUID_ARRAY),
            (&self.topics, Type::TEXT_ARRAY),
            (&self.keys, Type::TEXT_ARRAY),
            (&self.types, Type::TEXT_ARRAY),
            (&self.content_types, Type::TEXT_ARRAY),
            (&self.headers, Type::JSONB_ARRAY),
            (&self.payloads, Type::BYTEA_ARRAY),
        ];
        transaction.execute_typed(statement, &binds).await?;
        Ok(())
    }
}

/// Cuts events into stretches that one statement can carry; none is empty.
fn chunks(events: &[Event]) -> impl Iterator<Item = &[Event]> {
    let mut rest = events;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = rest.iter().take(APPEND_EVENTS_MAX).take_while(|event| {
            bytes += event.payload.len();
            bytes <= APPEND_BYTES_MAX
        });
        let length = fits.count().max(1).min(rest.len());
        let (chunk, after) = rest.split_at(length);
        rest = after;
        (!chunk.is_empty()).then_some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_bounded_and_leave_nothing_out() {
        let event = |bytes: usize| Event::new("t", vec![0; bytes]);
        let lengths = |events: &[Event]| chunks(events).map(<[Event]>::len).collect::<Vec<_>>();
        assert_eq!(lengths(&[]), Vec::<usize>::new());
        assert_eq!(lengths(&vec![event(0); APPEND_EVENTS_MAX + 1]), [APPEND_EVENTS_MAX, 1]);
        let half = APPEND_BYTES_MAX / 2;
        let sizes = [half, half, 1, APPEND_BYTES_MAX + 1, 1];
        assert_eq!(lengths(&sizes.map(event)), [2, 1, 1, 1]);
    }
}
