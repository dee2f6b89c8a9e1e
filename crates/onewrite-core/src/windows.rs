//! The pure bookkeeping of a source that reads differences of snapshots: from settlements to a floor.
//!
//! A **window** is all that one snapshot, its upper one, sees and the one before it does not. Windows follow each other without
//! a gap, so they cover every event once, however long a transaction took. Inside a window events stand in the order of their
//! sequence. The snapshots are opaque here; each source knows how to read between two of them.

use std::collections::VecDeque;

use crate::position::{Position, Settlement};

/// The generation of events that an earlier incarnation left pending; they are handed out first.
pub const CARRIED: u64 = 0;

/// What a route has settled, as it is recorded: everything that `floor` sees; of what `window` sees beyond it, all at or below
/// `sequence`; but for `pending`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress<S> {
    /// The snapshot below which everything is settled.
    pub floor: S,
    /// The upper snapshot of the window that is partly settled.
    pub window: Option<S>,
    /// The last settled sequence inside the window; 0 without one.
    pub sequence: u64,
    /// Sequences of events that the rest covers but that are not settled, ascending.
    pub pending: Vec<u64>,
}

/// The open window: what to read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading<'a, S> {
    /// Read what this does not see,
    pub base: &'a S,
    /// but this does,
    pub upper: &'a S,
    /// and whose sequence is above this.
    pub cursor: u64,
}

/// The windows of one incarnation of a source.
#[derive(Debug)]
pub struct Windows<S> {
    floor: S,
    /// Windows that are not settled throughout, oldest first. All but the last are complete.
    windows: VecDeque<Window<S>>,
    generation: u64,
    /// Left by the incarnation before and not covered by a settlement yet.
    carried: Vec<u64>,
    /// Covered by the last settlement but not settled.
    pending: Vec<u64>,
}

#[derive(Debug)]
struct Window<S> {
    generation: u64,
    upper: S,
    /// The last sequence handed out.
    cursor: u64,
    /// The last sequence settled.
    settled: u64,
    handed_out_any: bool,
    complete: bool,
}

impl<S: Clone> Windows<S> {
    /// Goes on from recorded progress.
    pub fn new(progress: Progress<S>) -> Self {
        let mut windows = Self {
            floor: progress.floor,
            windows: VecDeque::new(),
            generation: CARRIED,
            carried: progress.pending,
            pending: Vec::new(),
        };
        windows.carried.sort_unstable();
        windows.carried.dedup();
        if let Some(upper) = progress.window {
            windows.push(upper, progress.sequence);
        }
        windows
    }

    /// The events that the incarnation before left pending and no settlement covers yet, ascending.
    pub fn carried(&self) -> &[u64] {
        &self.carried
    }

    /// The window that is being read, if one is open.
    pub fn reading(&self) -> Option<Reading<'_, S>> {
        let open = self.windows.back().filter(|window| !window.complete)?;
        let base = match self.windows.len() {
            1 => &self.floor,
            length => &self.windows[length - 2].upper,
        };
        Some(Reading {
            base,
            upper: &open.upper,
            cursor: open.cursor,
        })
    }

    /// The snapshot that the next window begins with.
    pub fn base(&self) -> &S {
        self.windows.back().map_or(&self.floor, |window| &window.upper)
    }

    /// Opens the window from [`base`](Self::base) to `upper`.
    ///
    /// # Panics
    /// When a window is open: what is left of it would never be read.
    pub fn open(&mut self, upper: S) {
        assert!(
            self.reading().is_none(),
            "a window was opened while another was being read"
        );
        self.push(upper, 0);
    }

    /// Notes that the open window's event of this sequence is handed out, and returns its position.
    ///
    /// # Panics
    /// When no window is open, or sequences do not ascend.
    pub fn hand_out(&mut self, sequence: u64) -> Position {
        let window = self
            .windows
            .back_mut()
            .filter(|window| !window.complete)
            .expect("a window is open");
        assert!(
            window.cursor < sequence,
            "{sequence} was handed out after {}",
            window.cursor
        );
        window.cursor = sequence;
        window.handed_out_any = true;
        Position::new(window.generation, sequence)
    }

    /// Notes that the open window was read to its end.
    pub fn complete(&mut self) {
        let Some(mut window) = self.windows.pop_back() else {
            return;
        };
        window.complete = true;
        match self.windows.back_mut() {
            // Nothing was in it, so the one before it reaches as far.
            Some(before) if !window.handed_out_any => before.upper = window.upper,
            _ => self.windows.push_back(window),
        }
        self.advance();
    }

    /// Moves the floor as far as a settlement allows.
    pub fn settle(&mut self, settlement: &Settlement) {
        let Some(through) = settlement.through else { return };
        self.carried
            .retain(|sequence| Position::new(CARRIED, *sequence) > through);
        self.pending = settlement.pending.iter().map(|position| position.sequence).collect();
        while let Some(window) = self.windows.front_mut() {
            if window.generation > through.generation {
                break;
            }
            window.settled = if window.generation == through.generation {
                through.sequence
            } else {
                window.cursor
            };
            if !window.is_settled() {
                break;
            }
            self.advance();
        }
    }

    /// What to record now.
    pub fn progress(&self) -> Progress<S> {
        let partly = self.windows.front().filter(|window| window.settled > 0);
        let mut pending = [self.carried.as_slice(), self.pending.as_slice()].concat();
        pending.sort_unstable();
        pending.dedup();
        Progress {
            floor: self.floor.clone(),
            window: partly.map(|window| window.upper.clone()),
            sequence: partly.map_or(0, |window| window.settled),
            pending,
        }
    }

    fn push(&mut self, upper: S, cursor: u64) {
        self.generation += 1;
        self.windows.push_back(Window {
            generation: self.generation,
            upper,
            cursor,
            settled: cursor,
            handed_out_any: false,
            complete: false,
        });
    }

    fn advance(&mut self) {
        while self.windows.front().is_some_and(Window::is_settled) {
            let window = self.windows.pop_front().expect("there is a first window");
            self.floor = window.upper;
        }
    }
}

impl<S> Window<S> {
    fn is_settled(&self) -> bool {
        self.complete && self.settled >= self.cursor
    }
}

#[cfg(test)]
mod tests;
