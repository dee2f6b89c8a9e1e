//! The packets of MQTT 5 that a publisher writes and reads (OASIS, MQTT Version 5.0, chapters 2 and 3); those of a subscriber stand apart.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::subscriber::{Delivered, delivered, subscribed};
use crate::limits::MQTT_TEXT_BYTES_MAX;

/// "The connection is accepted", and the like.
pub(super) const SUCCESS: u8 = 0x00;
/// Taken, but nobody subscribes to the topic.
pub(super) const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;
/// The client may not do this.
pub(super) const NOT_AUTHORIZED: u8 = 0x87;

/// Properties' identifiers, chapter 2.2.2.2.
pub(super) mod property {
    pub const PAYLOAD_FORMAT: u8 = 1;
    pub const MESSAGE_EXPIRY: u8 = 2;
    pub const CONTENT_TYPE: u8 = 3;
    pub const SESSION_EXPIRY: u8 = 17;
    pub const SERVER_KEEP_ALIVE: u8 = 19;
    pub const REASON_STRING: u8 = 31;
    pub const RECEIVE_MAXIMUM: u8 = 33;
    pub const MAXIMUM_QOS: u8 = 36;
    pub const RETAIN_AVAILABLE: u8 = 37;
    pub const USER_PROPERTY: u8 = 38;
    pub const MAXIMUM_PACKET_SIZE: u8 = 39;
}

/// How much a session has to do with other connections of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifetime {
    /// Whether what the broker keeps of an earlier session is thrown away first.
    pub clean_start: bool,
    /// For how many seconds the broker keeps the session after its connection.
    pub expiry: u32,
}

impl Lifetime {
    /// A session without a past, which ends with its connection.
    pub(super) const OF_THE_CONNECTION: Self = Self {
        clean_start: true,
        expiry: 0,
    };
}

/// A packet that begins a session.
pub(super) fn connect(
    client_id: &str,
    (user, password): (Option<&str>, Option<&str>),
    keep_alive: u16,
    lifetime: Lifetime,
    out: &mut BytesMut,
) {
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let flags = flag(lifetime.clean_start, 0x02) | flag(user.is_some(), 0x80) | flag(password.is_some(), 0x40);
    let mut body = BytesMut::new();
    text("MQTT", &mut body);
    body.put_u8(5);
    body.put_u8(flags);
    body.put_u16(keep_alive);
    // Without more properties the broker may use no topic aliases; without this one the session's expiry is 0.
    if lifetime.expiry > 0 {
        body.put_slice(&[5, property::SESSION_EXPIRY]);
        body.put_u32(lifetime.expiry);
    } else {
        body.put_u8(0);
    }
    for part in [Some(client_id), user, password].into_iter().flatten() {
        text(part, &mut body);
    }
    out.put_u8(0x10);
    variable(body.len(), out);
    out.put(body);
}

/// Asks for a sign of life.
pub(super) fn ping(out: &mut BytesMut) {
    out.put_slice(&[0xc0, 0]);
}

/// Ends the session in order.
pub(super) fn disconnect(out: &mut BytesMut) {
    out.put_slice(&[0xe0, 0]);
}

/// Releases a message of QoS 2, whose receipt was acknowledged.
pub(super) fn release(id: u16, out: &mut BytesMut) {
    out.put_slice(&[0x62, 2]);
    out.put_u16(id);
}

/// A message, all but its packet identifier.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// With the flags of QoS and retaining.
    first: u8,
    topic: Bytes,
    /// With their length.
    properties: Bytes,
    payload: Bytes,
}

impl Message {
    pub(super) fn new(topic: &str, qos: u8, retain: bool, properties: &Properties, payload: Bytes) -> Self {
        let mut named = BytesMut::with_capacity(topic.len() + 2);
        text(topic, &mut named);
        let mut counted = BytesMut::with_capacity(properties.0.len() + 4);
        variable(properties.0.len(), &mut counted);
        counted.put_slice(&properties.0);
        Self {
            first: 0x30 | (qos << 1) | u8::from(retain),
            topic: named.freeze(),
            properties: counted.freeze(),
            payload,
        }
    }

    /// The whole packet's length in bytes.
    pub(super) fn size(&self) -> usize {
        let rest = self.rest();
        let mut length = BytesMut::new();
        variable(rest, &mut length);
        1 + length.len() + rest
    }

    pub(super) fn write(&self, id: u16, out: &mut BytesMut) {
        out.reserve(self.size());
        out.put_u8(self.first);
        variable(self.rest(), out);
        out.put_slice(&self.topic);
        out.put_u16(id);
        out.put_slice(&self.properties);
        out.put_slice(&self.payload);
    }

