//! One session with one broker: a task that owns the connection, and the messages under way on it.
//!
//! A session begins without a past and ends with its connection, so a broker never gets a message of it later than the connection
//! lasts. What has no acknowledgement by then is unknown, and the outbox, not the client, sends it again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use onewrite_core::error::{Action, SinkError, chain};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::answer::{ended, incomplete, is_about_a_message, no_session};
use super::packet::{self, Answer, Connected, Incoming, Lifetime, Message, SUCCESS, Stage};
use super::settings::Settings;
use crate::endpoint::{Endpoint, Stream};
use crate::keyed::StartWindow;
use crate::limits::{MQTT_ALONE_MESSAGES, MQTT_READ_BYTES_MAX, MQTT_WRITE_BYTES};

/// A session that has begun.
pub(super) struct Session {
    pub connected: Connected,
    requests: mpsc::UnboundedSender<Request>,
    /// One for each message that may be under way.
    room: Arc<Semaphore>,
    /// Why it ended.
    end: Arc<End>,
    task: JoinHandle<()>,
    patience: Duration,
}

/// The first reason for which a session ended.
#[derive(Default)]
struct End(Mutex<Option<(Action, String)>>);

enum Request {
    Publish {
        message: Message,
        acknowledged: oneshot::Sender<Answer>,
        room: OwnedSemaphorePermit,
    },
    Close,
}

impl Session {
    /// Connects to one address. A connection that breaks with several messages under way may break because of one of them, and
    /// sets `alone`; the next session then begins with one message at a time, so that what the broker says or does is about that
    /// one.
    pub(super) async fn open(
        settings: &Settings,
        endpoint: &Endpoint,
        client_id: &str,
        alone: &Arc<AtomicBool>,
    ) -> Result<Self, SinkError> {
        let (connection, connected) = begin(settings, endpoint, client_id, Lifetime::OF_THE_CONNECTION).await?;
        let window = settings.window.min(connected.receive_maximum).max(1);
        let begins_with = if alone.load(Ordering::Relaxed) { 1 } else { window };
        let room = Arc::new(Semaphore::new(usize::from(begins_with)));
        let (requests, taken) = mpsc::unbounded_channel();
        let end = Arc::new(End::default());
        let keep_alive = connected.keep_alive.unwrap_or(settings.keep_alive);
        let task = Task {
            connection,
            qos: settings.qos,
            requests: taken,
            under_way: HashMap::new(),
            free: (1..=window).rev().collect(),
            end: Arc::clone(&end),
            alone: Arc::clone(alone),
            widening: (begins_with < window).then(|| Widening {
                messages: MQTT_ALONE_MESSAGES,
                room: Arc::clone(&room),
                more: usize::from(window - begins_with),
            }),
            pinged: false,
            // 0 turns it off; then a dead connection is found by what is not acknowledged.
            ping: (keep_alive > 0).then(|| Duration::from_secs(u64::from(keep_alive)) / 2),
        };
        Ok(Self {
            connected,
            requests,
            room,
            end,
            task: tokio::spawn(task.run()),
            patience: settings.timeout,
        })
    }

    /// Sends a message if there is room for it in time, and waits for its acknowledgement. An error: nothing more can be sent in this
    /// delivery, and whether the message arrived is unknown.
    pub(super) async fn publish(&self, message: Message, start: StartWindow) -> Result<Answer, SinkError> {
        let Ok(room) = start.wait(Arc::clone(&self.room).acquire_owned()).await? else {
            return Err(self.end.error());
        };
        let (acknowledged, answer) = oneshot::channel();
        let request = Request::Publish {
            message,
            acknowledged,
            room,
        };
        if self.requests.send(request).is_err() {
            return Err(self.end.error());
        }
        match timeout(self.patience, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(self.end.error()),
            Err(_) => {
                let words = format!(
                    "the broker did not acknowledge within {:?}; whether the event arrived is unknown",
                    self.patience
                );
                self.end.set(Action::Reconnect, words);
                // What waits for room would wait for the same broker.
                self.room.close();
                Err(self.end.error())
            }
        }
    }

