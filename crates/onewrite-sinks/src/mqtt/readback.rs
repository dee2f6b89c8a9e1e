//! Reading back for `onewrite verify`: a subscription in a session that outlives its connections, there before the first event.
//!
//! A broker keeps for a subscriber what comes while it has a session, as far as its own limits of a queue allow, and no more. A session that
//! it gave up is told, since then nobody can say what arrived. What it drops for want of room is what any subscriber would miss.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::SinkError;
use onewrite_core::routing::VERIFY_PREFIX;
use onewrite_core::verify::{Arrived, ReadBack, Reading};
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, timeout, timeout_at};

use super::LIMIT;
use super::answer::{ended, not_subscribed};
use super::packet::{self, Connected, Incoming, Lifetime};
use super::session::{Connection, begin};
use super::settings::Settings;
use super::subscriber::{acknowledge, subscribe};
use crate::limits::{MQTT_VERIFY_READ_BYTES_MAX, MQTT_VERIFY_READ_MESSAGES, MQTT_VERIFY_SESSION_SECONDS};
use crate::turns::Turns;

pub(super) struct MqttReadBack(pub Arc<Settings>);

#[async_trait]
impl ReadBack for MqttReadBack {
    fn apart(&self, topic: &str) -> Vec<(&'static str, Option<String>)> {
        // Two connections of one id would end each other. Messages that expire before they are read would look lost.
        let configured = self.0.client_id.as_ref();
        let client_id = configured.map(|_| format!("{}-relay", reader_id(&self.0, topic)));
        vec![
            ("topic", Some(levels(topic))),
            ("client_id", client_id),
            ("retain", None),
            ("message_expiry", None),
        ]
    }

    async fn open(&self, topic: &str) -> Result<Box<dyn Reading>, SinkError> {
        let client = Client::new(&self.0, topic);
        let (mut line, connected) = client.begin(true, MQTT_VERIFY_SESSION_SECONDS).await?;
        if connected.session_expiry == Some(0) {
            return Err(SinkError::halt(
                "the broker keeps no session beyond its connection, so nothing could be read back from it",
            ));
        }
        line.subscribe(&levels(topic)).await?;
        Ok(Box::new(Subscription {
            client,
            line: Some(line),
        }))
    }

    /// The session goes with a connection that begins without a past and leaves nothing.
    async fn remove(&self, topic: &str) -> Result<(), SinkError> {
        let (mut line, _) = Client::new(&self.0, topic).begin(true, 0).await?;
        let ended = timeout(self.0.timeout, line.connection.end()).await;
        ended.unwrap_or_else(|_| Err(silent())).map_err(broken)
    }
}

/// The topic with the levels that MQTT has, so that one rule of a broker allows all topics of verify: `onewrite/verify/#`.
fn levels(topic: &str) -> String {
    topic.replace('.', "/")
}

/// The reader's id. Where none is configured it is one that every broker must take: 23 letters and digits at most (MQTT 5, 3.1.3.1), which
/// a run's time and number are among the first of.
fn reader_id(settings: &Settings, topic: &str) -> String {
    let run = topic.strip_prefix(VERIFY_PREFIX).unwrap_or(topic);
    let run: String = run.chars().filter(char::is_ascii_alphanumeric).take(21).collect();
    match &settings.client_id {
        Some(id) => format!("{id}-{run}"),
        None => format!("ow{run}"),
    }
}

/// Who reads.
struct Client {
    settings: Arc<Settings>,
    id: String,
}

impl Client {
    fn new(settings: &Arc<Settings>, topic: &str) -> Self {
        Self {
            settings: Arc::clone(settings),
            id: reader_id(settings, topic),
        }
    }

    async fn begin(&self, clean_start: bool, expiry: u32) -> Result<(Line, Connected), SinkError> {
        let lifetime = Lifetime { clean_start, expiry };
        let settings = &self.settings;
        let open = |url| begin(settings, url, &self.id, lifetime);
        let (connection, connected) = Turns::default().connect(&settings.urls, LIMIT, open).await?;
        let line = Line {
            connection,
            patience: settings.timeout,
            keep_alive: Duration::from_secs(connected.keep_alive.unwrap_or(settings.keep_alive).into()),
            written: Instant::now(),
            pinged: false,
        };
        Ok((line, connected))
    }

