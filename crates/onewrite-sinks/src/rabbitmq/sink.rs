//! Delivery: keys one after another, messages of different keys side by side on one channel.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use onewrite_core::error::{Action, SinkError};
use onewrite_core::{DeliveryReport, Event, Sink};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::amqp::{Channel, Close, Connection, Failure, Message, Verdict};
use super::destinations::{Alone, Asked, Destination, Destinations, Known, STREAM};
use super::judge::{self, CONNECTION_FORCED};
use super::message::message;
use super::patience::{self, Blocked};
use super::settings::{Declare, Settings};
use crate::keyed::{self, Fate};
use crate::limits::{
    AMQP_CLOSE_TIMEOUT, RABBITMQ_BLOCKED_WAIT, RABBITMQ_CONFIRM_TIMEOUT, RABBITMQ_SILENCE, RABBITMQ_SUSPECTS_MAX,
};
use crate::room::Room;

/// Events that were on their way when the broker closed a channel over one of them. Each goes alone the next time, so that only
/// the one that is refused alone is blamed. Outlives the connection, which such a close ends.
#[derive(Default)]
pub(super) struct Suspects(Mutex<HashSet<Uuid>>);

impl Suspects {
    fn add(&self, events: Vec<Uuid>) {
        let mut suspects = self.lock();
        if suspects.len() + events.len() > RABBITMQ_SUSPECTS_MAX {
            suspects.clear();
        }
        suspects.extend(events);
    }

    fn holds(&self, event: Uuid) -> bool {
        self.lock().contains(&event)
    }

