//! The little of AMQP 0-9-1 that a fixture needs, written down byte by byte: it has nothing in common with what it is to judge.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;

use super::rabbitmq_bytes::{Bytes, Fields, Table};
use crate::wait::PATIENCE;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const FRAME_END: u8 = 0xce;

/// Class and method, as the specification numbers them.
type Method = (u16, u16);

const CONNECTION_START: Method = (10, 10);
const CONNECTION_START_OK: Method = (10, 11);
const CONNECTION_TUNE: Method = (10, 30);
const CONNECTION_TUNE_OK: Method = (10, 31);
const CONNECTION_OPEN: Method = (10, 40);
const CONNECTION_OPEN_OK: Method = (10, 41);
const CONNECTION_CLOSE: Method = (10, 50);
const CHANNEL_OPEN: Method = (20, 10);
const CHANNEL_OPEN_OK: Method = (20, 11);
const CHANNEL_CLOSE: Method = (20, 40);
const CHANNEL_CLOSE_OK: Method = (20, 41);
const EXCHANGE_DECLARE: Method = (40, 10);
const EXCHANGE_DECLARE_OK: Method = (40, 11);
const EXCHANGE_DELETE: Method = (40, 20);
const EXCHANGE_DELETE_OK: Method = (40, 21);
const QUEUE_DECLARE: Method = (50, 10);
const QUEUE_DECLARE_OK: Method = (50, 11);
const QUEUE_BIND: Method = (50, 20);
const QUEUE_BIND_OK: Method = (50, 21);
const QUEUE_UNBIND: Method = (50, 50);
const QUEUE_UNBIND_OK: Method = (50, 51);
const QUEUE_DELETE: Method = (50, 40);
const QUEUE_DELETE_OK: Method = (50, 41);
const BASIC_QOS: Method = (60, 10);
const BASIC_QOS_OK: Method = (60, 11);
const BASIC_CONSUME: Method = (60, 20);
const BASIC_CONSUME_OK: Method = (60, 21);
const BASIC_CANCEL: Method = (60, 30);
const BASIC_CANCEL_OK: Method = (60, 31);
const BASIC_DELIVER: Method = (60, 60);

/// A message as the broker keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// The exchange that it was published to.
    pub exchange: String,
    /// Its routing key.
    pub routing_key: String,
    /// Its properties but for the headers, under the names of the specification, such as `message-id`; numbers as digits.
    pub properties: BTreeMap<&'static str, String>,
    /// Its headers in their order.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

/// A connection with channels, used by one thread.
pub struct Client {
    stream: BufReader<TcpStream>,
    /// Messages that were delivered and not taken.
    delivered: Vec<Published>,
}

