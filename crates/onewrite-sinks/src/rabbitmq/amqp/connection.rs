//! A connection and its channels: one task writes, one reads.

use std::sync::Arc;
use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, BasicProperties, basic, channel, confirm, connection};
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

use super::super::address::Address;
use super::confirms::Verdict;
use super::failure::Failure;
use super::frames::{Frames, put_body, put_header, put_heartbeat, put_method};
use super::handshake::{Login, Server, greet};
use super::shared::{ChannelState, Shared};
use crate::endpoint::Stream;
use crate::limits::{AMQP_CLOSE_TIMEOUT, AMQP_FRAME_BYTES_DEFAULT, AMQP_SILENCE_HEARTBEATS};
use crate::tls::TlsFiles;

/// An open connection. Dropping it closes the socket, without a word to the broker.
pub struct Connection {
    shared: Arc<Shared>,
    /// What the broker says it is.
    pub server: Server,
    tasks: [JoinHandle<()>; 2],
}

/// Connects to an address, and says nothing yet.
pub async fn reach(address: &Address, tls: &TlsFiles) -> Result<Box<dyn Stream>, Failure> {
    let connecting = |error| Failure::Connecting(Arc::new(error));
    let tls = match address.encrypted {
        true => Some(Arc::new(tls.client_aside().await.map_err(connecting)?)),
        false => None,
    };
    address.endpoint.open(tls).await.map_err(connecting)
}

impl Connection {
    /// Connects and opens the virtual host. `name` is what the broker shows of this connection.
    pub async fn open(
        address: &Address,
        login: &Login,
        tls: &TlsFiles,
        name: &str,
        heartbeat: Duration,
    ) -> Result<Self, Failure> {
        let mut stream = reach(address, tls).await?;
        let mut frames = Frames::new(AMQP_FRAME_BYTES_DEFAULT as usize);
        let agreed = greet(&mut stream, &mut frames, address, login, name, heartbeat).await?;
        let shared = Arc::new(Shared::new(&agreed, &address.shown));
        let (reading, writing) = tokio::io::split(stream);
        let reader = read(reading, frames, Arc::clone(&shared), agreed.heartbeat);
        let writer = write(writing, Arc::clone(&shared), agreed.heartbeat);
        Ok(Self {
            tasks: [tokio::spawn(reader), tokio::spawn(writer)],
            shared,
            server: agreed.server,
        })
    }

