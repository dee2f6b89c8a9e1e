//! The packets of a subscriber to one topic with QoS 1, as which `onewrite verify` reads back (OASIS, MQTT Version 5.0, chapter 3).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use onewrite_core::wire::HEADER_ID;

use super::packet::{Answer, properties, property, read_bytes, text, variable};

/// Subscribes to a topic with QoS 1, but not to what is retained there.
pub(super) fn subscribe(topic: &str, id: u16, out: &mut BytesMut) {
    const QOS_1_WITHOUT_RETAINED: u8 = 0x21;
    out.put_u8(0x82);
    variable(topic.len() + 6, out);
    out.put_u16(id);
    out.put_u8(0);
    text(topic, out);
    out.put_u8(QOS_1_WITHOUT_RETAINED);
}

/// Acknowledges a message of QoS 1.
pub(super) fn acknowledge(id: u16, out: &mut BytesMut) {
    out.put_slice(&[0x40, 2]);
    out.put_u16(id);
}

/// A message of QoS 1 as a subscriber gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Delivered {
    /// By which it is acknowledged.
    pub packet: u16,
    /// The event's id, where the message has one.
    pub event: Option<String>,
    pub payload: Bytes,
}

/// A message; of another QoS than 1 nobody here gets any.
pub(super) fn delivered(first: u8, mut body: Bytes) -> Option<Delivered> {
    let qos = (first >> 1) & 0x03;
    read_bytes(&mut body).filter(|_| qos == 1)?;
    let packet = body.try_get_u16().ok()?;
    let mut event = None;
    properties(&mut body, |property, value| {
        if property == property::USER_PROPERTY && value.name == HEADER_ID {
            event = Some(value.text());
        }
    })?;
    Some(Delivered {
        packet,
        event,
        payload: body,
    })
}

/// The answer for one topic.
pub(super) fn subscribed(mut body: Bytes) -> Option<Answer> {
    let _id = body.try_get_u16().ok()?;
    let mut words = None;
    properties(&mut body, |property, value| {
        if property == property::REASON_STRING {
            words = Some(value.text());
        }
    })?;
    let reason = body.try_get_u8().ok()?;
    Some(Answer { reason, words })
}

#[cfg(test)]
mod tests {
    use super::super::packet::{Incoming, read};
    use super::*;

    fn one(bytes: &[u8]) -> Incoming {
        let read = read(&mut BytesMut::from(bytes), 1_000);
        read.unwrap().unwrap()
    }

    #[test]
    fn a_subscriber_asks_and_is_answered() {
        let mut out = BytesMut::new();
        subscribe("t/1", 1, &mut out);
        acknowledge(258, &mut out);
        assert_eq!(&out[..], b"\x82\x09\0\x01\0\0\x03t/1\x21\x40\x02\x01\x02");
        let granted = |reason, words: Option<&str>| {
            let words = words.map(str::to_owned);
            Incoming::Subscribed(Answer { reason, words })
        };
        assert_eq!(one(&[0x90, 4, 0, 1, 0, 1]), granted(1, None));
        assert_eq!(one(b"\x90\x09\0\x01\x05\x1f\0\x02no\x87"), granted(0x87, Some("no")));
        let message = b"\x32\x22\0\x01t\x01\x02\x13\x26\0\x0bonewrite-id\0\x03abcbody here";
        let delivered = Delivered {
            packet: 258,
            event: Some("abc".to_owned()),
            payload: Bytes::from_static(b"body here"),
        };
        assert_eq!(one(message), Incoming::Message(delivered));
    }
}
