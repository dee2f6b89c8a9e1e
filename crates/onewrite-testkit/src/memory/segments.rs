//! Segments of the outbox, which go as a whole when nobody needs anything of theirs any more.

use std::ops::Range;

use onewrite_core::store::Maintenance;
use uuid::Uuid;

use super::database::MemoryDatabase;
use super::operations::share_of;
use super::state::{Standing, State};

impl MemoryDatabase {
    /// From now on maintenance empties the outbox by so many sequences at a time; before, nothing ever goes.
    pub fn empty_by(&self, sequences: u64) {
        self.state().segment = Some(sequences.max(1));
    }

    /// Whether the event is in the outbox.
    pub fn has_event(&self, id: Uuid) -> bool {
        self.state().rows.values().any(|row| row.plain.id == id)
    }
}

impl State {
    /// Empties every segment that is free, but for the one that is written to and the one before it.
    pub(super) fn maintain(&mut self) -> Maintenance {
        let Some(length) = self.segment else {
            return Maintenance::default();
        };
        let current = self.last_sequence / length;
        let mut emptied = Vec::new();
        for number in 0..current.saturating_sub(1) {
            let segment = number * length..(number + 1) * length;
            if self.rows.range(segment.clone()).next().is_some() && self.is_free(&segment) {
                self.rows.retain(|sequence, _| !segment.contains(sequence));
                self.skipped.retain(|(_, sequence)| !segment.contains(sequence));
                emptied.push(format!("segment {number}"));
            }
        }
        Maintenance {
            emptied,
            ..Maintenance::default()
        }
    }

    /// Whether every route has settled all of it, nobody may still add to it, and no replay will read it.
    fn is_free(&self, segment: &Range<u64>) -> bool {
        let mut routes = self.routes.values().map(|row| &row.progress).peekable();
        let any = routes.peek().is_some();
        let settled = routes.all(|progress| {
            let mut rows = self.rows.range(segment.clone());
            rows.all(|(sequence, row)| row.commit <= progress.floor && !progress.pending.contains(sequence))
        });
        let written = self.drawn.range(segment.clone()).next().is_some();
        let replayed = self.replays.values().any(|replay| {
            let request = &replay.request;
            let share = share_of(self, &request.relay, &request.route);
            share.is_some_and(|share| {
                let mut left = self.left_of(replay, &share);
                left.any(|(sequence, _, standing)| segment.contains(&sequence) && standing != Standing::Aside)
            })
        });
        any && !written && (self.hasty_emptying || (settled && !replayed))
    }
}
