//! The reader of the log: from the slot's stream to events, one after the other, for as long as a route is there.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use onewrite_core::{Lease, Position, Sourced, StoreError, StoreFailure};
use onewrite_pgoutput::{LogicalMessage, Message, Tuple, decode};
use tokio::time::{Instant, timeout_at};

use super::super::super::connection::Connector;
use super::super::super::log::COPIED_BYTES;
use super::super::super::log::slot::{self, Health};
use super::super::super::log::stream::{Form, Frame, Stream};
use super::super::super::rows::Microseconds;
use super::super::super::session::Session;
use super::super::limits::GATHERING;
use super::super::routing::Found;
use super::super::settings::{Foreign, Place, Shape};
use super::hub::{ALONE, Hub, Interrupt};
use super::relation::{Relations, changed};
use super::setup::{self, Log};
use crate::foreign::debezium::Operation;

/// Reads until nobody is there any more, or the stream fails; then everybody is told.
pub(super) async fn read(connector: Connector, lease: Lease, foreign: Arc<Foreign>, hub: Arc<Hub>) {
    let tail = Tail {
        connector,
        lease,
        foreign,
        hub,
    };
    loop {
        match tail.follow().await {
            Ok(Interrupt::Nobody) if tail.hub.leave() => return,
            Ok(_) => {}
            Err(error) => return tail.hub.fail(&error),
        }
    }
}

struct Tail {
    connector: Connector,
    lease: Lease,
    foreign: Arc<Foreign>,
    hub: Arc<Hub>,
}

impl Tail {
    /// Follows the log until somebody comes who needs it from the slot on, or everybody has gone.
    async fn follow(&self) -> Result<Interrupt, StoreError> {
        self.gather().await;
        let session = Session::open(&self.connector, &self.lease).await?;
        session.fence().await?;
        let log = Log::of(session.client(), &self.foreign, &self.lease.relay).await?;
        match slot::free(session.client(), &log.slot).await? {
            Some(Health::Sound) => {}
            Some(Health::Lost(reason)) => return Err(setup::lost(&self.foreign, &self.lease, &log.slot, &reason)),
            None => return Err(setup::lost(&self.foreign, &self.lease, &log.slot, "it is not there")),
        }
        // Before the stream, so that the reader sees what is looked up now no later than the log does.
        let mut reading = Reading::new(self, &session);
        let stream = Stream::start(&self.connector, &log.slot, &log.publication, Form::Text).await?;
        self.hub.begin();
        reading.run(stream).await
    }

    /// Waits a moment for routes that are still opening.
    async fn gather(&self) {
        let deadline = Instant::now() + GATHERING;
        while !self.hub.is_complete() {
            let changed = self.hub.changed();
            if self.hub.is_complete() || timeout_at(deadline, changed).await.is_err() {
                return;
            }
        }
    }
}

/// What the messages of one stream are read with.
struct Reading<'a> {
    tail: &'a Tail,
    session: &'a Session,
    relations: Relations,
    /// The transaction that comes.
    transaction: Option<Transaction>,
}

struct Transaction {
    commit: u64,
    committed: Timestamp,
    /// Events so far.
    events: u64,
    /// Other changes since the last event.
    others: u64,
}

/// How many changes that are no inserts have places of their own between two that are.
const OTHERS_BITS: u32 = 20;

impl Transaction {
    /// The place of the next insert or message. Others do not count, so that it is the same whatever else is published.
    fn next(&mut self) -> Position {
        self.events += 1;
        self.others = 0;
        Position::new(self.commit, self.events << OTHERS_BITS)
    }

    /// The place of a change that is no insert.
    fn between(&mut self) -> Position {
        self.others = (self.others + 1).min((1 << OTHERS_BITS) - 1);
        Position::new(self.commit, self.events << OTHERS_BITS | self.others)
    }
}

impl<'a> Reading<'a> {
    fn new(tail: &'a Tail, session: &'a Session) -> Self {
        Self {
            tail,
            session,
            relations: Relations::default(),
            transaction: None,
        }
    }

    async fn run(&mut self, mut stream: Stream) -> Result<Interrupt, StoreError> {
        let hub = &self.tail.hub;
        loop {
            if let Some(interrupt) = hub.interrupt() {
                return Ok(interrupt);
            }
            let frames = tokio::select! {
                frames = stream.next() => frames?,
                () = hub.changed() => Vec::new(),
            };
            for frame in frames {
                let pushed = self.take(frame, &stream).await?;
                if let Some(interrupt) = pushed {
                    return Ok(interrupt);
                }
            }
            stream.confirm(hub.low());
        }
    }

