//! What the tasks of a connection and its channels share, and what a frame changes in it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::{AMQPClass, basic, channel, connection};
use tokio::sync::{Notify, oneshot, watch};
use uuid::Uuid;

use super::confirms::{Confirms, Senseless, Verdict};
use super::failure::{Close, Failure};
use super::frames::put_method;
use super::handshake::Agreed;

/// What the tasks and the channels share.
pub struct Shared {
    state: Mutex<State>,
    /// Wakes the writer.
    pub to_write: Notify,
    /// Why publishers are blocked, while they are.
    pub blocked: watch::Sender<Option<String>>,
    /// Whether the connection has ended.
    pub ended: watch::Sender<bool>,
    /// The broker's URL for people.
    pub shown: String,
}

/// The state of a connection.
#[derive(Default)]
pub struct State {
    /// What the writer has not taken yet.
    pub out: Vec<u8>,
    /// Most bytes of a frame.
    pub frame_max: usize,
    /// The channels by their numbers.
    pub channels: BTreeMap<u16, ChannelState>,
    /// Why the connection has ended.
    pub failure: Option<Failure>,
}

/// The state of a channel.
#[derive(Default)]
pub struct ChannelState {
    /// Those who asked, in their order.
    pub waiting: VecDeque<oneshot::Sender<Result<AMQPClass, Failure>>>,
    /// What was published.
    pub confirms: Confirms,
    /// Events that were on their way when the channel was closed.
    pub orphans: Vec<Uuid>,
    returning: Option<Returning>,
    closed: Option<Failure>,
}

impl State {
    /// A channel; one that was not there is open and empty.
    pub fn channel(&mut self, number: u16) -> &mut ChannelState {
        self.channels.entry(number).or_default()
    }

    /// Why nothing more can be done on a channel, if so.
    pub fn alive(&self, number: u16) -> Result<(), Failure> {
        let closed = self.channels.get(&number).and_then(|channel| channel.closed.as_ref());
        let failure = self.failure.as_ref().or(closed);
        failure.map_or(Ok(()), |failure| Err(failure.clone()))
    }
}

impl ChannelState {
    fn fail(&mut self, failure: &Failure) {
        self.closed.get_or_insert_with(|| failure.clone());
        for waiting in self.waiting.drain(..) {
            // Whoever asked may have gone.
            let _ = waiting.send(Err(failure.clone()));
        }
        self.orphans.extend(self.confirms.fail(failure));
    }
}

impl Shared {
    /// Of a connection on which nothing has happened yet.
    pub fn new(agreed: &Agreed, shown: &str) -> Self {
        let state = State {
            frame_max: agreed.frame_max,
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            to_write: Notify::new(),
            blocked: watch::Sender::new(None),
            ended: watch::Sender::new(false),
            shown: shown.to_owned(),
        }
    }

    /// The state, for a moment.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends everything that waits, for this reason unless there was one before.
    pub fn fail(&self, failure: Failure) {
        {
            let mut state = self.state();
            let failure = state.failure.get_or_insert(failure).clone();
            for channel in state.channels.values_mut() {
                channel.fail(&failure);
            }
        }
        // Nothing waits for a broker that is gone to take messages again; whoever does learns what became of it.
        self.blocked.send_replace(None);
        self.ended.send_replace(true);
        self.to_write.notify_one();
    }

    /// Does what a frame asks for.
    ///
    /// # Errors
    /// Why the connection has ended with it.
    pub fn hear(&self, frame: AMQPFrame) -> Result<(), Failure> {
        let mut state = self.state();
        let heard = match frame {
            AMQPFrame::Heartbeat => Ok(()),
            AMQPFrame::Method(0, AMQPClass::Connection(method)) => return self.hear_connection(&mut state, method),
            AMQPFrame::Method(number, AMQPClass::Channel(method)) => {
                hear_channel(&mut state, number, method);
                self.to_write.notify_one();
                Ok(())
            }
            AMQPFrame::Method(number, AMQPClass::Basic(method)) => hear_basic(state.channel(number), method),
            AMQPFrame::Method(number, method) => {
                answer(state.channel(number), method);
                Ok(())
            }
            AMQPFrame::Header(number, header) => on_its_way_back(state.channel(number), |returning| {
                returning.size = header.body_size;
                returning.message_id = header.properties.message_id().as_ref().map(ToString::to_string);
            }),
            AMQPFrame::Body(number, part) => on_its_way_back(state.channel(number), |returning| {
                returning.received += part.len() as u64
            }),
            other => {
                return Err(Failure::ended(format!(
                    "{} sent {other}, which makes no sense",
                    self.shown
                )));
            }
        };
        heard.map_err(|senseless| Failure::ended(format!("{}: {senseless}", self.shown)))
    }

