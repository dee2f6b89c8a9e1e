//! `expect_last_sequence`: a message is published only behind the one that is known to be the last of its subject.
//!
//! One message of a subject is under way at a time. Its sequence is noted when the stream acknowledges it. Where it is not
//! known, after connecting for the first time or after an answer that was lost, the stream is asked for the subject's last message first.
//! An event whose answer was lost can only be that one, so its id is noted: when its turn comes, before or after events of other keys,
//! it has arrived and is not published again, however long ago the answer was lost. A stream's window of duplicates is not needed for
//! that. What a connection that was given up still gets rid of names an old sequence and is refused. When somebody else publishes to
//! the subject in between, the stream refuses, and the sink looks again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use onewrite_core::error::SinkError;

use super::api::{Last, Unanswered, last};
use super::link::Link;
use super::message::{MESSAGE_ID, Message};
use super::settings::Settings;
use super::sink::{Published, publish};
use crate::keyed::Fate;
use crate::limits::{NATS_GUARD_SEEN, NATS_GUARD_TRIES, NATS_GUARDED_SUBJECTS};

/// The header by which a message names the one before it.
const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";

/// What is known of subjects, over all connections of a connector.
#[derive(Default)]
pub(super) struct Guard {
    subjects: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Subject>>>>,
}

#[derive(Default)]
struct Subject {
    /// The sequence of its last message; `None` where it is not known.
    last: Option<u64>,
    /// Ids that were found to be its last message's, the latest at the end: some may be of events that are not settled.
    seen: VecDeque<String>,
}

impl Guard {
    /// Publishes a message behind the last of its subject, unless the stream was seen to hold it.
    pub(super) async fn publish(&self, settings: &Settings, link: &Link, message: Message) -> Fate {
        let subject = self.subject(&message.subject);
        let mut subject = subject.lock().await;
        let id = message.headers.get(MESSAGE_ID).map_or("", |id| id.as_str());
        let mut other = None;
        for _ in 0..NATS_GUARD_TRIES {
            // Whatever happens to this future, what is under way makes it unknown.
            let expected = match subject.last.take() {
                Some(sequence) => sequence,
                None => match look(settings, link, &message.subject).await {
                    Ok(found) => {
                        subject.note(&found);
                        found.sequence
                    }
                    Err(fate) => return fate,
                },
            };
            if !message.replayed && subject.forget(id) {
                subject.last = Some(expected);
                return Fate::Delivered;
            }
            let mut guarded = message.clone();
            guarded.headers.insert(EXPECTED, expected.to_string().as_str());
            match publish(settings, link, guarded).await {
                Published::Kept(sequence) => {
                    subject.last = Some(sequence);
                    subject.forget(id);
                    return Fate::Delivered;
                }
                Published::OtherLast(error) => other = Some(error),
                Published::Not(fate) => return fate,
            }
        }
        Fate::Refused(other.unwrap_or_else(|| SinkError::retry("the subject's last message could not be told")))
    }

    /// What is known of a subject, to be locked while a message of it is under way.
    fn subject(&self, subject: &str) -> Arc<tokio::sync::Mutex<Subject>> {
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
}

impl Subject {
    /// Whether the id was seen. It is not remembered for longer than its event is unsettled: who publishes it again means it.
    fn forget(&mut self, id: &str) -> bool {
        let place = self.seen.iter().position(|seen| seen == id);
        place.is_some_and(|place| self.seen.remove(place).is_some())
    }

    fn note(&mut self, found: &Last) {
        let lines = found.headers.split(|byte| *byte == b'\n');
        let mut ids = lines.filter_map(|line| line.strip_prefix(MESSAGE_ID.as_bytes())?.strip_prefix(b":"));
        let Some(id) = ids.next().and_then(|id| std::str::from_utf8(id).ok()) else {
            return;
        };
        let id = id.trim();
        if !self.seen.iter().any(|seen| seen == id) {
            self.seen.push_back(id.to_owned());
        }
        if self.seen.len() > NATS_GUARD_SEEN {
            self.seen.pop_front();
        }
    }
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
