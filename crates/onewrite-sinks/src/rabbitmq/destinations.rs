//! What a connection knows of exchanges and queues, and how it asks for them or makes them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use amq_protocol::protocol::{AMQPClass, exchange, queue};
use amq_protocol::types::{AMQPValue, FieldTable, LongString};
use onewrite_core::error::{Action, SinkError};
use tokio::time::Instant;

use super::amqp::{Channel, Connection, Failure, Message};
use super::judge::NOT_FOUND;
use super::settings::{Declare, Settings};
use crate::limits::{RABBITMQ_DESTINATIONS_MAX, RABBITMQ_LOOK_AGAIN};

/// Channels of a connection by their uses.
pub(super) const STREAM: u16 = 1;
pub(super) const ALONE: u16 = 2;

/// What an event needs to be there: its exchange, and its queue where the sink makes queues.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Destination {
    pub exchange: String,
    pub queue: Option<String>,
}

impl Destination {
    pub(super) fn of(settings: &Settings, message: &Message) -> Self {
        Self {
            exchange: message.exchange.clone(),
            queue: (settings.declare == Declare::Queue).then(|| message.routing_key.clone()),
        }
    }
}

/// What the broker was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// An exchange, or whether it is there.
    Exchange,
    /// A queue, or whether it is there.
    Queue,
    /// The queue to be bound to the exchange.
    Binding,
}

/// What is known of a destination.
pub(super) enum Known {
    /// The broker took a message for it.
    Open,
    /// It was looked at a moment ago and cannot be written to.
    Refused(SinkError),
    /// It has to be looked at.
    Unknown,
}

/// Destinations of one connection.
#[derive(Default)]
pub(super) struct Destinations(Mutex<HashMap<Destination, State>>);

enum State {
    Open,
    Refused {
        until: Instant,
        action: Action,
        words: String,
    },
}

impl Destinations {
    pub(super) fn look(&self, destination: &Destination) -> Known {
        match self.lock().get(destination) {
            Some(State::Open) => Known::Open,
            Some(State::Refused { until, action, words }) if Instant::now() < *until => {
                Known::Refused(SinkError::new(*action, words.clone()))
            }
            Some(State::Refused { .. }) | None => Known::Unknown,
        }
    }

    pub(super) fn open(&self, destination: Destination) {
        self.note(destination, State::Open);
    }

    pub(super) fn refused(&self, destination: Destination, error: &SinkError) {
        let state = State::Refused {
            until: Instant::now() + RABBITMQ_LOOK_AGAIN,
            action: error.action,
            words: error.context.to_string(),
        };
        self.note(destination, state);
    }

    pub(super) fn forget(&self, destination: &Destination) {
        self.lock().remove(destination);
    }

