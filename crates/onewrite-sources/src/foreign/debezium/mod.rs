//! Debezium's outbox contract: from a row of the outbox table (or a logical message) to exactly the record that Debezium's
//! PostgreSQL connector, its outbox event router, and the converters behind them write to Kafka. Nothing here does I/O.
//!
//! The facts are those of Debezium 3.6.1 and Kafka Connect 4.3; `tests/debezium` replays what these two made of the same rows.
//! Where Debezium is not the same twice, one of its results is taken:
//!
//! - The name of an envelope's schema holds the routing text of each record; in Debezium that of the first record with an equal
//!   payload schema since the task's start.
//! - Objects of an array that differ in members are merged in the order of the array; in Debezium in that of a hash table.
//! - The record's time, where no column gives it, is that of the commit; in Debezium that of its own reading.
//! - An infinite `date` is what Debezium makes of it in the log; in its snapshots it is another.
//!
//! And these differ:
//!
//! - An id that is null is refused, since every delivery needs the same.
//! - A column of the type `name` is a text; Debezium loses it in the log, and not in its snapshots.
//! - Types of PostgreSQL that [`Value`](super::value::Value) does not have are refused where a column of theirs is used. So are years
//!   beyond 9999 and before 1 of a `timestamptz`, and numerics of negative scale.
//! - JSON that is nested more than 200 deep is not expanded; Debezium reads 1000.
//! - Of Java's regular expressions there are no look-around, back references and possessive quantifiers.

mod connect;
mod converters;
mod expand;
mod java;
mod json;
mod messages;
mod options;
mod pattern;
mod router;
mod row;
mod table;
mod texts;
mod trace;

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use onewrite_core::{Event, Verbatim};
use uuid::Uuid;

use super::value::Raw;

pub use messages::{MESSAGE_FIELDS, Messages};
pub use options::FIELDS;
pub use router::Router;
pub use table::{COLUMNS, Table, TableColumn};
pub use texts::Texts;

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It was inserted.
    Insert,
    /// It was there when reading began; routed like an insert.
    Snapshot,
    /// It was updated.
    Update,
    /// It was deleted.
    Delete,
}

/// A changed row.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// What happened to it.
    pub operation: Operation,
    /// Its values, in the order of the table's columns; not looked at for updates and deletes.
    pub values: &'a [Raw],
    /// When its transaction was committed.
    pub committed: Timestamp,
}

/// What a row became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed {
    /// The topic.
    pub topic: Arc<str>,
    /// The text of the event's id; see [`event_id`].
    pub event_id: Arc<str>,
    /// The text of the key, the scope of order; `None` where it is null.
    pub key: Option<Arc<str>>,
    /// The event's type, where the table has the column.
    pub event_type: Option<Arc<str>>,
    /// The record's value; empty for a tombstone.
    pub payload: Bytes,
    /// The media type of what the value's converter wrote.
    pub content_type: &'static str,
    /// The record's headers as texts; those that are null are left out.
    pub headers: onewrite_core::event::Headers,
    /// The time of the timestamp column, or of the commit.
    pub occurred_at: Timestamp,
    /// The record to the byte, beside its value.
    pub verbatim: Verbatim,
    /// What Debezium would warn of while it writes the record all the same.
    pub warning: Option<String>,
}

/// Why a row became nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Debezium would fail the task here; the words say why.
    Failed(String),
    /// Debezium would log the words and go on without the row.
    Skipped {
        /// What is logged.
        words: String,
        /// Whether as an error, and not as a warning.
        severe: bool,
    },
}

/// What is left of a row that became nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// Where it would have gone.
    pub topic: Option<Arc<str>>,
    /// The text of its id.
    pub event_id: Option<Arc<str>>,
    /// The text of its key.
    pub key: Option<Arc<str>>,
    /// Its type.
    pub event_type: Option<Arc<str>>,
    /// Its payload as it stands in the row: bytes, or a text.
    pub payload: Bytes,
}

/// The namespace of ids that are no UUIDs themselves.
const NAMESPACE: Uuid = Uuid::from_u128(0x6b1f_3d5e_92a4_4c07_8f5b_0d2e_7a91_c3f6);

/// The id of an event from the text of its id: the UUID that it is, else one made from the text, always the same.
pub fn event_id(text: &str) -> Uuid {
    Uuid::parse_str(text).unwrap_or_else(|_| Uuid::new_v5(&NAMESPACE, text.as_bytes()))
}

impl From<Routed> for Event {
    fn from(routed: Routed) -> Self {
        Self {
            id: event_id(&routed.event_id),
            topic: routed.topic,
            key: routed.key,
            event_type: routed.event_type,
            payload: routed.payload,
            content_type: routed.content_type.into(),
            headers: routed.headers,
            occurred_at: routed.occurred_at,
            replay: None,
            headers_complete: false,
            verbatim: Some(Box::new(routed.verbatim)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::event_id;

    #[test]
    fn ids_are_uuids_or_made_of_the_text() {
        let uuid = "da8d6de6-3b77-45ff-8f44-57db55a7a06c";
        assert_eq!(event_id(uuid).to_string(), uuid);
        assert_eq!(event_id("42"), event_id("42"));
        assert_ne!(event_id("42"), event_id("43"));
        assert_eq!(event_id("42").get_version_num(), 5);
    }
}
