//! Reading the outbox in order, a bounded stretch at a time.

use std::ops::ControlFlow;

use onewrite_core::routing::Share;
use onewrite_core::{BatchLimit, Position, Sourced};
use rusqlite::{Connection, Row};

use super::rows::{EVENT_COLUMNS, EVENT_WIDTH, event_of, is_taken};

/// Rows that one call reads over at the most: tens of milliseconds, in which the write-ahead log cannot be emptied.
pub(super) const SCAN_ROWS: i64 = 50_000;

/// What a call read.
#[derive(Debug, Default)]
pub(super) struct Stretch {
    /// The events that were wanted, with their sequences.
    pub events: Vec<(i64, Sourced)>,
    /// Everything up to here was read.
    pub cursor: i64,
    /// Whether there may be more beyond it already.
    pub more: bool,
}

/// What a call has room for. An event counts as much as the engine counts it, keys and headers included: without payloads they are all
/// that a read holds, and thousands of them several times what the limit allows.
pub(super) struct Room {
    limit: BatchLimit,
    events: usize,
    bytes: usize,
}

impl Room {
    pub fn new(limit: BatchLimit) -> Self {
        Self {
            limit,
            events: 0,
            bytes: 0,
        }
    }

    pub fn take(&mut self, sourced: &Sourced) {
        self.events += 1;
        self.bytes += sourced.event.weight();
    }

    /// At least one event always fits.
    pub fn is_full(&self) -> bool {
        self.events > 0 && (self.events >= self.limit.events || self.bytes >= self.limit.bytes)
    }
}

/// Reads what `wanted` says yes to, above `cursor` and up to `last`, in order. `wanted` sees a row of [`EVENT_COLUMNS`] and its sequence,
/// and may end the stretch before it.
pub(super) fn read_stretch(
    connection: &Connection,
    (cursor, last): (i64, i64),
    limit: BatchLimit,
    generation: u64,
    mut wanted: impl FnMut(&Row<'_>, i64) -> rusqlite::Result<ControlFlow<(), bool>>,
) -> rusqlite::Result<Stretch> {
    let sql = format!(
        "SELECT {EVENT_COLUMNS}, sequence FROM onewrite_outbox WHERE sequence > ?1 AND sequence <= ?2 ORDER BY sequence LIMIT ?3"
    );
    let mut room = Room::new(limit);
    let (mut read, mut stretch) = (
        0,
        Stretch {
            cursor,
            ..Stretch::default()
        },
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query((cursor, last, SCAN_ROWS))?;
    while !room.is_full()
        && let Some(row) = rows.next()?
    {
        read += 1;
        let sequence = row.get(EVENT_WIDTH)?;
        let ControlFlow::Continue(is_wanted) = wanted(row, sequence)? else {
            return Ok(stretch);
        };
        stretch.cursor = sequence;
        if is_wanted {
            let sourced = event_of(row, Position::new(generation, stretch.cursor.cast_unsigned()))?;
            room.take(&sourced);
            stretch.events.push((stretch.cursor, sourced));
        }
    }
    stretch.more = room.is_full() || read == SCAN_ROWS;
    Ok(stretch)
}

/// Reads those of the ascending `sequences` that are there and that the share takes.
pub(super) fn read_listed(
    connection: &Connection,
    sequences: &[i64],
    limit: BatchLimit,
    generation: u64,
    share: &Share,
) -> rusqlite::Result<Stretch> {
    let sql = format!("SELECT {EVENT_COLUMNS} FROM onewrite_outbox WHERE sequence = ?1");
    let mut room = Room::new(limit);
    let mut stretch = Stretch::default();
    let mut statement = connection.prepare_cached(&sql)?;
    for sequence in sequences {
        if room.is_full() {
            stretch.more = true;
            break;
        }
        stretch.cursor = *sequence;
        let mut rows = statement.query([sequence])?;
        if let Some(row) = rows.next()?
            && is_taken(row, share)?
        {
            let sourced = event_of(row, Position::new(generation, sequence.cast_unsigned()))?;
            room.take(&sourced);
            stretch.events.push((*sequence, sourced));
        }
    }
    Ok(stretch)
}
