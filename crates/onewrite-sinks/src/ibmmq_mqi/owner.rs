//! The thread to which a connection belongs: it takes one delivery after another and settles each before the next.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use onewrite_core::Event;
use onewrite_core::error::{Action, SinkError};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::connection::Connection;
use super::library::Library;
use super::message::Message;
use super::reason::{Failure, Refusal};
use super::settings::MqiSettings;
use crate::limits::{FAILURES_IN_A_ROW, HTTP_CONNECT_TIMEOUT, IBMMQ_UNIT_MESSAGES, START_WINDOW};

/// Work for the thread.
pub(super) enum Job {
    Deliver {
        events: Vec<Event>,
        /// When it was asked for; it may have waited for others since.
        begun: Instant,
        /// Closed by who has given up.
        tell: UnboundedSender<Told>,
    },
    Close(oneshot::Sender<()>),
}

/// What becomes of a delivery.
pub(super) enum Told {
    /// The event at this place of the batch was committed, or refused.
    One(usize, Result<(), SinkError>),
    /// Nothing more comes.
    End(Result<(), SinkError>),
}

/// How to reach a thread.
pub(super) struct Owner {
    pub jobs: Sender<Job>,
    /// Grows with every call that has returned.
    pub progress: Arc<AtomicU64>,
}

/// Connects to the server at this place of the list, in a thread of its own, which ends with its connection, or when nobody can
/// give it work any more. `connecting` is set while a thread for this server is inside the library's call to connect, from which
/// nobody can bring it back: a second one would only wait there as well.
pub(super) async fn start(
    library: Arc<Library>,
    settings: Arc<MqiSettings>,
    server: usize,
    connecting: &Arc<AtomicBool>,
) -> Result<Owner, SinkError> {
    let name = settings.servers[server].connection_name.clone();
    if connecting.swap(true, Ordering::AcqRel) {
        let words = format!("the last try to connect to {name} has not come back from IBM's library");
        return Err(SinkError::reconnect(words));
    }
    let returned = Arc::clone(connecting);
    let (jobs, waiting) = channel();
    let (connected, outcome) = oneshot::channel();
    let progress = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&progress);
    let run = move || {
        let address = &settings.servers[server];
        let opened = Connection::open(library, Arc::clone(&settings), address);
        returned.store(false, Ordering::Release);
        match opened {
            Err(failure) => drop(connected.send(Err(failure.connecting(&address.connection_name)))),
            Ok(connection) => {
                if connected.send(Ok(())).is_ok() {
                    work(connection, &settings, server, &waiting, &counted);
                }
            }
        }
    };
    thread::Builder::new()
        .name("ibmmq".to_owned())
        .spawn(run)
        .map_err(|error| SinkError::reconnect("cannot start a thread for IBM MQ").because(error))?;
    match timeout(HTTP_CONNECT_TIMEOUT, outcome).await {
        Ok(outcome) => {
            outcome
                .unwrap_or_else(|_| Err(SinkError::reconnect("the thread of the connection to IBM MQ has ended")))?;
        }
        Err(_) => {
            let words = format!("{name} did not answer within {HTTP_CONNECT_TIMEOUT:?}");
            return Err(SinkError::reconnect(words));
        }
    }
    Ok(Owner { jobs, progress })
}

/// Serves until the connection is of no further use.
fn work(
    mut connection: Connection,
    settings: &MqiSettings,
    server: usize,
    waiting: &Receiver<Job>,
    progress: &AtomicU64,
) {
    while let Ok(job) = waiting.recv() {
        match job {
            Job::Close(done) => {
                drop(connection);
                let _ = done.send(());
                return;
            }
            Job::Deliver { tell, .. } if tell.is_closed() => {}
            Job::Deliver { events, begun, tell } => {
                let mut delivery = Delivery {
                    connection: &mut connection,
                    settings,
                    server: &settings.servers[server].connection_name,
                    tell: &tell,
                    progress,
                    unit: Vec::new(),
                };
                let mut result = delivery.run(&events, begun);
                // What a failure left in the unit of work must not travel with the next delivery's.
                if let Err(failure) = connection.back_out() {
                    let address = &settings.servers[server].connection_name;
                    result = Err(failure.backing_out(address));
                }
                let over = matches!(&result, Err(error) if error.action == Action::Reconnect);
                let _ = tell.send(Told::End(result));
                if over {
                    return;
                }
            }
        }
    }
}

struct Delivery<'a> {
    connection: &'a mut Connection,
    settings: &'a MqiSettings,
    server: &'a str,
    tell: &'a UnboundedSender<Told>,
    progress: &'a AtomicU64,
    /// The places of the events that were put and not committed.
    unit: Vec<usize>,
}

impl Delivery<'_> {
    fn run(&mut self, events: &[Event], begun: Instant) -> Result<(), SinkError> {
        let mut stopped = HashSet::new();
        let mut in_a_row = 0;
        for (place, event) in events.iter().enumerate() {
            if event.key.as_deref().is_some_and(|key| stopped.contains(key)) {
                continue;
            }
            if self.unit.len() >= IBMMQ_UNIT_MESSAGES {
                self.commit()?;
            }
            if begun.elapsed() >= START_WINDOW {
                self.commit()?;
                return Err(SinkError::retry(format!(
                    "{} is too slow for the whole delivery: after {START_WINDOW:?} the rest was left for the next",
                    self.server
                )));
            }
            let Err(error) = self.put(place, event)? else {
                in_a_row = 0;
                continue;
            };
            stopped.extend(event.key.as_deref());
            in_a_row = if error.action == Action::Park { 0 } else { in_a_row + 1 };
            let _ = self.tell.send(Told::One(place, Err(error)));
            if in_a_row >= FAILURES_IN_A_ROW {
                // The queue manager is in trouble, and the rest of the batch would only add to it.
                break;
            }
        }
        self.commit()
    }

    /// Puts one event. The outer error is about everything, the inner one about this event.
    fn put(&mut self, place: usize, event: &Event) -> Result<Result<(), SinkError>, SinkError> {
        if self.tell.is_closed() {
            return Err(SinkError::retry("the delivery was given up"));
        }
        let message = match Message::of(self.settings, event) {
            Ok(message) => message,
            Err(error) => return Ok(Err(error)),
        };
        let mut result = self.put_once(&message);
        if matches!(
            result,
            Err(Failure {
                reason: Failure::UNIT_IS_FULL,
                ..
            })
        ) && !self.unit.is_empty()
        {
            self.commit()?;
            result = self.put_once(&message);
        }
        match result.map_err(|failure| failure.putting(self.server)) {
            Ok(()) => {
                self.unit.push(place);
                Ok(Ok(()))
            }
            Err(Refusal::One(error)) => Ok(Err(error)),
            Err(Refusal::All(error)) => Err(error),
        }
    }

    fn put_once(&mut self, message: &Message) -> Result<(), Failure> {
        let result = self.connection.put(message);
        self.progress.fetch_add(1, Ordering::Relaxed);
        result
    }

    /// Commits what was put, unless nobody waits for it any more.
    fn commit(&mut self) -> Result<(), SinkError> {
        if self.unit.is_empty() {
            return Ok(());
        }
        if self.tell.is_closed() {
            return Err(SinkError::retry("the delivery was given up"));
        }
        let result = self.connection.commit();
        self.progress.fetch_add(1, Ordering::Relaxed);
        result.map_err(|failure| failure.committing(self.server))?;
        for place in self.unit.drain(..) {
            let _ = self.tell.send(Told::One(place, Ok(())));
        }
        Ok(())
    }
}