    fn hear_connection(&self, state: &mut State, method: connection::AMQPMethod) -> Result<(), Failure> {
        match method {
            connection::AMQPMethod::Blocked(blocked) => {
                self.blocked.send_replace(Some(blocked.reason.to_string()));
                Ok(())
            }
            connection::AMQPMethod::Unblocked(_) => {
                self.blocked.send_replace(None);
                Ok(())
            }
            connection::AMQPMethod::Close(close) => {
                let answer = connection::AMQPMethod::CloseOk(connection::CloseOk {});
                // Nothing else is read any more.
                state.out.clear();
                put_method(&mut state.out, 0, AMQPClass::Connection(answer));
                Err(Failure::Connection(Close {
                    code: close.reply_code,
                    words: close.reply_text.to_string(),
                }))
            }
            connection::AMQPMethod::CloseOk(_) => Err(Failure::ended("the connection was closed")),
            other => Err(Failure::ended(format!(
                "{} sent {other:?}, which makes no sense",
                self.shown
            ))),
        }
    }
}

/// A message on its way back.
struct Returning {
    verdict: Verdict,
    message_id: Option<String>,
    size: u64,
    received: u64,
}

fn hear_channel(state: &mut State, number: u16, method: channel::AMQPMethod) {
    match method {
        channel::AMQPMethod::Close(close) => {
            let answer = channel::AMQPMethod::CloseOk(channel::CloseOk {});
            put_method(&mut state.out, number, AMQPClass::Channel(answer));
            state.channel(number).fail(&Failure::Channel(Close {
                code: close.reply_code,
                words: close.reply_text.to_string(),
            }));
        }
        channel::AMQPMethod::Flow(flow) => {
            // RabbitMQ never asks for it; an answer is owed all the same.
            let answer = channel::AMQPMethod::FlowOk(channel::FlowOk { active: flow.active });
            put_method(&mut state.out, number, AMQPClass::Channel(answer));
        }
        other => answer(state.channel(number), AMQPClass::Channel(other)),
    }
}

fn hear_basic(channel: &mut ChannelState, method: basic::AMQPMethod) -> Result<(), Senseless> {
    match method {
        basic::AMQPMethod::Ack(ack) => channel.confirms.answered(ack.delivery_tag, ack.multiple, true),
        basic::AMQPMethod::Nack(nack) => channel.confirms.answered(nack.delivery_tag, nack.multiple, false),
        basic::AMQPMethod::Return(message) => {
            channel.returning = Some(Returning {
                verdict: Verdict::Returned {
                    code: message.reply_code,
                    words: message.reply_text.to_string(),
                },
                message_id: None,
                size: 0,
                received: 0,
            });
            Ok(())
        }
        _ => Err(Senseless),
    }
}

/// Adds a part to the message on its way back, and notes it when all of it is here.
fn on_its_way_back(channel: &mut ChannelState, add: impl FnOnce(&mut Returning)) -> Result<(), Senseless> {
    add(channel.returning.as_mut().ok_or(Senseless)?);
    let whole = channel
        .returning
        .take_if(|returning| returning.received >= returning.size);
    let Some(whole) = whole else { return Ok(()) };
    let event = whole.message_id.and_then(|id| id.parse().ok()).ok_or(Senseless)?;
    channel.confirms.returned(event, &whole.verdict)
}

fn answer(channel: &mut ChannelState, method: AMQPClass) {
    if let Some(waiting) = channel.waiting.pop_front() {
        // Whoever asked may have gone.
        let _ = waiting.send(Ok(method));
    }
}