    fn note(&self, destination: Destination, state: State) {
        let mut known = self.lock();
        if known.len() >= RABBITMQ_DESTINATIONS_MAX {
            known.clear();
        }
        known.insert(destination, state);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Destination, State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A channel for what may be refused: a refusal closes it, and the next use opens it anew.
#[derive(Default)]
pub(super) struct Alone {
    /// It is opened by its first use.
    channel: Option<Channel>,
    /// Whether something is on its way on it.
    used: bool,
}

impl Alone {
    /// Begins to use it for one event; `false` where the use before did not come to its end. Its delivery was given up, and what the
    /// broker says next may be about that.
    pub(super) fn begin(&mut self) -> bool {
        !std::mem::replace(&mut self.used, true)
    }

    /// Sees to it that what the broker closes the channel for from now on is what is done from now on. It may have been closed since
    /// its last use, and the word of that be on its way.
    pub(super) async fn refresh(&mut self, connection: &Connection) -> Result<(), Failure> {
        let Some(channel) = &self.channel else { return Ok(()) };
        match channel.confirm().await {
            Err(Failure::Channel(close)) => {
                tracing::warn!(%close, "RabbitMQ closed a channel on which nothing was under way; it is opened anew");
                self.channel = Some(connection.channel(ALONE).await?);
                Ok(())
            }
            confirmed => confirmed,
        }
    }

    /// Everything that was asked has been answered.
    pub(super) fn end(&mut self) {
        self.used = false;
    }

    pub(super) async fn channel(&mut self, connection: &Connection) -> Result<&Channel, Failure> {
        if self.channel.is_none() {
            self.channel = Some(connection.channel(ALONE).await?);
        }
        Ok(self.channel.as_ref().expect("it was opened just now"))
    }

    /// The broker closed it.
    pub(super) fn closed(&mut self) {
        self.channel = None;
    }

    pub(super) async fn ask(&mut self, connection: &Connection, question: AMQPClass) -> Result<AMQPClass, Failure> {
        let answer = self.channel(connection).await?.call(question).await;
        if answer.is_err() {
            self.closed();
        }
        answer
    }

    /// Sees to it that what an event needs is there, as far as it is the sink's to make it.
    pub(super) async fn prepare(
        &mut self,
        connection: &Connection,
        settings: &Settings,
        destination: &Destination,
    ) -> Result<(), (Asked, Failure)> {
        let name = &destination.exchange;
        if !name.is_empty() {
            let making = (settings.declare != Declare::Nothing).then(|| make_exchange(name, &settings.exchange_type));
            let made = self.look_or_make(connection, exchange_is_there(name), making).await;
            made.map_err(|failure| (Asked::Exchange, failure))?;
        }
        let Some(queue) = &destination.queue else { return Ok(()) };
        let making = Some(make_queue(queue, &settings.queue_type));
        let made = self.look_or_make(connection, queue_is_there(queue), making).await;
        made.map_err(|failure| (Asked::Queue, failure))?;
        if !name.is_empty() {
            let bound = self.ask(connection, bind(queue, name)).await;
            bound.map_err(|failure| (Asked::Binding, failure))?;
        }
        Ok(())
    }

    async fn look_or_make(
        &mut self,
        connection: &Connection,
        look: AMQPClass,
        make: Option<AMQPClass>,
    ) -> Result<AMQPClass, Failure> {
        let found = self.ask(connection, look).await;
        match make {
            Some(make) if is_missing(&found) => self.ask(connection, make).await,
            _ => found,
        }
    }
}

/// Whether what was asked for is not there.
pub(super) fn is_missing<T>(answer: &Result<T, Failure>) -> bool {
    matches!(answer, Err(Failure::Channel(close)) if close.code == NOT_FOUND)
}

/// Asks whether an exchange is there; RabbitMQ asks for no permission for it.
pub(super) fn exchange_is_there(name: &str) -> AMQPClass {
    declare_exchange(name, "", true)
}

/// Asks whether a queue is there.
pub(super) fn queue_is_there(name: &str) -> AMQPClass {
    declare_queue(name, true, FieldTable::default())
}

/// Asks for a durable classic queue without any argument: one that is there in any other way is refused, with the difference.
pub(super) fn plain_queue(name: &str) -> AMQPClass {
    declare_queue(name, false, FieldTable::default())
}

fn make_exchange(name: &str, kind: &str) -> AMQPClass {
    declare_exchange(name, kind, false)
}

fn make_queue(name: &str, kind: &str) -> AMQPClass {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString(LongString::from(kind)));
    declare_queue(name, false, arguments)
}

fn declare_exchange(name: &str, kind: &str, passive: bool) -> AMQPClass {
    AMQPClass::Exchange(exchange::AMQPMethod::Declare(exchange::Declare {
        exchange: name.into(),
        kind: kind.into(),
        passive,
        durable: true,
        auto_delete: false,
        internal: false,
        nowait: false,
        arguments: FieldTable::default(),
    }))
}

fn declare_queue(name: &str, passive: bool, arguments: FieldTable) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare {
        queue: name.into(),
        passive,
        durable: true,
        exclusive: false,
        auto_delete: false,
        nowait: false,
        arguments,
    }))
}

fn bind(queue: &str, exchange: &str) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Bind(queue::Bind {
        queue: queue.into(),
        exchange: exchange.into(),
        routing_key: queue.into(),
        nowait: false,
        arguments: FieldTable::default(),
    }))
}
