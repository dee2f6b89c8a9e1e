//! Subjects that streams have taken messages of.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::limits::NATS_SUBJECTS_KNOWN;

/// As many as are remembered, over all connections of a connector: what a stream took once and nobody listens to now will be taken again.
#[derive(Default)]
pub(super) struct Known(Mutex<HashSet<Box<str>>>);

impl Known {
    /// Remembers a subject, if there is room for it.
    pub(super) fn note(&self, subject: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < NATS_SUBJECTS_KNOWN && !known.contains(subject) {
            known.insert(subject.into());
        }
    }

    /// Whether a stream has taken a message of it.
    pub(super) fn contains(&self, subject: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(subject)
    }
}