    fn rest(&self) -> usize {
        self.topic.len() + 2 + self.properties.len() + self.payload.len()
    }
}

/// The properties of a message.
#[derive(Debug, Default)]
pub(super) struct Properties(BytesMut);

impl Properties {
    /// Says that the payload is UTF-8.
    pub(super) fn payload_is_text(&mut self) {
        self.0.put_slice(&[property::PAYLOAD_FORMAT, 1]);
    }

    /// After how many seconds nobody gets the message any more.
    pub(super) fn expiry(&mut self, seconds: u32) {
        self.0.put_u8(property::MESSAGE_EXPIRY);
        self.0.put_u32(seconds);
    }

    /// The payload's media type. `false`: it is too long.
    pub(super) fn content_type(&mut self, content_type: &str) -> bool {
        self.texts(property::CONTENT_TYPE, &[content_type])
    }

    /// A header. `false`: it is too long.
    pub(super) fn user(&mut self, name: &str, value: &str) -> bool {
        self.texts(property::USER_PROPERTY, &[name, value])
    }

    fn texts(&mut self, property: u8, texts: &[&str]) -> bool {
        let fits = texts.iter().all(|text| text.len() <= MQTT_TEXT_BYTES_MAX);
        if fits {
            self.0.put_u8(property);
            texts.iter().for_each(|each| text(each, &mut self.0));
        }
        fits
    }
}

/// A packet from a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// The answer to [`connect`].
    Connected(Connected),
    /// The answer to a message or to a release.
    Acknowledged { of: Stage, id: u16, answer: Answer },
    /// The answer to [`ping`].
    Pong,
    /// The broker ends the connection.
    Disconnected(Answer),
    /// The answer to [`subscribe`](super::subscriber::subscribe): the granted QoS, or why there is none.
    Subscribed(Answer),
    /// A message to a subscriber.
    Message(Delivered),
}

/// What is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// A message of QoS 1.
    Published,
    /// The receipt of a message of QoS 2.
    Received,
    /// A message of QoS 2.
    Completed,
}

/// A reason code, and the broker's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub reason: u8,
    pub words: Option<String>,
}

/// What a broker says of itself when a session begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Connected {
    pub answer: Answer,
    /// Whether the broker had kept the session.
    pub session_present: bool,
    /// For how many seconds it keeps it, where it does so for less than it was asked.
    pub session_expiry: Option<u32>,
    /// Messages that may be under way.
    pub receive_maximum: u16,
    /// Bytes of the largest packet that it takes.
    pub maximum_packet: Option<u32>,
    pub maximum_qos: u8,
    pub retains: bool,
    /// Seconds, where the broker wants other ones than it was told.
    pub keep_alive: Option<u16>,
}

/// What came is no packet that a broker may send.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker sent {0}, which is no packet of MQTT 5 that is expected of it")]
pub(super) struct Malformed(String);

/// Takes the next whole packet off the buffer, if there is one. One of more bytes than `most` is none.
pub(super) fn read(buffer: &mut BytesMut, most: usize) -> Result<Option<Incoming>, Malformed> {
    let Some((&first, rest)) = buffer.split_first() else {
        return Ok(None);
    };
    let mut length = 0;
    let mut digits = 0;
    loop {
        let Some(byte) = rest.get(digits) else { return Ok(None) };
        length |= usize::from(byte & 0x7f) << (7 * digits);
        digits += 1;
        if byte & 0x80 == 0 {
            break;
        }
        if digits == 4 {
            return Err(Malformed("a length of more than four bytes".to_owned()));
        }
    }
    if length > most {
        return Err(Malformed(format!("{length} bytes at once")));
    }
    if rest.len() < digits + length {
        return Ok(None);
    }
    buffer.advance(1 + digits);
    let body = buffer.split_to(length).freeze();
    let packet = packet(first, body);
    packet
        .map(Some)
        .ok_or_else(|| Malformed(format!("a packet of type {}", first >> 4)))
}

fn packet(first: u8, mut body: Bytes) -> Option<Incoming> {
    let stage = match first >> 4 {
        2 => return connected(body).map(Incoming::Connected),
        3 => return delivered(first, body).map(Incoming::Message),
        4 => Stage::Published,
        5 => Stage::Received,
        7 => Stage::Completed,
        9 => return subscribed(body).map(Incoming::Subscribed),
        13 => return Some(Incoming::Pong),
        14 => return answer(body).map(Incoming::Disconnected),
        _ => return None,
    };
    let id = body.try_get_u16().ok()?;
    Some(Incoming::Acknowledged {
        of: stage,
        id,
        answer: answer(body)?,
    })
}