    async fn take(&mut self, frame: Frame, stream: &Stream) -> Result<Option<Interrupt>, StoreError> {
        let data = match frame {
            Frame::Data(data) => data,
            Frame::Idle { log_end } => {
                if self.transaction.is_none() {
                    self.tail.hub.reached(log_end);
                }
                return Ok(None);
            }
        };
        let message = decode(data).map_err(|error| {
            StoreError::new(StoreFailure::Unavailable, "the log holds something unreadable").because(error)
        })?;
        let sourced = match message {
            Message::Begin {
                final_lsn,
                commit_time_micros,
                ..
            } => {
                self.transaction = Some(Transaction {
                    commit: final_lsn,
                    committed: Microseconds(commit_time_micros).timestamp(),
                    events: 0,
                    others: 0,
                });
                None
            }
            Message::Commit { end_lsn, .. } => {
                self.transaction = None;
                self.tail.hub.reached(end_lsn);
                None
            }
            Message::Relation(relation) => {
                let (client, foreign) = (self.session.client(), &*self.tail.foreign);
                self.relations
                    .take(client, foreign, &self.tail.lease.relay, &relation)
                    .await?;
                None
            }
            Message::Insert { relation, new } => self.change(Operation::Insert, relation, Some(&new)),
            Message::Update { relation, new, .. } => self.change(Operation::Update, relation, Some(&new)),
            Message::Delete { relation, .. } => self.change(Operation::Delete, relation, None),
            Message::LogicalMessage(message) => self.message(&message),
            _ => None,
        };
        match sourced {
            Some(sourced) => self.push(&sourced, stream).await,
            None => Ok(None),
        }
    }

    fn change(&mut self, operation: Operation, relation: u32, tuple: Option<&Tuple>) -> Option<Sourced> {
        let (reader, layout) = self.relations.get(relation)?;
        let transaction = self.transaction.as_mut()?;
        let position = match operation {
            Operation::Insert | Operation::Snapshot => transaction.next(),
            Operation::Update | Operation::Delete => transaction.between(),
        };
        let row = tuple.map(|tuple| changed(layout, tuple)).unwrap_or_default();
        sourced(
            position,
            reader.event(operation, &row, transaction.committed, &position.to_string()),
        )
    }

    /// A message of the prefixes that are asked for. One that is no part of a transaction stands for itself, and its place is where
    /// it ends.
    fn message(&mut self, message: &LogicalMessage) -> Option<Sourced> {
        let (Place::Messages(prefixes), Shape::Debezium(settings)) =
            (&self.tail.foreign.place, &self.tail.foreign.shape)
        else {
            return None;
        };
        if !prefixes.iter().any(|prefix| *prefix == message.prefix.as_str()) {
            return None;
        }
        let (position, committed) = match &mut self.transaction {
            Some(transaction) if message.transactional => (transaction.next(), transaction.committed),
            _ => (Position::new(message.lsn, ALONE), Timestamp::now()),
        };
        let content: &Bytes = &message.content;
        sourced(position, settings.message(content, committed, &position.to_string()))
    }

    /// Gives an event to whoever takes it, as soon as that has room; what is settled meanwhile is confirmed.
    async fn push(&self, sourced: &Sourced, stream: &Stream) -> Result<Option<Interrupt>, StoreError> {
        let hub = &self.tail.hub;
        loop {
            let changed = hub.changed();
            if hub.push(sourced) {
                break;
            }
            if let Some(interrupt) = hub.interrupt() {
                return Ok(Some(interrupt));
            }
            stream.confirm(hub.low());
            changed.await;
        }
        Ok(None)
    }
}

fn sourced(position: Position, found: Option<Found>) -> Option<Sourced> {
    found.map(|(mut event, defect)| {
        event.payload = own(event.payload);
        if let Some(record) = &mut event.verbatim {
            record.key = record.key.take().map(own);
            for (_, value) in &mut record.headers {
                *value = value.take().map(own);
            }
        }
        Sourced {
            position,
            event,
            defect,
        }
    })
}

/// What is small is copied out of the connection's buffer: an event that waits must not keep all of it alive.
fn own(bytes: Bytes) -> Bytes {
    match bytes.len() < COPIED_BYTES {
        true => Bytes::copy_from_slice(&bytes),
        false => bytes,
    }
}
