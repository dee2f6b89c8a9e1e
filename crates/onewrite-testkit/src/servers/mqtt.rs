//! A subscriber of MQTT 5 that knows as much of the protocol as it needs, one packet at a time, on a thread of its own.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use uuid::Uuid;

use crate::conformance::sink::Arrived;

/// How long a packet may take to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection in the persistent session of one topic's subscriber.
pub(super) struct Reader {
    stream: TcpStream,
    topic: String,
}

/// A message as it came.
struct Message {
    topic: String,
    id: u16,
    content_type: Option<String>,
    user: Vec<(String, String)>,
    payload: Vec<u8>,
}

impl Reader {
    pub(super) fn connect(port: u16, topic: &str) -> Self {
        Self::try_connect(port, topic).unwrap_or_else(|error| panic!("no MQTT broker on port {port}: {error}"))
    }

    pub(super) fn try_connect(port: u16, topic: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut reader = Self {
            stream,
            topic: topic.to_owned(),
        };
        // MQTT 5, not a clean start, no keep alive, a session that never expires.
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 5, 0, 0, 0, 5, 17, 0xff, 0xff, 0xff, 0xff];
        text(&format!("reader-{topic}"), &mut body);
        reader.send(0x10, &body)?;
        let (kind, body) = reader.packet()?;
        if kind >> 4 != 2 || body[1] != 0 {
            return Err(io::Error::other(format!(
                "CONNECT was answered with {kind:#x} {body:?}"
            )));
        }
        Ok(reader)
    }

    /// Subscribes with QoS 1 to the topic, and to the one that tells the end of what was kept.
    pub(super) fn subscribe(mut self) {
        let mut body = vec![0, 1, 0];
        for topic in [self.topic.clone(), self.end_topic()] {
            text(&topic, &mut body);
            body.push(1);
        }
        let answer = self.ask(0x82, &body, 9);
        assert!(answer[3..].iter().all(|reason| *reason == 1), "SUBACK {answer:?}");
    }

    pub(super) fn unsubscribe(mut self) {
        let mut body = vec![0, 1, 0];
        text(&self.topic, &mut body);
        let answer = self.ask(0xa2, &body, 11);
        assert_eq!(answer[3], 0, "UNSUBACK {answer:?}");
    }

    /// Sends a packet and returns the body of the first one of another kind that comes. Messages in between stay in the session: they
    /// are not acknowledged.
    fn ask(&mut self, kind: u8, body: &[u8], answer: u8) -> Vec<u8> {
        self.send(kind, body).expect("ask the broker");
        loop {
            let (kind, body) = self.packet().expect("the broker's answer");
            if kind >> 4 == answer {
                return body;
            }
        }
    }

    /// Whether any session subscribes to another topic, to which a message is sent for it.
    pub(super) fn finds_subscriber(mut self, topic: &str) -> bool {
        const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;
        let mut body = Vec::new();
        text(topic, &mut body);
        body.extend_from_slice(&[0, 1, 0]);
        let answer = self.ask(0x32, &body, 4);
        answer.get(2) != Some(&NO_MATCHING_SUBSCRIBERS)
    }

    fn end_topic(&self) -> String {
        format!("onewrite-reader/{}", self.topic)
    }

    fn send(&mut self, kind: u8, body: &[u8]) -> io::Result<()> {
        let mut packet = vec![kind];
        let mut length = body.len();
        loop {
            let digit = (length % 128) as u8;
            length /= 128;
            packet.push(digit | if length > 0 { 0x80 } else { 0 });
            if length == 0 {
                break;
            }
        }
        packet.extend_from_slice(body);
        self.stream.write_all(&packet)
    }

    fn packet(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut kind = [0];
        self.stream.read_exact(&mut kind)?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            length |= usize::from(byte[0] & 0x7f) << shift;
            shift += 7;
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((kind[0], body))
    }
}

/// Takes everything that was kept for the subscriber: what comes before a message of its own, which it sends now.
pub(super) fn drain(mut reader: Reader) -> Vec<Arrived> {
    let mark = Uuid::new_v4().to_string();
    let mut body = Vec::new();
    text(&reader.end_topic(), &mut body);
    body.extend_from_slice(&[0, 1, 0]);
    body.extend_from_slice(mark.as_bytes());
    reader.send(0x32, &body).expect("send the mark");
    let mut arrived = Vec::new();
    loop {
        let (kind, body) = reader.packet().expect("what was kept for the subscriber");
        if kind >> 4 != 3 {
            continue;
        }
        let message = message(kind, &body);
        let mut acknowledgement = message.id.to_be_bytes().to_vec();
        acknowledgement.push(0);
        reader.send(0x40, &acknowledgement).expect("acknowledge a message");
        if message.topic == reader.topic {
            arrived.push(as_arrived(message));
        } else if message.payload == mark.as_bytes() {
            reader.send(0xe0, &[]).expect("leave the broker");
            // It has taken the acknowledgements when it closes the connection.
            let _ = reader.stream.read_to_end(&mut Vec::new());
            return arrived;
        }
    }
}

fn message(kind: u8, body: &[u8]) -> Message {
    let mut rest = body;
    let topic = take_text(&mut rest);
    let id = if kind & 0x06 == 0 { 0 } else { take_u16(&mut rest) };
    let mut message = Message {
        topic,
        id,
        content_type: None,
        user: Vec::new(),
        payload: Vec::new(),
    };
    let length = take_variable(&mut rest);
    let mut properties;
    (properties, rest) = rest.split_at(length);
    while let Some((property, after)) = properties.split_first() {
        properties = after;
        match property {
            1 => properties = &properties[1..],
            2 => properties = &properties[4..],
            3 => message.content_type = Some(take_text(&mut properties)),
            38 => {
                let name = take_text(&mut properties);
                let value = take_text(&mut properties);
                message.user.push((name, value));
            }
            other => panic!("the message has the property {other}, which no sink gives it"),
        }
    }
    message.payload = rest.to_vec();
    message
}

fn as_arrived(message: Message) -> Arrived {
    let mut headers = BTreeMap::new();
    headers.extend(message.content_type.map(|text| ("content-type".to_owned(), text)));
    for (name, value) in message.user {
        let name = name.to_lowercase();
        let value = if name.starts_with("onewrite-") {
            decoded(&value)
        } else {
            value
        };
        headers.insert(name, value);
    }
    Arrived {
        id: headers["onewrite-id"].parse().expect("a UUID"),
        key: headers.remove("onewrite-key"),
        payload: message.payload,
        headers,
    }
}

/// A text without its percent-encoding.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first == b'%' {
            let digits = std::str::from_utf8(&after[..2]).expect("two digits");
            bytes.push(u8::from_str_radix(digits, 16).expect("two hexadecimal digits"));
            rest = &after[2..];
        } else {
            bytes.push(first);
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}

fn text(text: &str, out: &mut Vec<u8>) {
    let length = u16::try_from(text.len()).expect("a short text");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn take_u16(rest: &mut &[u8]) -> u16 {
    let (number, after) = rest.split_first_chunk().expect("two bytes");
    *rest = after;
    u16::from_be_bytes(*number)
}

fn take_text(rest: &mut &[u8]) -> String {
    let length = usize::from(take_u16(rest));
    let (text, after) = rest.split_at(length);
    *rest = after;
    String::from_utf8(text.to_vec()).expect("a text of MQTT is UTF-8")
}

fn take_variable(rest: &mut &[u8]) -> usize {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (byte, after) = rest.split_first().expect("a length");
        *rest = after;
        value |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return value;
        }
    }
}