/// A reason and properties, which may both be left out where all is well.
fn answer(mut body: Bytes) -> Option<Answer> {
    let mut answer = Answer {
        reason: body.try_get_u8().unwrap_or(SUCCESS),
        words: None,
    };
    if body.has_remaining() {
        properties(&mut body, |property, value| {
            if property == property::REASON_STRING {
                answer.words = Some(value.text());
            }
        })?;
    }
    Some(answer)
}

fn connected(mut body: Bytes) -> Option<Connected> {
    let session_present = body.try_get_u8().ok()? & 1 == 1;
    let mut connected = Connected {
        session_present,
        session_expiry: None,
        answer: Answer {
            reason: body.try_get_u8().ok()?,
            words: None,
        },
        receive_maximum: u16::MAX,
        maximum_packet: None,
        maximum_qos: 2,
        retains: true,
        keep_alive: None,
    };
    // A broker of an older version refuses without properties.
    if body.has_remaining() {
        properties(&mut body, |property, value| match property {
            property::SESSION_EXPIRY => connected.session_expiry = Some(value.number()),
            property::REASON_STRING => connected.answer.words = Some(value.text()),
            property::RECEIVE_MAXIMUM => connected.receive_maximum = value.number() as u16,
            property::MAXIMUM_PACKET_SIZE => connected.maximum_packet = Some(value.number()),
            property::MAXIMUM_QOS => connected.maximum_qos = value.number() as u8,
            property::RETAIN_AVAILABLE => connected.retains = value.number() != 0,
            property::SERVER_KEEP_ALIVE => connected.keep_alive = Some(value.number() as u16),
            _ => {}
        })?;
    }
    Some(connected)
}

/// A property's value.
pub(super) struct PropertyValue {
    /// Of a user property.
    pub name: Bytes,
    number: u32,
    bytes: Bytes,
}

