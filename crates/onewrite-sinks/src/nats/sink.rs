//! Delivery to streams.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use onewrite_core::error::{Action, SinkError};
use onewrite_core::{DeliveryReport, Event, Sink};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::answer::{self, Answer};
use super::api::{self, Listener};
use super::guard::Guard;
use super::known::Known;
use super::link::{Link, NoAnswer};
use super::message::Message;
use super::settings::Settings;
use crate::keyed::{self, Fate, StartWindow};
use crate::limits::NATS_GREETING_TIMEOUT;

pub(super) struct NatsSink {
    settings: Arc<Settings>,
    link: Link,
    guard: Option<Arc<Guard>>,
    known: Arc<Known>,
    /// One for each message that may be under way, over all deliveries.
    permits: Semaphore,
}

/// How a publish ended.
pub(super) enum Published {
    /// A stream keeps the message, under this sequence.
    Kept(u64),
    /// Another message than expected is the subject's last.
    OtherLast(SinkError),
    /// It was not kept, or nobody knows.
    Not(Fate),
}

impl NatsSink {
    pub(super) fn new(settings: Arc<Settings>, guard: Option<Arc<Guard>>, known: Arc<Known>, link: Link) -> Self {
        Self {
            guard,
            known,
            permits: Semaphore::new(settings.window),
            settings,
            link,
        }
    }

    async fn send(&self, event: &Event, start: StartWindow) -> Fate {
        let message = match Message::new(&self.settings, event, self.link.max_payload()) {
            Ok(message) => message,
            Err(poison) => return Fate::Refused(poison),
        };
        let sent = match &self.guard {
            Some(guard) => self.send_behind_the_last(guard, message, start).await,
            None => self.send_at_once(message, start).await,
        };
        sent.unwrap_or_else(Fate::Lost)
    }

    async fn send_at_once(&self, message: Message, start: StartWindow) -> Result<Fate, SinkError> {
        let _permit = self.permit(start).await?;
        Ok(match publish(&self.settings, &self.link, &self.known, message).await {
            Published::Kept(_) => Fate::Delivered,
            Published::OtherLast(error) => Fate::Refused(error),
            Published::Not(fate) => fate,
        })
    }

    async fn send_behind_the_last(
        &self,
        guard: &Guard,
        message: Message,
        start: StartWindow,
    ) -> Result<Fate, SinkError> {
        let subject = guard.subject(&message.subject);
        let mut subject = start.wait(subject.lock()).await?;
        // After the subject's turn: who waits for that must not keep other subjects from being sent to.
        let _permit = self.permit(start).await?;
        guard
            .publish(&self.settings, &self.link, &self.known, &mut subject, message, start)
            .await
    }

    async fn permit(&self, start: StartWindow) -> Result<SemaphorePermit<'_>, SinkError> {
        let permit = start.wait(self.permits.acquire()).await?;
        permit.map_err(|_| SinkError::reconnect("the sink was closed"))
    }
}

/// Publishes a message and waits for the stream's word.
pub(super) async fn publish(settings: &Settings, link: &Link, known: &Known, message: Message) -> Published {
    let Message {
        event: _,
        subject,
        headers,
        payload,
        bytes,
        replayed: _,
    } = message;
    let asked = link
        .request(&subject, Some(headers), payload, settings.ack_timeout)
        .await;
    let no_answer = match asked {
        Ok(answer) => {
            return match answer::read(&subject, &answer) {
                Answer::Kept(sequence) => {
                    known.note(&subject);
                    Published::Kept(sequence)
                }
                Answer::OtherLast(error) => Published::OtherLast(error),
                Answer::Refused(error) => Published::Not(Fate::Refused(error)),
            };
        }
        Err(no_answer) => no_answer,
    };
    Published::Not(match no_answer {
        NoAnswer::Denied(words) => Fate::Refused(SinkError::park(format!(
            "{words}; let the relay's user publish to this subject"
        ))),
        NoAnswer::TooLarge(words) => Fate::Refused(SinkError::park(format!(
            "the message has {bytes} bytes with its headers: {words}"
        ))),
        NoAnswer::NoResponders => match api::listener(settings, link, &subject).await {
            Ok(found) => Fate::Refused(no_stream(settings, known.contains(&subject), &subject, found)),
            Err(ended) => Fate::Lost(ended),
        },
        NoAnswer::Silent => {
            let words = format!(
                "{} did not acknowledge a message to subject {subject} within {:?}; whether a stream keeps it is unknown",
                link.server(),
                settings.ack_timeout
            );
            // Others that wait for their turn need not each find out.
            link.send_no_more(&words);
            Fate::Lost(SinkError::reconnect(words))
        }
        NoAnswer::Ended(error) => Fate::Lost(error),
    })
}

