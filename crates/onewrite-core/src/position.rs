//! Where an event stands in what its source hands out, and what a source is told about settled events.

use std::fmt;

/// The place of an event in its source's order. Opaque to core but for the comparison: a source hands out strictly
/// ascending positions for as long as it lives. They mean nothing to the next incarnation of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The stretch of reading that the event belongs to, such as the difference of two snapshots.
    pub generation: u64,
    /// The place inside the generation, such as a sequence value.
    pub sequence: u64,
}

impl Position {
    /// A position.
    pub const fn new(generation: u64, sequence: u64) -> Self {
        Self { generation, sequence }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.generation, self.sequence)
    }
}

/// The word of core on a source's events: all that it handed out at or below `through` are settled, but for `pending`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// The highest position covered; `None` while nothing is.
    pub through: Option<Position>,
    /// Events at or below `through` that are not settled, ascending. At most
    /// [`PENDING_EVENTS_MAX`](crate::limits::PENDING_EVENTS_MAX).
    pub pending: Vec<Position>,
}
