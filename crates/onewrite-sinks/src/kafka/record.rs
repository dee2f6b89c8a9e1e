//! What a record holds besides its headers.

use bytes::Bytes;
use onewrite_core::Event;

/// A record, before it goes to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// The key; none is not the same as an empty one.
    pub key: Option<&'a [u8]>,
    /// The value; none makes the record a tombstone.
    pub value: Option<&'a Bytes>,
    /// The partition that it must go to, where the source's contract says so.
    pub partition: Option<i32>,
    /// Milliseconds since 1970, at least one: nought means "now" to the client, and brokers take no time before 1970.
    pub timestamp: i64,
}

impl<'a> Record<'a> {
    /// The record of an event: to the byte as the source's contract lays it down, else in the format `native`.
    pub fn of(event: &'a Event) -> Self {
        let occurred_at = event.occurred_at.as_millisecond();
        match &event.verbatim {
            Some(verbatim) => Self {
                key: verbatim.key.as_deref(),
                value: (!verbatim.tombstone).then_some(&event.payload),
                partition: verbatim.partition,
                timestamp: verbatim.timestamp.unwrap_or(occurred_at).max(1),
            },
            None => Self {
                key: event.key.as_deref().map(str::as_bytes),
                value: Some(&event.payload),
                partition: None,
                timestamp: occurred_at.max(1),
            },
        }
    }

    /// The key's length in bytes.
    pub fn key_bytes(&self) -> usize {
        self.key.map_or(0, <[u8]>::len)
    }

    /// The value's length in bytes.
    pub fn value_bytes(&self) -> usize {
        self.value.map_or(0, Bytes::len)
    }
}