    /// Goes on where the last connection was.
    async fn resume(&self) -> Result<Line, SinkError> {
        let (line, connected) = self.begin(false, MQTT_VERIFY_SESSION_SECONDS).await?;
        if connected.session_present {
            return Ok(line);
        }
        // The session that has begun now is a new one without a subscription: the next look must not take it for the one that is gone.
        let (_line, _) = self.begin(true, 0).await?;
        Err(SinkError::halt(
            "the broker did not keep the session that reads back over a broken connection; what arrived is unknown",
        ))
    }
}

/// What comes under one topic, acknowledged when it was read.
struct Subscription {
    client: Client,
    /// None after it broke.
    line: Option<Line>,
}

#[async_trait]
impl Reading for Subscription {
    async fn read(&mut self, wait: Duration) -> Result<Vec<Arrived>, SinkError> {
        let mut line = match self.line.take() {
            Some(line) => line,
            None => self.client.resume().await?,
        };
        let (mut until, mut arrived) = (Instant::now() + wait, Vec::new());
        while arrived.len() < MQTT_VERIFY_READ_MESSAGES {
            match line.next(until).await {
                Ok(Some(Incoming::Message(message))) => {
                    acknowledge(message.packet, &mut line.connection.unwritten);
                    arrived.push(Arrived::new(message.event.as_deref(), message.payload));
                    // Besides it only what has come already.
                    until = Instant::now();
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                // What was read before it counts; the next call connects anew.
                Err(_) if !arrived.is_empty() => return Ok(arrived),
                Err(error) => return Err(error),
            }
        }
        // What cannot be acknowledged comes again.
        if line.write().await.is_ok() {
            self.line = Some(line);
        }
        Ok(arrived)
    }
}

/// A connection of the reader.
struct Line {
    connection: Connection,
    /// How long writing may take.
    patience: Duration,
    /// After how long a silence the broker ends the connection; nought: never.
    keep_alive: Duration,
    /// When something was last written.
    written: Instant,
    /// Whether a sign of life was asked for and has not come.
    pinged: bool,
}

impl Line {
    async fn subscribe(&mut self, topic: &str) -> Result<(), SinkError> {
        subscribe(topic, 1, &mut self.connection.unwritten);
        match self.next(Instant::now() + self.patience).await? {
            Some(Incoming::Subscribed(answer)) if (1..0x80).contains(&answer.reason) => Ok(()),
            Some(Incoming::Subscribed(answer)) => Err(not_subscribed(&answer, topic)),
            _ => Err(broken(silent())),
        }
    }

    /// The next packet that comes by then. Whatever waits is written first.
    async fn next(&mut self, until: Instant) -> Result<Option<Incoming>, SinkError> {
        loop {
            let packet = packet::read(&mut self.connection.read, MQTT_VERIFY_READ_BYTES_MAX)
                .map_err(|error| SinkError::reconnect("the broker cannot be understood").because(error))?;
            if let Some(packet) = packet {
                self.pinged = false;
                return match packet {
                    Incoming::Disconnected(answer) => Err(ended(&answer)),
                    other => Ok(Some(other)),
                };
            }
            self.write().await?;
            let Connection { reader, read, .. } = &mut self.connection;
            match timeout_at(until, reader.read_buf(read)).await {
                Ok(Ok(0)) => return Err(broken(std::io::ErrorKind::UnexpectedEof.into())),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(broken(error)),
                Err(_) => return self.keep_alive().map(|()| None),
            }
        }
    }

    async fn write(&mut self) -> Result<(), SinkError> {
        while self.connection.has_to_write() {
            let written = timeout(self.patience, self.connection.write()).await;
            written.unwrap_or_else(|_| Err(silent())).map_err(broken)?;
            self.written = Instant::now();
        }
        Ok(())
    }

    /// Asks for a sign of life where nothing was written for long.
    fn keep_alive(&mut self) -> Result<(), SinkError> {
        if self.keep_alive.is_zero() || self.written.elapsed() < self.keep_alive / 2 {
            return Ok(());
        }
        if std::mem::replace(&mut self.pinged, true) {
            return Err(broken(silent()));
        }
        packet::ping(&mut self.connection.unwritten);
        Ok(())
    }
}

fn broken(error: std::io::Error) -> SinkError {
    SinkError::reconnect("the connection that reads back from the broker broke").because(error)
}

fn silent() -> std::io::Error {
    std::io::ErrorKind::TimedOut.into()
}