impl Client {
    /// Connects to the virtual host `/` as `guest` and opens channel 1.
    pub fn connect(port: u16) -> Result<Self, String> {
        let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())?;
        let limit = |result: std::io::Result<()>| result.map_err(|error| error.to_string());
        limit(stream.set_read_timeout(Some(PATIENCE / 4)))?;
        limit(stream.set_nodelay(true))?;
        let mut client = Self {
            stream: BufReader::with_capacity(256 * 1024, stream),
            delivered: Vec::new(),
        };
        client.write(b"AMQP\0\0\x09\x01")?;
        client.expect(0, CONNECTION_START)?;
        let start = Bytes::new()
            .table(&Table::new())
            .short("PLAIN")
            .long(b"\0guest\0guest")
            .short("en_US");
        client.send(0, CONNECTION_START_OK, start)?;
        let tune = client.expect(0, CONNECTION_TUNE)?;
        // What the server proposed, without heartbeats: channels and the size of a frame.
        let mut proposed = Fields::new(&tune);
        let (channels, frame) = (proposed.u16()?, proposed.u32()?);
        client.send(0, CONNECTION_TUNE_OK, Bytes::new().u16(channels).u32(frame).u16(0))?;
        client.send(0, CONNECTION_OPEN, Bytes::new().short("/").short("").u8(0))?;
        client.expect(0, CONNECTION_OPEN_OK)?;
        client.open(1)?;
        Ok(client)
    }

    /// Opens a channel.
    pub fn open(&mut self, channel: u16) -> Result<(), String> {
        self.call(channel, CHANNEL_OPEN, Bytes::new().short(""), CHANNEL_OPEN_OK)?;
        Ok(())
    }

    /// Closes a channel; what it has not acknowledged goes back.
    pub fn close(&mut self, channel: u16) -> Result<(), String> {
        let words = Bytes::new().u16(200).short("read").u16(0).u16(0);
        self.call(channel, CHANNEL_CLOSE, words, CHANNEL_CLOSE_OK)?;
        Ok(())
    }

    /// Declares a queue.
    pub fn declare_queue(&mut self, name: &str, durable: bool, arguments: &Table) -> Result<(), String> {
        let words = Bytes::new()
            .u16(0)
            .short(name)
            .u8(u8::from(durable) << 1)
            .table(arguments);
        self.call(1, QUEUE_DECLARE, words, QUEUE_DECLARE_OK)?;
        Ok(())
    }

    /// How many messages of a queue are ready, and how many consumers it has.
    pub fn count(&mut self, queue: &str) -> Result<(u32, u32), String> {
        self.count_on(1, queue)
    }

    /// The same, asked on another channel.
    pub fn count_on(&mut self, channel: u16, queue: &str) -> Result<(u32, u32), String> {
        const PASSIVE: u8 = 1;
        let words = Bytes::new().u16(0).short(queue).u8(PASSIVE).table(&Table::new());
        let answer = self.call(channel, QUEUE_DECLARE, words, QUEUE_DECLARE_OK)?;
        let mut answer = Fields::new(&answer);
        answer.short()?;
        Ok((answer.u32()?, answer.u32()?))
    }

    /// Deletes a queue.
    pub fn delete_queue(&mut self, name: &str) -> Result<(), String> {
        self.call(1, QUEUE_DELETE, Bytes::new().u16(0).short(name).u8(0), QUEUE_DELETE_OK)?;
        Ok(())
    }

    /// Declares a durable exchange.
    pub fn declare_exchange(&mut self, name: &str, kind: &str) -> Result<(), String> {
        const DURABLE: u8 = 2;
        let words = Bytes::new()
            .u16(0)
            .short(name)
            .short(kind)
            .u8(DURABLE)
            .table(&Table::new());
        self.call(1, EXCHANGE_DECLARE, words, EXCHANGE_DECLARE_OK)?;
        Ok(())
    }

    /// Deletes an exchange.
    pub fn delete_exchange(&mut self, name: &str) -> Result<(), String> {
        self.call(
            1,
            EXCHANGE_DELETE,
            Bytes::new().u16(0).short(name).u8(0),
            EXCHANGE_DELETE_OK,
        )?;
        Ok(())
    }

    /// Binds a queue to an exchange.
    pub fn bind(&mut self, queue: &str, exchange: &str, routing_key: &str) -> Result<(), String> {
        let words = Bytes::new()
            .u16(0)
            .short(queue)
            .short(exchange)
            .short(routing_key)
            .u8(0)
            .table(&Table::new());
        self.call(1, QUEUE_BIND, words, QUEUE_BIND_OK)?;
        Ok(())
    }

    /// Ends such a binding.
    pub fn unbind(&mut self, queue: &str, exchange: &str, routing_key: &str) -> Result<(), String> {
        let words = Bytes::new()
            .u16(0)
            .short(queue)
            .short(exchange)
            .short(routing_key)
            .table(&Table::new());
        self.call(1, QUEUE_UNBIND, words, QUEUE_UNBIND_OK)?;
        Ok(())
    }

    /// Lets a channel take as many messages as it may without acknowledging any, and begins.
    pub fn consume(&mut self, channel: u16, queue: &str) -> Result<(), String> {
        self.call(
            channel,
            BASIC_QOS,
            Bytes::new().u32(0).u16(u16::MAX).u8(0),
            BASIC_QOS_OK,
        )?;
        let tag = tag(channel);
        let words = Bytes::new().u16(0).short(queue).short(&tag).u8(0).table(&Table::new());
        self.call(channel, BASIC_CONSUME, words, BASIC_CONSUME_OK)?;
        Ok(())
    }

    /// Lets the channel take nothing more; it holds what it has.
    pub fn cancel(&mut self, channel: u16) -> Result<(), String> {
        let words = Bytes::new().short(&tag(channel)).u8(0);
        self.call(channel, BASIC_CANCEL, words, BASIC_CANCEL_OK)?;
        Ok(())
    }

    /// What has been delivered since it was last taken.
    pub fn take(&mut self) -> Vec<Published> {
        std::mem::take(&mut self.delivered)
    }

    fn call(&mut self, channel: u16, method: Method, words: Bytes, answer: Method) -> Result<Vec<u8>, String> {
        self.send(channel, method, words)?;
        self.expect(channel, answer)
    }

    fn send(&mut self, channel: u16, method: Method, words: Bytes) -> Result<(), String> {
        let payload = [Bytes::new().u16(method.0).u16(method.1).into_vec(), words.into_vec()].concat();
        let length = u32::try_from(payload.len()).map_err(|error| error.to_string())?;
        let frame = Bytes::new().u8(METHOD).u16(channel).u32(length).into_vec();
        self.write(&[frame, payload, vec![FRAME_END]].concat())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream
            .get_mut()
            .write_all(bytes)
            .map_err(|error| error.to_string())
    }

    /// Reads until the answer is there, and keeps what is delivered meanwhile.
    fn expect(&mut self, channel: u16, answer: Method) -> Result<Vec<u8>, String> {
        loop {
            let (kind, of, payload) = self.frame()?;
            if kind != METHOD {
                continue;
            }
            let mut fields = Fields::new(&payload);
            let method = (fields.u16()?, fields.u16()?);
            match method {
                _ if (of, method) == (channel, answer) => return Ok(fields.rest().to_vec()),
                BASIC_DELIVER => {
                    let message = self.content(fields)?;
                    self.delivered.push(message);
                }
                CHANNEL_CLOSE | CONNECTION_CLOSE => {
                    let (code, words) = (fields.u16()?, fields.short()?);
                    return Err(format!("{code} {words}"));
                }
                _ => {}
            }
        }
    }

    fn content(&mut self, mut deliver: Fields<'_>) -> Result<Published, String> {
        let (_tag, _number, _again) = (deliver.short()?, deliver.u64()?, deliver.u8()?);
        let (exchange, routing_key) = (deliver.short()?, deliver.short()?);
        let (kind, _, header) = self.frame()?;
        if kind != HEADER {
            return Err(format!("a frame of type {kind} where a header is due"));
        }
        let mut fields = Fields::new(&header);
        let (_class, _weight, size) = (fields.u16()?, fields.u16()?, fields.u64()?);
        let (properties, headers) = fields.properties()?;
        let mut body = Vec::new();
        while (body.len() as u64) < size {
            let (kind, _, part) = self.frame()?;
            if kind != BODY {
                return Err(format!("a frame of type {kind} where a body is due"));
            }
            body.extend(part);
        }
        Ok(Published {
            exchange,
            routing_key,
            properties,
            headers,
            body,
        })
    }

    fn frame(&mut self) -> Result<(u8, u16, Vec<u8>), String> {
        let mut start = [0; 7];
        self.read(&mut start)?;
        let mut fields = Fields::new(&start);
        let (kind, channel, length) = (fields.u8()?, fields.u16()?, fields.u32()?);
        let mut payload = vec![0; length as usize + 1];
        self.read(&mut payload)?;
        match payload.pop() {
            Some(FRAME_END) => Ok((kind, channel, payload)),
            _ => Err("a frame without its end".to_owned()),
        }
    }

    fn read(&mut self, into: &mut [u8]) -> Result<(), String> {
        self.stream.read_exact(into).map_err(|error| error.to_string())
    }
}

/// The name of a channel's consumer.
fn tag(channel: u16) -> String {
    format!("reader-{channel}")
}