    fn clear(&self, event: Uuid) {
        self.lock().remove(&event);
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Uuid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct RabbitSink {
    settings: Arc<Settings>,
    suspects: Arc<Suspects>,
    connection: Connection,
    /// Where messages go one behind another without waiting.
    stream: Channel,
    /// Where one goes at a time: a suspect, or the first for its destination.
    alone: tokio::sync::Mutex<Alone>,
    destinations: Destinations,
    /// The largest message that the broker takes, once it has said so.
    size_limit: AtomicUsize,
    blocked: Blocked,
    /// How often the broker has said what became of a message.
    heard: AtomicU64,
    /// For messages that are unconfirmed.
    room: Room,
}

impl RabbitSink {
    pub(super) async fn new(
        settings: Arc<Settings>,
        suspects: Arc<Suspects>,
        connection: Connection,
    ) -> Result<Self, Failure> {
        Ok(Self {
            stream: connection.channel(STREAM).await?,
            alone: tokio::sync::Mutex::new(Alone::default()),
            destinations: Destinations::default(),
            size_limit: AtomicUsize::new(usize::MAX),
            blocked: connection.blocked(),
            heard: AtomicU64::new(0),
            room: Room::new(settings.window, "RabbitMQ", ""),
            settings,
            suspects,
            connection,
        })
    }

    /// Sends one event, once there is room and unless it is too late to begin by then.
    async fn send(&self, event: &Event, begun: Instant) -> Fate {
        let _permit = match self.room.enter(begun).await {
            Ok(permit) => permit,
            Err(error) => return Fate::Lost(error),
        };
        self.unblocked().await;
        if let Err(error) = self.room.in_time(begun) {
            return Fate::Lost(error);
        }
        let message = match message(&self.settings, event).and_then(|message| self.fits(message)) {
            Ok(message) => message,
            Err(error) => return Fate::Refused(error),
        };
        let destination = Destination::of(&self.settings, &message);
        if self.suspects.holds(event.id) {
            return self.send_alone(message, destination, begun).await;
        }
        match self.destinations.look(&destination) {
            Known::Open => self.send_among_others(message, &destination).await,
            Known::Refused(error) => refused(error),
            Known::Unknown => self.send_alone(message, destination, begun).await,
        }
    }

    async fn send_among_others(&self, message: Message, destination: &Destination) -> Fate {
        let verdict = match self.stream.publish(message) {
            Ok(verdict) => self.word(verdict).await,
            Err(error) => return Fate::Refused(SinkError::park(error.to_string())),
        };
        match verdict {
            Verdict::Unknown(failure) => self.lost_with_others(&failure),
            verdict => self.settled(verdict, destination),
        }
    }

    /// The same where what goes wrong can only be this event's doing, or that of its destination, which is looked at before.
    async fn send_alone(&self, message: Message, destination: Destination, begun: Instant) -> Fate {
        let mut alone = self.alone.lock().await;
        if let Err(error) = self.room.in_time(begun) {
            return Fate::Lost(error);
        }
        let known = self.destinations.look(&destination);
        if matches!(known, Known::Open) && !self.suspects.holds(message.event) {
            // Another event has opened it meanwhile.
            drop(alone);
            return self.send_among_others(message, &destination).await;
        }
        if let Known::Refused(error) = known {
            return refused(error);
        }
        if !alone.begin() {
            return Fate::Lost(SinkError::reconnect(
                "a delivery was given up while one of its messages went alone to RabbitMQ, and nobody knows what became of it",
            ));
        }
        let fate = self.send_on(&mut alone, message, destination).await;
        alone.end();
        fate
    }

    async fn send_on(&self, alone: &mut Alone, message: Message, destination: Destination) -> Fate {
        let event = message.event;
        if let Err(failure) = alone.refresh(&self.connection).await {
            return Fate::Lost(judge::connection(&failure));
        }
        if matches!(self.destinations.look(&destination), Known::Unknown)
            && let Err((asked, failure)) = alone.prepare(&self.connection, &self.settings, &destination).await
        {
            return self.unprepared(asked, &failure, destination);
        }
        let channel = match alone.channel(&self.connection).await {
            Ok(channel) => channel,
            Err(failure) => return Fate::Lost(judge::connection(&failure)),
        };
        let verdict = match channel.publish(message) {
            Ok(verdict) => self.word(verdict).await,
            Err(error) => return Fate::Refused(SinkError::park(error.to_string())),
        };
        match verdict {
            Verdict::Unknown(Failure::Channel(close)) => {
                alone.closed();
                self.suspects.clear(event);
                self.guilty(&close, destination)
            }
            Verdict::Unknown(failure) => self.lost_with_others(&failure),
            verdict => {
                self.suspects.clear(event);
                self.destinations.open(destination.clone());
                self.settled(verdict, &destination)
            }
        }
    }

    /// Waits for the broker's word on a message.
    async fn word(&self, verdict: oneshot::Receiver<Verdict>) -> Verdict {
        let dropped = |_| Verdict::Unknown(Failure::ended("the connection was dropped"));
        let verdict = verdict.await.unwrap_or_else(dropped);
        self.heard.fetch_add(1, Ordering::Relaxed);
        verdict
    }

    /// What the broker said of a message.
    fn settled(&self, verdict: Verdict, destination: &Destination) -> Fate {
        match verdict {
            Verdict::Kept => Fate::Delivered,
            Verdict::Returned { code, words } => {
                let words = format!("RabbitMQ returned the message: {code} {words}");
                if self.settings.declare == Declare::Queue {
                    // The queue was there a moment ago; it is made again.
                    self.destinations.forget(destination);
                    return Fate::Refused(SinkError::retry(format!("{words}; its queue was deleted")));
                }
                let words = format!("{words}, no queue is bound to take it");
                Fate::Refused(judge::unroutable(&self.settings, words))
            }
            Verdict::Refused => Fate::Refused(SinkError::retry(
                "RabbitMQ refused the message (basic.nack): a queue is full and set to reject-publish, or could not keep it",
            )),
            Verdict::Unknown(failure) => self.lost_with_others(&failure),
        }
    }

    /// A message that was on its way when the channel or the connection ended.
    fn lost_with_others(&self, failure: &Failure) -> Fate {
        match failure {
            Failure::Channel(close) => {
                self.suspects.add(self.stream.take_orphans());
                let words = format!(
                    "RabbitMQ closed the channel over one of the messages on it: {close}; each of them goes alone the next time"
                );
                Fate::Lost(SinkError::reconnect(words))
            }
            Failure::Connection(close) if close.code != CONNECTION_FORCED => {
                self.suspects.add(self.stream.take_orphans());
                Fate::Lost(judge::connection(failure))
            }
            _ => Fate::Lost(judge::connection(failure)),
        }
    }

    /// The channel was closed over this event alone.
    fn guilty(&self, close: &Close, destination: Destination) -> Fate {
        if let Some(limit) = judge::size_limit(close) {
            self.size_limit.store(limit, Ordering::Relaxed);
        }
        let error = judge::refused(&self.settings, close);
        if matches!(close.code, judge::ACCESS_REFUSED | judge::NOT_FOUND) && !judge::is_of_topic(close) {
            // The next for this exchange would fare no better.
            self.destinations.refused(destination, &error);
        }
        refused(error)
    }

    fn unprepared(&self, asked: Asked, failure: &Failure, destination: Destination) -> Fate {
        match failure {
            Failure::Channel(close) => {
                let error = judge::undeclared(&self.settings, asked, close);
                self.destinations.refused(destination, &error);
                refused(error)
            }
            other => Fate::Lost(judge::connection(other)),
        }
    }

    fn fits(&self, message: Message) -> Result<Message, SinkError> {
        let (size, limit) = (message.body.len(), self.size_limit.load(Ordering::Relaxed));
        if size > limit {
            let words =
                format!("the payload has {size} bytes, and RabbitMQ takes {limit} (its setting max_message_size)");
            return Err(SinkError::park(words));
        }
        Ok(message)
    }

    /// Waits until the broker takes messages again.
    async fn unblocked(&self) {
        if self.blocked.borrow().is_some() {
            // A connection that ends blocks nobody: the message then learns what became of it.
            let _ = self.blocked.clone().wait_for(Option::is_none).await;
        }
    }
}

#[async_trait]
impl Sink for RabbitSink {
    async fn deliver(&self, batch: &[Event], report: &mut DeliveryReport) -> Result<(), SinkError> {
        let begun = Instant::now();
        let delivery = keyed::deliver(batch, self.room.size(), report, |event| self.send(event, begun));
        tokio::select! {
            biased;
            result = timeout(RABBITMQ_CONFIRM_TIMEOUT, delivery) => result.unwrap_or_else(|_| {
                Err(SinkError::reconnect(format!(
                    "RabbitMQ did not confirm all messages within {RABBITMQ_CONFIRM_TIMEOUT:?}; some of its queues may be unavailable"
                )))
            }),
            () = patience::silent(&self.heard, self.blocked.clone(), RABBITMQ_SILENCE) => Err(SinkError::reconnect(format!(
                "RabbitMQ confirmed no message within {RABBITMQ_SILENCE:?}; \
                 a quorum queue without a majority of its members confirms nothing"
            ))),
            reason = patience::blocked(self.blocked.clone(), RABBITMQ_BLOCKED_WAIT) => Err(SinkError::retry(format!(
                "RabbitMQ blocks publishers ({reason}); it takes messages again when it has memory and disk space"
            ))),
        }
    }

    async fn close(&self) -> Result<(), SinkError> {
        self.room.close(AMQP_CLOSE_TIMEOUT).await;
        self.connection.close().await;
        Ok(())
    }
}

/// What concerns one event is noted at it; what stops all of them ends the delivery.
fn refused(error: SinkError) -> Fate {
    match error.action {
        Action::Halt => Fate::Lost(error),
        _ => Fate::Refused(error),
    }
}
