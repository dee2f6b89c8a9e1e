//! Appending events in the caller's transaction.

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::error::{AppendError, Before};
use crate::event::Event;
use crate::statements::sqlite::APPEND;

/// Appends an event in the transaction that is open on `connection` and returns the event's id. A
/// [`rusqlite::Transaction`] or [`rusqlite::Savepoint`] is passed by reference as it is.
///
/// Without a transaction the event is committed by itself.
///
/// # Errors
/// [`AppendError`], which says what has become of the transaction.
pub fn append(connection: &Connection, event: &Event) -> Result<Uuid, AppendError> {
    check(std::slice::from_ref(event))?;
    let before = Before::of(connection);
    insert(connection, event).map_err(|source| before.append_failed(connection, source))?;
    Ok(event.id)
}

/// Appends events in the transaction that is open on `connection`, in the order of the slice, and either all or none.
///
/// # Errors
/// [`AppendError`]. When one event is not valid, none is written.
pub fn append_all(connection: &Connection, events: &[Event]) -> Result<(), AppendError> {
    check(events)?;
    let before = Before::of(connection);
    insert_all(connection, events).map_err(|source| {
        // Where SQLite has already rolled the whole transaction back, there is no savepoint to return to.
        let _ = connection.execute_batch("ROLLBACK TO onewrite_append_all; RELEASE onewrite_append_all");
        before.append_failed(connection, source)
    })
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

fn insert_all(connection: &Connection, events: &[Event]) -> Result<(), rusqlite::Error> {
    connection.execute_batch("SAVEPOINT onewrite_append_all")?;
    for event in events {
        insert(connection, event)?;
    }
    connection.execute_batch("RELEASE onewrite_append_all")
}

fn insert(connection: &Connection, event: &Event) -> Result<usize, rusqlite::Error> {
    let mut id = Uuid::encode_buffer();
    connection.prepare_cached(APPEND)?.execute(params![
        &*event.id.hyphenated().encode_lower(&mut id),
        event.topic,
        event.key,
        event.event_type,
        event.content_type,
        event.headers_json().to_string(),
        &*event.payload,
    ])
}
