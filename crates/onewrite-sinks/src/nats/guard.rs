//! `expect_last_sequence`: a message is published only behind the one that is known to be the last of its subject.
//!
//! One message of a subject is under way at a time. Its sequence is noted when the stream acknowledges it. Where it is not
//! known, after connecting for the first time or after an answer that was lost, the stream is asked for the subject's last message first.
//! An event whose answer was lost can only be that one, so its id is noted: when its turn comes, before or after events of other keys,
//! it has arrived and is not published again, however long ago the answer was lost. A stream's window of duplicates is not needed for
//! that. What a connection that was given up still gets rid of names an old sequence and is refused. When somebody else publishes to
//! the subject in between, the stream refuses, and the sink looks again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use onewrite_core::error::SinkError;
use uuid::Uuid;

use super::api::{Last, Unanswered, last};
use super::known::Known;
use super::link::Link;
use super::message::{MESSAGE_ID, Message};
use super::settings::Settings;
use super::sink::{Published, publish};
use crate::ids::Ids;
use crate::keyed::{Fate, StartWindow};
use crate::limits::{NATS_GUARD_SEEN, NATS_GUARD_TRIES, NATS_GUARDED_SUBJECTS};

/// The header by which a message names the one before it.
const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";

/// What is known of subjects, over all connections of a connector.
pub(super) struct Guard {
    subjects: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Subject>>>>,
    /// Ids that were found to be those of last messages: some may be of events that are not settled.
    seen: Ids,
}

/// The sequence of a subject's last message; `None` where it is not known.
pub(super) type Subject = Option<u64>;

impl Default for Guard {
    fn default() -> Self {
        Self {
            subjects: Mutex::default(),
            seen: Ids::new(NATS_GUARD_SEEN),
        }
    }
}

impl Guard {
    /// What is known of a subject, to be locked while a message of it is under way.
    pub(super) fn subject(&self, subject: &str) -> Arc<tokio::sync::Mutex<Subject>> {
        let mut subjects = self.subjects.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = subjects.get(subject) {
            return Arc::clone(known);
        }
        if subjects.len() >= NATS_GUARDED_SUBJECTS {
            // What nobody holds can be asked for again.
            subjects.retain(|_, known| Arc::strong_count(known) > 1);
        }
        Arc::clone(subjects.entry(subject.to_owned()).or_default())
    }

    /// Publishes a message behind the last of its subject, unless the stream was seen to hold it.
    ///
    /// # Errors
    /// It is too late to begin.
    pub(super) async fn publish(
        &self,
        settings: &Settings,
        link: &Link,
        known: &Known,
        subject: &mut Subject,
        message: Message,
        start: StartWindow,
    ) -> Result<Fate, SinkError> {
        let mut other = None;
        for _ in 0..NATS_GUARD_TRIES {
            start.check()?;
            let expected = match *subject {
                Some(sequence) => sequence,
                None => match look(settings, link, &message.subject).await {
                    Ok(found) => {
                        if let Some(id) = id_of(&found) {
                            self.seen.note(id);
                        }
                        *subject.insert(found.sequence)
                    }
                    Err(fate) => return Ok(fate),
                },
            };
            // An id is not remembered for longer than its event is unsettled: who publishes it again means it.
            if !message.replayed && self.seen.forget(message.event) {
                return Ok(Fate::Delivered);
            }
            start.check()?;
            let mut guarded = message.clone();
            guarded.headers.insert(EXPECTED, expected.to_string().as_str());
            // Whatever happens to this future, what is under way makes it unknown.
            *subject = None;
            match publish(settings, link, known, guarded).await {
                Published::Kept(sequence) => {
                    *subject = Some(sequence);
                    self.seen.forget(message.event);
                    return Ok(Fate::Delivered);
                }
                Published::OtherLast(error) => other = Some(error),
                Published::Not(fate) => return Ok(fate),
            }
        }
        let words = "the subject's last message could not be told";
        Ok(Fate::Refused(other.unwrap_or_else(|| SinkError::retry(words))))
    }
}

/// The id of an event that a last message holds, where it is one of ours.
fn id_of(found: &Last) -> Option<Uuid> {
    let lines = found.headers.split(|byte| *byte == b'\n');
    let mut ids = lines.filter_map(|line| line.strip_prefix(MESSAGE_ID.as_bytes())?.strip_prefix(b":"));
    Uuid::try_parse(std::str::from_utf8(ids.next()?).ok()?.trim()).ok()
}

async fn look(settings: &Settings, link: &Link, subject: &str) -> Result<Last, Fate> {
    let stream = settings.stream.as_deref().unwrap_or_default();
    last(settings, link, stream, subject).await.map_err(|unanswered| {
        let why = match unanswered {
            Unanswered::Ended(error) => return Fate::Lost(error),
            Unanswered::Refused(error) => error.words(),
            Unanswered::Unknown(words) => words,
        };
        Fate::Refused(SinkError::retry(format!(
            "the last message of subject {subject} in stream {stream} cannot be told: {why}"
        )))
    })
}

/// Any headers hold an id or none.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(bytes: &[u8]) {
    id_of(&Last {
        sequence: 1,
        headers: bytes.to_vec(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgetting_subjects_forgets_no_event() {
        let guard = Guard::default();
        let event = Uuid::from_u128(7);
        guard.seen.note(event);
        let held = guard.subject("held");
        for number in 0..=NATS_GUARDED_SUBJECTS {
            *guard.subject(&number.to_string()).try_lock().unwrap() = Some(1);
        }
        assert_eq!(*guard.subject("0").try_lock().unwrap(), None, "it is asked for again");
        assert!(Arc::ptr_eq(&guard.subject("held"), &held));
        assert!(guard.seen.forget(event));
    }

    #[test]
    fn only_an_id_of_ours_is_noted() {
        let of = |headers: &str| {
            let headers = headers.as_bytes().to_vec();
            id_of(&Last { sequence: 1, headers })
        };
        let id = Uuid::from_u128(7);
        assert_eq!(of(&format!("NATS/1.0\r\na: b\r\nNats-Msg-Id: {id}\r\n\r\n")), Some(id));
        assert_eq!(of("NATS/1.0\r\nNats-Msg-Id: theirs\r\n\r\n"), None);
        assert_eq!(of(""), None);
    }
}