    /// Opens a channel of this number in confirm mode; one that the broker closed gives its number free.
    pub async fn channel(&self, number: u16) -> Result<Channel, Failure> {
        self.shared.state().channels.insert(number, ChannelState::default());
        let channel = Channel {
            number,
            shared: Arc::clone(&self.shared),
        };
        channel
            .call(AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})))
            .await?;
        channel.confirm().await?;
        Ok(channel)
    }

    /// Why the broker takes nothing more for the moment, while that is so: it is short of memory or disk.
    pub fn blocked(&self) -> watch::Receiver<Option<String>> {
        self.shared.blocked.subscribe()
    }

    /// Says good-bye, and waits a little for the answer. Calling it twice is harmless.
    pub async fn close(&self) {
        let close = connection::Close {
            reply_code: 200,
            reply_text: "closed by Onewrite".into(),
            class_id: 0,
            method_id: 0,
        };
        {
            let mut state = self.shared.state();
            if state.failure.is_some() {
                return;
            }
            put_method(
                &mut state.out,
                0,
                AMQPClass::Connection(connection::AMQPMethod::Close(close)),
            );
        }
        self.shared.to_write.notify_one();
        let mut ended = self.shared.ended.subscribe();
        // A broker that does not answer loses nothing by it: there is nothing under way.
        let _ = timeout(AMQP_CLOSE_TIMEOUT, ended.wait_for(|ended| *ended)).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// A message to publish.
pub struct Message {
    /// The event that it carries.
    pub event: Uuid,
    /// Where it goes.
    pub exchange: String,
    /// By which the exchange decides.
    pub routing_key: String,
    /// All properties but the message-id, which is the event's id.
    pub properties: BasicProperties,
    /// The body.
    pub body: Bytes,
}

/// A channel in confirm mode.
pub struct Channel {
    number: u16,
    shared: Arc<Shared>,
}

/// The header of a message is larger than a frame may be.
#[derive(Debug, thiserror::Error)]
#[error("its properties and headers take {found} bytes, and the broker's frames at most {allowed}")]
pub struct HeaderTooLarge {
    found: usize,
    allowed: usize,
}

impl Channel {
    /// Asks the broker something and waits for the answer. A refusal closes the channel.
    pub async fn call(&self, method: AMQPClass) -> Result<AMQPClass, Failure> {
        let (answer, receiver) = oneshot::channel();
        {
            let mut state = self.shared.state();
            state.alive(self.number)?;
            put_method(&mut state.out, self.number, method);
            state.channel(self.number).waiting.push_back(answer);
        }
        self.shared.to_write.notify_one();
        let gone = |_| Err(Failure::ended("the connection was dropped"));
        receiver.await.unwrap_or_else(gone)
    }

    /// Asks for confirms, which changes nothing where they were asked for before: then everything has been heard that the broker had
    /// said of the channel, such as that it closed it.
    pub async fn confirm(&self) -> Result<(), Failure> {
        let select = confirm::Select { nowait: false };
        let answer = self.call(AMQPClass::Confirm(confirm::AMQPMethod::Select(select)));
        answer.await.map(drop)
    }

    /// Publishes a message as mandatory, in the order of the calls. The broker's word comes later.
    pub fn publish(&self, message: Message) -> Result<oneshot::Receiver<Verdict>, HeaderTooLarge> {
        // By it a return, which names no number, is known to be this message's.
        let id = message.event.hyphenated().to_string();
        let properties = message.properties.with_message_id(id.into());
        let publish = basic::Publish {
            exchange: message.exchange.into(),
            routing_key: message.routing_key.into(),
            mandatory: true,
            immediate: false,
        };
        let receiver = {
            let mut state = self.shared.state();
            if let Err(failure) = state.alive(self.number) {
                let (sender, receiver) = oneshot::channel();
                // The receiver is at hand.
                let _ = sender.send(Verdict::Unknown(failure));
                return Ok(receiver);
            }
            let (before, frame_max) = (state.out.len(), state.frame_max);
            put_method(
                &mut state.out,
                self.number,
                AMQPClass::Basic(basic::AMQPMethod::Publish(publish)),
            );
            let header = put_header(&mut state.out, self.number, properties, message.body.len());
            if header > frame_max {
                state.out.truncate(before);
                return Err(HeaderTooLarge {
                    found: header,
                    allowed: frame_max,
                });
            }
            put_body(&mut state.out, self.number, &message.body, frame_max);
            state.channel(self.number).confirms.published(message.event)
        };
        self.shared.to_write.notify_one();
        Ok(receiver)
    }

    /// The events that were on their way when the broker closed the channel, told once.
    pub fn take_orphans(&self) -> Vec<Uuid> {
        std::mem::take(&mut self.shared.state().channel(self.number).orphans)
    }
}

/// Reads until the connection ends, and tells everybody why it did.
async fn read(mut from: impl AsyncRead + Unpin, mut frames: Frames, shared: Arc<Shared>, heartbeat: Duration) {
    let shown = &shared.shown;
    let silence = heartbeat * AMQP_SILENCE_HEARTBEATS;
    let failure = loop {
        match timeout(silence, frames.next(&mut from)).await {
            Ok(Ok(Some(frame))) => {
                if let Err(failure) = shared.hear(frame) {
                    break failure;
                }
            }
            Ok(Ok(None)) => break Failure::ended(format!("{shown} closed the connection without a word")),
            Ok(Err(error)) => break Failure::broken(format!("the connection to {shown} broke"), error),
            Err(_) => break Failure::ended(format!("{shown} gave no sign of life for {silence:?}")),
        }
    };
    shared.fail(failure);
}

/// Writes what is to be written, and heartbeats when nothing is.
async fn write(mut to: impl AsyncWrite + Unpin, shared: Arc<Shared>, heartbeat: Duration) {
    let pause = heartbeat / 2;
    loop {
        let (mut bytes, over) = {
            let mut state = shared.state();
            (std::mem::take(&mut state.out), state.failure.is_some())
        };
        if bytes.is_empty() {
            if over {
                return;
            }
            if timeout(pause, shared.to_write.notified()).await.is_ok() {
                continue;
            }
            put_heartbeat(&mut bytes);
        }
        // Why it cannot be written the reader learns, perhaps with the broker's own words.
        if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
}
