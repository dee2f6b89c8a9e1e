//! From a row of the log to an event.

use std::borrow::Cow;

use bytes::Bytes;
use onewrite_core::{StoreError, StoreFailure};
use onewrite_pgoutput::{Column, Relation, Tuple};
use uuid::Uuid;

use super::super::lanes;
use super::super::rows::{Decoder, Microseconds, RawEvent, lossy};
use super::limits::COPIED_BYTES;
use super::shared::LogRow;

/// The columns that are read, by their numbers.
const COLUMNS: [&str; 10] = [
    "xid",
    "sequence",
    "occurred_at",
    "id",
    "topic",
    "key",
    "type",
    "content_type",
    "headers",
    "payload",
];
const XID: usize = 0;
const SEQUENCE: usize = 1;
const OCCURRED_AT: usize = 2;
const ID: usize = 3;
const TOPIC: usize = 4;
const KEY: usize = 5;
const TYPE: usize = 6;
const CONTENT_TYPE: usize = 7;
const HEADERS: usize = 8;
const PAYLOAD: usize = 9;

/// Where the outbox's columns stand in a row.
#[derive(Debug)]
pub(super) struct Layout {
    /// For each column of the row, its number in [`COLUMNS`].
    places: Vec<Option<usize>>,
}

impl Layout {
    /// The layout of the outbox; `None` for another table.
    ///
    /// # Errors
    /// When a column is missing that every outbox has.
    pub fn of(relation: &Relation) -> Result<Option<Self>, StoreError> {
        if (relation.namespace.as_str(), relation.name.as_str()) != ("onewrite", "outbox") {
            return Ok(None);
        }
        let place = |name: &str| COLUMNS.iter().position(|known| *known == name);
        let places: Vec<_> = relation
            .columns
            .iter()
            .map(|column| place(column.name.as_str()))
            .collect();
        match (0..COLUMNS.len()).find(|wanted| !places.contains(&Some(*wanted))) {
            None => Ok(Some(Self { places })),
            Some(missing) => Err(unreadable(&format!("the column {} does not come", COLUMNS[missing]))),
        }
    }

    /// The columns of a row.
    pub fn read(&self, tuple: &Tuple) -> Result<Found, StoreError> {
        let mut columns: [Option<Bytes>; 10] = Default::default();
        for (column, place) in tuple.columns().zip(&self.places) {
            let Some(place) = *place else { continue };
            columns[place] = match column {
                Column::Binary(bytes) => Some(bytes),
                Column::Null => None,
                Column::Text(_) | Column::Unchanged => {
                    return Err(unreadable(&format!(
                        "the column {} is not in binary form",
                        COLUMNS[place]
                    )));
                }
            };
        }
        Ok(Found(columns))
    }
}

/// The columns of a row, as they came.
pub(super) struct Found([Option<Bytes>; 10]);

impl Found {
    /// The topic and the type, where they are texts: by them it is known who takes the event.
    pub fn topic_and_type(&self) -> (Cow<'_, str>, Option<Cow<'_, str>>) {
        let text = |at: usize| self.raw(at).map(lossy);
        (text(TOPIC).unwrap_or_default(), text(TYPE))
    }

    /// The hash by which the event's group is decided.
    pub fn hash(&self) -> Result<u64, StoreError> {
        Ok(lanes::of_event(self.raw(KEY), Uuid::from_bytes(self.fixed(ID)?)))
    }

    /// The event.
    pub fn into_row(self, decoder: &mut Decoder) -> Result<LogRow, StoreError> {
        let payload = self.0[PAYLOAD].clone().unwrap_or_default();
        let raw = RawEvent {
            id: Uuid::from_bytes(self.fixed(ID)?),
            topic: self.raw(TOPIC),
            key: self.raw(KEY),
            event_type: self.raw(TYPE),
            content_type: self.raw(CONTENT_TYPE),
            // The first byte is the version of the form.
            headers: self.raw(HEADERS).map(|raw| raw.get(1..).unwrap_or_default()),
            payload: match payload.len() < COPIED_BYTES {
                true => Bytes::copy_from_slice(&payload),
                false => payload,
            },
            occurred_at: Microseconds(i64::from_be_bytes(self.fixed(OCCURRED_AT)?)),
        };
        let (event, defect) = decoder.make(raw);
        Ok(LogRow {
            xid: u64::from_be_bytes(self.fixed(XID)?),
            sequence: u64::from_be_bytes(self.fixed(SEQUENCE)?),
            event,
            defect,
        })
    }

    fn raw(&self, at: usize) -> Option<&[u8]> {
        self.0[at].as_deref()
    }

    fn fixed<const LENGTH: usize>(&self, at: usize) -> Result<[u8; LENGTH], StoreError> {
        let raw = self.raw(at).unwrap_or_default();
        raw.try_into().map_err(|_| {
            unreadable(&format!(
                "the column {} has {} bytes, not {LENGTH}",
                COLUMNS[at],
                raw.len()
            ))
        })
    }
}

fn unreadable(what: &str) -> StoreError {
    let words = format!("a row of onewrite.outbox in the log cannot be read: {what}");
    StoreError::new(StoreFailure::Unavailable, words)
}
