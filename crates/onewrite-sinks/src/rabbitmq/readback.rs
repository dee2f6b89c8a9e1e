//! Reading back for `onewrite verify`: a queue of its own behind the default exchange, read by one consumer in order.
//!
//! The sink's client only publishes, so a consumer is written here on the same frames: one connection, used by one task.

use std::sync::Arc;
use std::time::Duration;

use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::{AMQPClass, BasicProperties, basic, channel, queue};
use amq_protocol::types::{AMQPValue, FieldTable, LongString};
use async_trait::async_trait;
use onewrite_core::SinkError;
use onewrite_core::verify::{Arrived, ReadBack, Reading};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout, timeout_at};

use super::amqp::{Close, Failure, Frames, greet, put_heartbeat, put_method, reach};
use super::judge;
use super::settings::Settings;
use crate::endpoint::Stream;
use crate::limits::{AMQP_FRAME_BYTES_DEFAULT, RABBITMQ_CONNECT_TIMEOUT_EACH, RABBITMQ_READ_MESSAGES};

pub(super) struct RabbitReadBack(pub Arc<Settings>);

#[async_trait]
impl ReadBack for RabbitReadBack {
    fn apart(&self, topic: &str) -> Vec<(&'static str, Option<String>)> {
        // The default exchange has no other bindings than the names of queues, so nobody else's queue gets a copy.
        vec![
            ("exchange", Some(String::new())),
            ("routing_key", Some(topic.to_owned())),
            ("declare", Some("none".to_owned())),
            ("expiration", None),
        ]
    }

    async fn open(&self, topic: &str) -> Result<Box<dyn Reading>, SinkError> {
        Ok(Box::new(Queue {
            consumer: Some(consume(&self.0, topic).await?),
            settings: Arc::clone(&self.0),
            queue: topic.to_owned(),
        }))
    }

    async fn remove(&self, topic: &str) -> Result<(), SinkError> {
        let mut connection = Connection::open(&self.0).await?;
        let delete = queue::Delete {
            queue: topic.into(),
            if_unused: false,
            if_empty: false,
            nowait: false,
        };
        let asked = connection
            .call(AMQPClass::Queue(queue::AMQPMethod::Delete(delete)))
            .await;
        asked.map_err(|failure| told(topic, &failure))
    }
}

fn told(queue: &str, failure: &Failure) -> SinkError {
    match failure {
        Failure::Channel(close) => SinkError::halt(format!(
            "the queue {queue:?} cannot be used: {close}; the user needs the permissions configure, write and read on names that \
             begin with onewrite.verify., and write on amq.default"
        )),
        other => judge::connection(other),
    }
}

/// Makes the queue where it is not there, and begins to read it.
async fn consume(settings: &Settings, name: &str) -> Result<Connection, SinkError> {
    let mut connection = Connection::open(settings).await?;
    // A stream would be read in another way.
    let kind = if settings.queue_type == "classic" {
        "classic"
    } else {
        "quorum"
    };
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString(LongString::from(kind)));
    let declare = queue::Declare {
        queue: name.into(),
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: false,
        nowait: false,
        arguments,
    };
    let window = basic::Qos {
        prefetch_count: RABBITMQ_READ_MESSAGES,
        global: false,
    };
    let consume = basic::Consume {
        queue: name.into(),
        consumer_tag: "onewrite-verify".into(),
        no_local: false,
        no_ack: false,
        exclusive: false,
        nowait: false,
        arguments: FieldTable::default(),
    };
    for question in [
        AMQPClass::Queue(queue::AMQPMethod::Declare(declare)),
        AMQPClass::Basic(basic::AMQPMethod::Qos(window)),
        AMQPClass::Basic(basic::AMQPMethod::Consume(consume)),
    ] {
        connection
            .call(question)
            .await
            .map_err(|failure| told(name, &failure))?;
    }
    Ok(connection)
}

/// A queue that is read and emptied.
struct Queue {
    settings: Arc<Settings>,
    queue: String,
    /// None after it broke.
    consumer: Option<Connection>,
}

#[async_trait]
impl Reading for Queue {
    async fn read(&mut self, wait: Duration) -> Result<Vec<Arrived>, SinkError> {
        let mut consumer = match self.consumer.take() {
            Some(consumer) => consumer,
            None => consume(&self.settings, &self.queue).await?,
        };
        let arrived = consumer
            .read(wait)
            .await
            .map_err(|failure| told(&self.queue, &failure))?;
        self.consumer = Some(consumer);
        Ok(arrived)
    }
}

/// A connection with one channel.
struct Connection {
    stream: Box<dyn Stream>,
    frames: Frames,
    /// The message that is being told: its number, and what is known of it.
    message: Option<(u64, Option<BasicProperties>, u64, Vec<u8>)>,
    /// Messages that came, the last of them with this number, and were not asked for yet.
    waiting: Vec<Arrived>,
    last: u64,
}

const CHANNEL: u16 = 1;