/// What it means that nobody listens to a subject. Where the account maps it to another, or imports it, no stream has it among its own, also
/// while there is one that takes it and has no leader.
fn no_stream(settings: &Settings, known: bool, subject: &str, found: Listener) -> SinkError {
    match found {
        Listener::None if known => SinkError::retry(format!(
            "nobody listens to subject {subject} at present, of which a stream has taken messages before"
        )),
        Listener::None if settings.stream.is_some() => SinkError::retry(format!(
            "nobody listens to subject {subject}, and no stream has it among its own; create stream {} with it, or correct the topic, unless \
             it is mapped or imported",
            settings.stream.as_deref().unwrap_or_default()
        )),
        Listener::None => SinkError::park(format!(
            "no stream listens to subject {subject}; create a stream with this subject, or correct the topic"
        )),
        Listener::Stream(stream) => SinkError::retry(format!(
            "stream {stream} takes subject {subject} but has no leader at present"
        )),
        Listener::Unknown(why) => SinkError::retry(format!(
            "nobody listens to subject {subject}, and whether a stream should cannot be told: {why}"
        )),
    }
}

#[async_trait]
impl Sink for NatsSink {
    async fn deliver(&self, batch: &[Event], report: &mut DeliveryReport) -> Result<(), SinkError> {
        let start = StartWindow::begin();
        keyed::deliver(batch, self.settings.window, report, |event| self.send(event, start)).await
    }

    async fn close(&self) -> Result<(), SinkError> {
        let all = u32::try_from(self.settings.window).unwrap_or(u32::MAX);
        // Holding all permits means that no message is under way. Closed already: nothing is, either.
        if let Ok(_all) = self.permits.acquire_many(all).await {
            self.permits.close();
        }
        self.link.end().await;
        Ok(())
    }
}

/// Makes sure that JetStream answers, with the rights that the user has.
///
/// # Errors
/// To connect anew, or to halt where a person must act.
pub(super) async fn greet(settings: &Settings, link: &Link) -> Result<(), SinkError> {
    let subject = format!("{}.INFO", settings.api);
    let server = link.server();
    let limit = settings.ack_timeout.min(NATS_GREETING_TIMEOUT);
    match link.request(&subject, None, Bytes::new(), limit).await {
        Ok(answer) => match api::error(&answer) {
            Some(error) if error.err_code == answer::NOT_FOR_ACCOUNT => Err(SinkError::halt(format!(
                "{server}: {}; enable JetStream for the account of the relay's user",
                error.words()
            ))),
            Some(error) => Err(SinkError::new(
                Action::Reconnect,
                format!("JetStream behind {server} is not ready: {}", error.words()),
            )),
            None => Ok(()),
        },
        // A user that may only publish events may not ask; the first event will show the rest.
        Err(NoAnswer::Denied(_)) => Ok(()),
        Err(NoAnswer::Ended(error)) => Err(error),
        Err(NoAnswer::NoResponders) => Err(SinkError::reconnect(format!(
            "no JetStream answers behind {server} on {subject}; enable it on the server, or correct domain or api_prefix"
        ))),
        Err(NoAnswer::Silent) => Err(SinkError::reconnect(format!(
            "JetStream behind {server} did not answer within {limit:?}"
        ))),
        Err(NoAnswer::TooLarge(words)) => Err(SinkError::reconnect(words)),
    }
}