impl PropertyValue {
    fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// Takes the properties off and calls `found` with each; `None` where they cannot be read. The identifiers are grouped by the shape of their values.
pub(super) fn properties(body: &mut Bytes, mut found: impl FnMut(u8, &PropertyValue)) -> Option<()> {
    let length = read_variable(body)?;
    if body.remaining() < length {
        return None;
    }
    let mut all = body.split_to(length);
    while all.has_remaining() {
        let property = all.get_u8();
        let (mut name, mut number, mut bytes) = (Bytes::new(), 0, Bytes::new());
        match property {
            1 | 23 | 25 | 36 | 37 | 40 | 41 | 42 => number = u32::from(all.try_get_u8().ok()?),
            19 | 33 | 34 | 35 => number = u32::from(all.try_get_u16().ok()?),
            2 | 17 | 24 | 39 => number = all.try_get_u32().ok()?,
            11 => number = u32::try_from(read_variable(&mut all)?).ok()?,
            3 | 8 | 9 | 18 | 21 | 22 | 26 | 28 | 31 => bytes = read_bytes(&mut all)?,
            38 => {
                name = read_bytes(&mut all)?;
                bytes = read_bytes(&mut all)?;
            }
            _ => return None,
        }
        found(property, &PropertyValue { name, number, bytes });
    }
    Some(())
}

pub(super) fn read_bytes(body: &mut Bytes) -> Option<Bytes> {
    let length = usize::from(body.try_get_u16().ok()?);
    (body.remaining() >= length).then(|| body.split_to(length))
}

fn read_variable(body: &mut Bytes) -> Option<usize> {
    let mut value = 0;
    for digit in 0..4 {
        let byte = body.try_get_u8().ok()?;
        value |= usize::from(byte & 0x7f) << (7 * digit);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

pub(super) fn variable(mut value: usize, out: &mut BytesMut) {
    loop {
        let digit = (value % 128) as u8;
        value /= 128;
        out.put_u8(digit | if value > 0 { 0x80 } else { 0 });
        if value == 0 {
            return;
        }
    }
}

/// A text that is short enough, as the callers have seen to.
pub(super) fn text(text: &str, out: &mut BytesMut) {
    debug_assert!(text.len() <= MQTT_TEXT_BYTES_MAX);
    out.put_u16(text.len() as u16);
    out.put_slice(text.as_bytes());
}

/// Any bytes are packets or malformed; a packet holds no more than the bytes that it was made from, which are gone.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let mut buffer = BytesMut::from(bytes);
    loop {
        let before = buffer.len();
        let Ok(Some(packet)) = read(&mut buffer, 1_000) else {
            return;
        };
        let taken = before - buffer.len();
        assert!(taken >= 2);
        let (Incoming::Connected(Connected { answer, .. })
        | Incoming::Acknowledged { answer, .. }
        | Incoming::Disconnected(answer)) = packet
        else {
            continue;
        };
        // A byte that is not UTF-8 becomes a character of three.
        assert!(answer.words.as_ref().is_none_or(|words| words.len() < 3 * taken));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(bytes: &[u8]) -> Result<Option<Incoming>, Malformed> {
        read(&mut BytesMut::from(bytes), 1_000)
    }

    #[test]
    fn a_message_is_written_as_the_standard_has_it() {
        let mut properties = Properties::default();
        properties.payload_is_text();
        properties.expiry(60);
        assert!(properties.content_type("a/b") && properties.user("n", "v"));
        assert!(!properties.user("n", &"v".repeat(65_536)));
        let message = Message::new("t/1", 1, true, &properties, Bytes::from_static(b"body"));
        let mut out = BytesMut::new();
        message.write(7, &mut out);
        let expected = [
            &[0x33, 32][..],
            &[0, 3, b't', b'/', b'1', 0, 7, 20],
            &[
                1, 1, 2, 0, 0, 0, 60, 3, 0, 3, b'a', b'/', b'b', 38, 0, 1, b'n', 0, 1, b'v',
            ],
            b"body",
        ]
        .concat();
        assert_eq!((&out[..], message.size()), (&expected[..], expected.len()));
    }

    #[test]
    fn a_session_begins_with_or_without_a_past() {
        let mut out = BytesMut::new();
        connect("c", (Some("u"), Some("p")), 30, Lifetime::OF_THE_CONNECTION, &mut out);
        let expected = b"\x10\x14\0\x04MQTT\x05\xc2\0\x1e\0\0\x01c\0\x01u\0\x01p";
        assert_eq!(&out[..], expected);
        out.clear();
        let kept = Lifetime {
            clean_start: false,
            expiry: 258,
        };
        connect("c", (None, None), 30, kept, &mut out);
        assert_eq!(&out[..], b"\x10\x13\0\x04MQTT\x05\0\0\x1e\x05\x11\0\0\x01\x02\0\x01c");
    }

    #[test]
    fn what_a_broker_says_is_read() {
        let connack = [0x20, 15, 0, 0, 12, 33, 0, 20, 39, 0, 0, 4, 0, 36, 1, 37, 0];
        let Some(Incoming::Connected(connected)) = one(&connack).unwrap() else {
            panic!("it is CONNACK");
        };
        assert_eq!(
            (
                connected.receive_maximum,
                connected.maximum_packet,
                connected.maximum_qos,
                connected.retains
            ),
            (20, Some(1024), 1, false)
        );
        // A broker of an older version.
        let Some(Incoming::Connected(old)) = one(&[0x20, 2, 0, 1]).unwrap() else {
            panic!("it is CONNACK");
        };
        assert_eq!(old.answer.reason, 1);
        let acknowledged = |of, id, reason, words: Option<&str>| {
            let words = words.map(str::to_owned);
            let answer = Answer { reason, words };
            Some(Incoming::Acknowledged { of, id, answer })
        };
        assert_eq!(
            one(&[0x40, 2, 1, 2]).unwrap(),
            acknowledged(Stage::Published, 258, 0, None)
        );
        assert_eq!(
            one(&[0x50, 3, 0, 2, 0x95]).unwrap(),
            acknowledged(Stage::Received, 2, 0x95, None)
        );
        assert_eq!(
            one(&[0x70, 9, 0, 2, 0x80, 5, 31, 0, 2, b'n', b'o']).unwrap(),
            acknowledged(Stage::Completed, 2, 0x80, Some("no"))
        );
        assert_eq!(one(&[0xd0, 0]).unwrap(), Some(Incoming::Pong));
        for part in [&[][..], &[0x40], &[0x40, 2, 1]] {
            assert_eq!(one(part).unwrap(), None);
        }
        for wrong in [
            &[0x30, 0][..],
            &[0x40, 0xff, 0xff, 0xff, 0xff, 1],
            &[0x40, 4, 0, 1, 0, 9],
        ] {
            assert!(one(wrong).is_err());
        }
    }
}