impl Connection {
    /// Connects to the first address that lets the client in.
    async fn open(settings: &Settings) -> Result<Self, SinkError> {
        let mut last = SinkError::halt("urls names no broker");
        for address in &settings.addresses {
            let opening = async {
                let mut stream = reach(address, &settings.tls).await?;
                let mut frames = Frames::new(AMQP_FRAME_BYTES_DEFAULT as usize);
                let (login, heartbeat) = (&settings.login, settings.heartbeat);
                greet(&mut stream, &mut frames, address, login, "onewrite verify", heartbeat).await?;
                let mut connection = Self {
                    stream,
                    frames,
                    message: None,
                    waiting: Vec::new(),
                    last: 0,
                };
                let channel = channel::AMQPMethod::Open(channel::Open {});
                connection.call(AMQPClass::Channel(channel)).await?;
                Ok(connection)
            };
            let silent = |_| Err(Failure::ended(format!("{} did not answer", address.shown)));
            match timeout(RABBITMQ_CONNECT_TIMEOUT_EACH, opening)
                .await
                .unwrap_or_else(silent)
            {
                Ok(connection) => return Ok(connection),
                Err(failure) => last = judge::connection(&failure),
            }
        }
        Err(last)
    }

    /// Asks on the channel and waits until it is answered.
    async fn call(&mut self, question: AMQPClass) -> Result<(), Failure> {
        self.send(question).await?;
        let silent = |_| Err(Failure::ended("RabbitMQ did not answer"));
        let answered = async {
            while !self.hear().await? {}
            Ok(())
        };
        timeout(RABBITMQ_CONNECT_TIMEOUT_EACH, answered)
            .await
            .unwrap_or_else(silent)
    }

    async fn send(&mut self, method: AMQPClass) -> Result<(), Failure> {
        let mut out = Vec::new();
        put_method(&mut out, CHANNEL, method);
        self.write(&out).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let broke = |error| Failure::broken("the connection to RabbitMQ broke", error);
        self.stream.write_all(bytes).await.map_err(broke)?;
        self.stream.flush().await.map_err(broke)
    }

    /// What came; the broker may then forget it.
    async fn read(&mut self, wait: Duration) -> Result<Vec<Arrived>, Failure> {
        // The broker hears at least this from a reader to whom nothing comes.
        let mut sign = Vec::new();
        put_heartbeat(&mut sign);
        self.write(&sign).await?;
        let mut deadline = Instant::now() + wait;
        while self.waiting.len() < usize::from(RABBITMQ_READ_MESSAGES) {
            match timeout_at(deadline, self.hear()).await {
                Ok(heard) => heard?,
                Err(_) => break,
            };
            if !self.waiting.is_empty() {
                // What the socket holds already, and no more.
                deadline = Instant::now();
            }
        }
        if !self.waiting.is_empty() {
            let ack = basic::Ack {
                delivery_tag: self.last,
                multiple: true,
            };
            self.send(AMQPClass::Basic(basic::AMQPMethod::Ack(ack))).await?;
        }
        Ok(std::mem::take(&mut self.waiting))
    }

    /// Takes the next frame; `true` when it answers a question.
    async fn hear(&mut self) -> Result<bool, Failure> {
        let frame = self.frames.next(&mut self.stream).await;
        let frame = frame.map_err(|error| Failure::broken("the connection to RabbitMQ broke", error))?;
        let close = |code, words: &dyn ToString| Close {
            code,
            words: words.to_string(),
        };
        match frame.ok_or_else(|| Failure::ended("RabbitMQ closed the connection"))? {
            AMQPFrame::Method(CHANNEL, AMQPClass::Channel(channel::AMQPMethod::Close(why))) => {
                return Err(Failure::Channel(close(why.reply_code, &why.reply_text)));
            }
            AMQPFrame::Method(0, AMQPClass::Connection(method)) => {
                use amq_protocol::protocol::connection::AMQPMethod;
                if let AMQPMethod::Close(why) = method {
                    return Err(Failure::Connection(close(why.reply_code, &why.reply_text)));
                }
            }
            AMQPFrame::Method(CHANNEL, AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver))) => {
                self.message = Some((deliver.delivery_tag, None, 0, Vec::new()));
            }
            AMQPFrame::Method(CHANNEL, AMQPClass::Basic(basic::AMQPMethod::Cancel(_))) => {
                return Err(Failure::ended("RabbitMQ cancelled the consumer: the queue was removed"));
            }
            AMQPFrame::Method(CHANNEL, _) => return Ok(true),
            AMQPFrame::Header(CHANNEL, header) => {
                if let Some((_, properties, size, _)) = &mut self.message {
                    (*properties, *size) = (Some(header.properties), header.body_size);
                }
            }
            AMQPFrame::Body(CHANNEL, part) => {
                if let Some((.., body)) = &mut self.message {
                    body.extend(part);
                }
            }
            _ => {}
        }
        self.take_whole();
        Ok(false)
    }

    fn take_whole(&mut self) {
        let whole = |(_, properties, size, body): &mut (u64, Option<BasicProperties>, u64, Vec<u8>)| {
            properties.is_some() && body.len() as u64 >= *size
        };
        if let Some((number, properties, _, body)) = self.message.take_if(whole) {
            let id = properties.and_then(|properties| properties.message_id().as_ref().map(ToString::to_string));
            self.last = number;
            self.waiting.push(Arrived::new(id.as_deref(), body));
        }
    }
}
