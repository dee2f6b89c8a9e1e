//! One of a route's two sources as the machine sees it: what it is doing and what it is owed.

use std::time::Duration;

use crate::ledger::Ledger;
use crate::source::Parking;

/// Where the source of a seat stands. It does one thing at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SeatState {
    /// There is no source; one may be opened from this time on.
    Closed { from: Duration },
    /// One is being opened.
    Opening,
    /// It does nothing; `empty` when the last read found nothing and no wait came after it.
    Idle { empty: bool },
    /// It reads.
    Reading,
    /// It waits for something to read; `called_back` when it was asked to stop waiting.
    Waiting { called_back: bool },
    /// It records a settlement.
    Settling,
    /// It parks events.
    Parking,
}

/// A source and what belongs to its present incarnation.
#[derive(Debug)]
pub(super) struct Seat {
    pub state: SeatState,
    /// Grows with every source that is opened: a ticket of an older one means nothing to the present ledger.
    pub incarnation: u64,
    pub ledger: Ledger,
    /// Events to park, in order.
    pub to_park: Vec<Parking>,
    /// When progress was last recorded.
    pub settled_at: Duration,
    /// Failures to open or use the source in a row.
    pub failures: u32,
    /// The latest of them in words.
    pub error: Option<String>,
}

impl Seat {
    pub fn new() -> Self {
        Self {
            state: SeatState::Closed { from: Duration::ZERO },
            incarnation: 0,
            ledger: Ledger::default(),
            to_park: Vec::new(),
            settled_at: Duration::ZERO,
            failures: 0,
            error: None,
        }
    }

    /// Notes that the source failed.
    pub fn failed(&mut self, words: String) {
        self.failures = self.failures.saturating_add(1);
        self.error = Some(words);
    }

    /// Notes that the source was read.
    pub fn succeeded(&mut self) {
        (self.failures, self.error) = (0, None);
    }

    /// Begins a new incarnation.
    pub fn opened(&mut self) {
        self.state = SeatState::Idle { empty: false };
        self.incarnation += 1;
        self.ledger = Ledger::default();
        self.to_park.clear();
    }

    /// Ends the incarnation: what it handed out will be handed out again by the next one.
    pub fn lost(&mut self, retry_at: Duration) {
        self.state = SeatState::Closed { from: retry_at };
        self.incarnation += 1;
        self.ledger = Ledger::default();
        self.to_park.clear();
    }

    /// Whether nothing is left to record or to park. What it may be reading or opening can be abandoned.
    pub fn at_rest(&self) -> bool {
        let recording = matches!(self.state, SeatState::Settling | SeatState::Parking);
        !recording && self.to_park.is_empty() && self.ledger.recordable() == 0
    }
}