    /// Ends the session in order.
    pub(super) async fn close(mut self) {
        self.end.set(Action::Reconnect, "the MQTT sink was closed".to_owned());
        if self.requests.send(Request::Close).is_ok() {
            // A connection that is broken need not close well.
            let _ = timeout(self.patience, &mut self.task).await;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl End {
    fn set(&self, action: Action, words: String) {
        let mut end = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        end.get_or_insert((action, words));
    }

    fn error(&self) -> SinkError {
        let end = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*end {
            Some((action, words)) => SinkError::new(*action, words.clone()),
            None => SinkError::reconnect("the MQTT session ended"),
        }
    }
}

/// The connection, and what is half read and half written.
pub(super) struct Connection {
    pub reader: ReadHalf<Box<dyn Stream>>,
    writer: WriteHalf<Box<dyn Stream>>,
    pub read: BytesMut,
    pub unwritten: BytesMut,
    unflushed: bool,
}

/// Connects to one address and begins a session.
pub(super) async fn begin(
    settings: &Settings,
    endpoint: &Endpoint,
    client_id: &str,
    lifetime: Lifetime,
) -> Result<(Connection, Connected), SinkError> {
    let tls = match settings.encrypted {
        true => Some(Arc::new(settings.tls.client_aside().await?)),
        false => None,
    };
    let (reader, writer) = tokio::io::split(endpoint.open(tls).await?);
    let mut connection = Connection {
        reader,
        writer,
        read: BytesMut::new(),
        unwritten: BytesMut::new(),
        unflushed: false,
    };
    packet::connect(
        client_id,
        (
            settings.user.as_deref(),
            settings.password.as_ref().map(|password| password.expose()),
        ),
        settings.keep_alive,
        lifetime,
        &mut connection.unwritten,
    );
    let broken = |error: std::io::Error| {
        SinkError::reconnect(format!("the connection to {endpoint} broke before the broker answered")).because(error)
    };
    while connection.has_to_write() {
        connection.write().await.map_err(broken)?;
    }
    loop {
        match packet::read(&mut connection.read, MQTT_READ_BYTES_MAX) {
            Ok(Some(Incoming::Connected(connected))) if connected.answer.reason == SUCCESS => {
                return fitting(settings, &connected).map(|()| (connection, connected));
            }
            Ok(Some(Incoming::Connected(connected))) => return Err(no_session(&connected.answer)),
            Ok(Some(other)) => {
                let words = format!("{endpoint} answered {other:?} instead of CONNACK");
                return Err(SinkError::reconnect(words));
            }
            Ok(None) => {}
            Err(error) => return Err(SinkError::reconnect(format!("{endpoint} is no MQTT 5 broker")).because(error)),
        }
        if connection.reader.read_buf(&mut connection.read).await.map_err(broken)? == 0 {
            return Err(broken(std::io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// Whether a broker can do what the options ask of it.
fn fitting(settings: &Settings, connected: &Connected) -> Result<(), SinkError> {
    if connected.maximum_qos < settings.qos {
        let words = format!(
            "the broker takes QoS {} at most, and qos is {}; without QoS 1 it acknowledges nothing",
            connected.maximum_qos, settings.qos
        );
        return Err(SinkError::halt(words));
    }
    if settings.retain && !connected.retains {
        return Err(SinkError::halt("the broker retains no messages; set retain = false"));
    }
    Ok(())
}

impl Connection {
    pub(super) fn has_to_write(&self) -> bool {
        self.unflushed || !self.unwritten.is_empty()
    }

    /// Writes some of what waits, or sees to it that it leaves. Nothing is lost when this is dropped.
    pub(super) async fn write(&mut self) -> std::io::Result<()> {
        write(&mut self.writer, &mut self.unwritten, &mut self.unflushed).await
    }

    /// Ends the session in order.
    pub(super) async fn end(&mut self) -> std::io::Result<()> {
        packet::disconnect(&mut self.unwritten);
        while self.has_to_write() {
            self.write().await?;
        }
        // It is over either way.
        let _ = self.writer.shutdown().await;
        Ok(())
    }
}

async fn write(
    writer: &mut WriteHalf<Box<dyn Stream>>,
    unwritten: &mut BytesMut,
    unflushed: &mut bool,
) -> std::io::Result<()> {
    if unwritten.is_empty() {
        writer.flush().await?;
        *unflushed = false;
        return Ok(());
    }
    if writer.write_buf(unwritten).await? == 0 {
        return Err(std::io::ErrorKind::WriteZero.into());
    }
    *unflushed = true;
    Ok(())
}

struct Task {
    connection: Connection,
    qos: u8,
    requests: mpsc::UnboundedReceiver<Request>,
    /// Messages under way by their packet identifier.
    under_way: HashMap<u16, UnderWay>,
    /// Packet identifiers that may be used.
    free: Vec<u16>,
    end: Arc<End>,
    /// Whether the next session is to take one message at a time.
    alone: Arc<AtomicBool>,
    /// Where this one takes one message at a time, until when.
    widening: Option<Widening>,
    /// Whether a sign of life was asked for and has not come.
    pinged: bool,
    ping: Option<Duration>,
}

/// The end of taking one message at a time.
struct Widening {
    /// So many acknowledgements from now.
    messages: u32,
    room: Arc<Semaphore>,
    /// How much room there is then besides.
    more: usize,
}

struct UnderWay {
    acknowledged: oneshot::Sender<Answer>,
    /// What the receipt of QoS 2 was acknowledged with.
    received: Option<Answer>,
    _room: OwnedSemaphorePermit,
}

impl Task {
    async fn run(mut self) {
        let error = self.work().await;
        if self.under_way.len() > 1 {
            self.alone.store(true, Ordering::Relaxed);
        }
        self.end.set(error.action, chain(&error));
        // What is under way is dropped now, after the reason is known; so is what waits in the channel.
    }

    /// Goes on until the session ends, and returns why.
    async fn work(&mut self) -> SinkError {
        let period = self.ping.unwrap_or(Duration::from_secs(3600));
        let mut ticks = interval_at(Instant::now() + period, period);
        // After a pause of this process, the next question comes a whole period after the last one.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let Connection {
                reader,
                writer,
                read,
                unwritten,
                unflushed,
            } = &mut self.connection;
            let has_to_write = *unflushed || !unwritten.is_empty();
            let has_room = unwritten.len() < MQTT_WRITE_BYTES;
            let broken =
                |error: std::io::Error| SinkError::reconnect("the connection to the broker broke").because(error);
            tokio::select! {
                // What has come is read before the broker is taken for dead, and what is to be written is gathered before it is.
                biased;
                came = reader.read_buf(read) => match came {
                    Ok(0) => return broken(std::io::ErrorKind::UnexpectedEof.into()),
                    Ok(_) => {
                        if let Err(error) = self.take() {
                            return error;
                        }
                    }
                    Err(error) => return broken(error),
                },
                _ = ticks.tick(), if self.ping.is_some() => {
                    if self.pinged {
                        return SinkError::reconnect(format!("the broker gave no sign of life within {period:?}"));
                    }
                    self.pinged = true;
                    packet::ping(&mut self.connection.unwritten);
                }
                request = self.requests.recv(), if has_room => match request {
                    Some(Request::Publish { message, acknowledged, room }) => self.publish(&message, acknowledged, room),
                    Some(Request::Close) | None => return self.close().await,
                },
                written = write(writer, unwritten, unflushed), if has_to_write => {
                    if let Err(error) = written {
                        return broken(error);
                    }
                }
            }
        }
    }

    fn publish(&mut self, message: &Message, acknowledged: oneshot::Sender<Answer>, room: OwnedSemaphorePermit) {
        // There are as many identifiers as there is room, and an identifier is free again before its room is.
        let Some(id) = self.free.pop() else { return };
        message.write(id, &mut self.connection.unwritten);
        let under_way = UnderWay {
            acknowledged,
            received: None,
            _room: room,
        };
        self.under_way.insert(id, under_way);
    }

    /// Takes every packet that has come. An error ends the session.
    fn take(&mut self) -> Result<(), SinkError> {
        loop {
            let packet = packet::read(&mut self.connection.read, MQTT_READ_BYTES_MAX)
                .map_err(|error| SinkError::reconnect("the broker cannot be understood").because(error))?;
            // Any packet is a sign of life.
            self.pinged &= packet.is_none();
            match packet {
                None => return Ok(()),
                Some(Incoming::Pong) => {}
                Some(Incoming::Acknowledged { of, id, answer }) => self.acknowledged(of, id, answer)?,
                Some(Incoming::Disconnected(answer)) => return Err(self.disconnected(answer)),
                Some(Incoming::Connected(_) | Incoming::Subscribed(_) | Incoming::Message(_)) => {
                    let words = "the broker began the session a second time, or sent what only a subscriber gets";
                    return Err(SinkError::reconnect(words));
                }
            }
        }
    }

    fn acknowledged(&mut self, of: Stage, id: u16, answer: Answer) -> Result<(), SinkError> {
        let unasked = || {
            let words = format!("the broker acknowledged {id} ({of:?}), of which nothing is under way");
            Err(SinkError::reconnect(words))
        };
        let expected = match of {
            Stage::Published => self.qos == 1,
            Stage::Received | Stage::Completed => self.qos == 2,
        };
        let Some(under_way) = self.under_way.get_mut(&id).filter(|_| expected) else {
            return unasked();
        };
        let answer = match of {
            Stage::Published => answer,
            // A message that was refused is not released.
            Stage::Received if answer.reason >= 0x80 => answer,
            Stage::Received => {
                under_way.received = Some(answer);
                packet::release(id, &mut self.connection.unwritten);
                return Ok(());
            }
            Stage::Completed => match under_way.received.take() {
                // Whether anybody subscribes was told with the receipt.
                Some(received) if answer.reason == SUCCESS => received,
                Some(_) => return Err(incomplete(&answer)),
                None => return unasked(),
            },
        };
        if let Some(under_way) = self.under_way.remove(&id) {
            self.free.push(id);
            // Nobody may be waiting any more.
            let _ = under_way.acknowledged.send(answer);
            self.widen();
        }
        Ok(())
    }

    /// Counts an acknowledgement of a session that takes one message at a time.
    fn widen(&mut self) {
        let Some(widening) = &mut self.widening else { return };
        widening.messages -= 1;
        if widening.messages == 0 {
            widening.room.add_permits(widening.more);
            self.alone.store(false, Ordering::Relaxed);
            self.widening = None;
        }
    }

    /// A broker may end the connection because of a message. Which one it meant is known when only one was under way, and it had not
    /// taken that one already.
    fn disconnected(&mut self, answer: Answer) -> SinkError {
        let error = ended(&answer);
        if is_about_a_message(answer.reason)
            && self.under_way.len() == 1
            && self.under_way.values().all(|only| only.received.is_none())
            && let Some((_, only)) = self.under_way.drain().next()
        {
            let _ = only.acknowledged.send(answer);
        }
        error
    }

    async fn close(&mut self) -> SinkError {
        match self.connection.end().await {
            Ok(()) => SinkError::reconnect("the MQTT sink was closed"),
            Err(error) => SinkError::reconnect("the connection to the broker broke").because(error),
        }
    }
}
