//! Reads what a queue holds over AMQP 1.0 and takes nothing out of it: a browser (distribution mode `copy`) that asks for
//! everything by draining its credit. A hundred lines of the protocol's bytes, so that it shares nothing with the sink.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use onewrite_core::wire;

use super::amqp_codec::{Decoder, Value, binary, described, flag, null, string, symbol, ubyte, uint};
use crate::conformance::sink::Arrived;
use crate::wait::PATIENCE;

const FRAME_BYTES: u32 = 1024 * 1024;
/// More than any test puts into a queue.
const CREDIT: u32 = 1_000_000;

/// How long a request to drain may stay unanswered before it is made again.
const ASK_AGAIN: Duration = Duration::from_millis(200);

const OPEN: u8 = 0x10;
const BEGIN: u8 = 0x11;
const ATTACH: u8 = 0x12;
const FLOW: u8 = 0x13;
const TRANSFER: u8 = 0x14;
const CLOSE: u8 = 0x18;

/// Everything that the queue at this address holds, in its order.
///
/// # Panics
/// When the broker refuses or does not answer.
pub fn read_all(port: u16, user: &str, password: &str, address: &str) -> Vec<Arrived> {
    let mut reader = Reader::connect(port, user, password);
    reader.attach(address);
    reader.drain().iter().map(|body| arrived(body)).collect()
}

struct Reader {
    stream: TcpStream,
    address: String,
    /// Frames of messages received so far.
    transfers: u32,
    /// The link's delivery count.
    deliveries: u32,
    messages: Vec<Vec<u8>>,
    /// What has come of a message whose end has not.
    partial: Vec<u8>,
}

impl Reader {
    fn connect(port: u16, user: &str, password: &str) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("connect to the broker");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        let mut reader = Self {
            stream,
            address: String::new(),
            transfers: 0,
            deliveries: 0,
            messages: Vec::new(),
            partial: Vec::new(),
        };
        reader.header(3);
        let (_, mechanisms, _) = reader.frame();
        assert_eq!(mechanisms, 0x40, "the broker offers its mechanisms");
        let response = format!("\0{user}\0{password}");
        let init = described(
            0x41,
            &[symbol("PLAIN"), binary(response.as_bytes()), string("localhost")],
        );
        reader.send(1, &init);
        let (fields, outcome, _) = reader.frame();
        assert_eq!(
            (outcome, fields.field(0).number()),
            (0x44, Some(0)),
            "PLAIN is accepted"
        );
        reader.header(0);
        // Classic lets no two connections have one name.
        let name = format!("onewrite-testkit-{}", uuid::Uuid::new_v4());
        let open = described(OPEN, &[string(&name), string("localhost"), uint(FRAME_BYTES)]);
        reader.send(0, &open);
        reader.expect(OPEN);
        // Windows that never close.
        let window = uint(i32::MAX.cast_unsigned());
        reader.send(0, &described(BEGIN, &[null(), uint(0), window.clone(), window]));
        reader.expect(BEGIN);
        reader
    }

    /// A link that receives, settled when sent: nothing has to be acknowledged.
    fn attach(&mut self, address: &str) {
        self.address = address.to_owned();
        let target = described(0x29, &[string("onewrite-testkit")]);
        let attach = described(
            ATTACH,
            &[
                string("onewrite-testkit-browser"),
                uint(0),
                flag(true),
                ubyte(1),
                ubyte(0),
                source(address),
                target,
            ],
        );
        self.send(0, &attach);
        let attached = self.expect(ATTACH);
        if *attached.field(5) == Value::Null {
            let refusal = self.frame();
            panic!("the broker does not let {address} be browsed: {refusal:?}");
        }
    }

    /// The messages' bytes. Artemis calls its credit drained when it has nothing at hand, and overlooks a request that comes
    /// just then; so it is asked again until it has answered twice that there is nothing. It does so between the frames of a large
    /// message, too, whose others it sends when it is given credit again.
    fn drain(mut self) -> Vec<Vec<u8>> {
        let mut nothing = 0;
        while nothing < 2 || !self.partial.is_empty() {
            let before = self.transfers;
            self.drain_once();
            nothing = if self.transfers == before { nothing + 1 } else { 0 };
        }
        self.send(0, &described(CLOSE, &[]));
        self.messages
    }

    fn drain_once(&mut self) {
        let window = uint(i32::MAX.cast_unsigned());
        let mut fields = vec![uint(self.transfers), window.clone(), uint(0), window, uint(0)];
        fields.extend([uint(self.deliveries), uint(CREDIT), null(), flag(true)]);
        let flow = described(FLOW, &fields);
        self.send(0, &flow);
        let deadline = Instant::now() + PATIENCE / 4;
        loop {
            while !self.has_more() {
                assert!(
                    Instant::now() < deadline,
                    "reading {}: no answer in {PATIENCE:?}",
                    self.address
                );
                self.send(0, &flow);
            }
            let (fields, performative, payload) = self.frame();
            match performative {
                TRANSFER => {
                    self.transfers += 1;
                    self.partial.extend(payload);
                    if *fields.field(5) != Value::Bool(true) {
                        self.messages.push(std::mem::take(&mut self.partial));
                        self.deliveries = self.deliveries.wrapping_add(1);
                    }
                }
                // Of the link, and no credit is left: that was all.
                FLOW if fields.field(4).number().is_some() && fields.field(6).number().unwrap_or(0) == 0 => {
                    // Credit that was drained counts like deliveries.
                    let count = fields.field(5).number().expect("a link's flow has its delivery count");
                    self.deliveries = u32::try_from(count).expect("a delivery count");
                    return;
                }
                FLOW => {}
                other => panic!("reading {}: performative {other:#x}, {fields:?}", self.address),
            }
        }
    }

    /// Whether the broker says something before it should be asked again.
    fn has_more(&self) -> bool {
        self.stream.set_read_timeout(Some(ASK_AGAIN)).expect("a timeout");
        let more = self.stream.peek(&mut [0]).is_ok();
        self.stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        more
    }

    fn expect(&mut self, performative: u8) -> Value {
        let (fields, found, _) = self.frame();
        assert_eq!(found, performative, "{fields:?}");
        fields
    }

    fn header(&mut self, protocol: u8) {
        let header = [b'A', b'M', b'Q', b'P', protocol, 1, 0, 0];
        self.stream.write_all(&header).expect("write a header");
        let mut answer = [0; 8];
        self.stream.read_exact(&mut answer).expect("read a header");
        assert_eq!(answer, header, "the broker speaks AMQP 1.0");
    }

    fn send(&mut self, kind: u8, body: &[u8]) {
        let mut frame = (u32::try_from(body.len()).expect("a short frame") + 8)
            .to_be_bytes()
            .to_vec();
        frame.extend([2, kind, 0, 0]);
        frame.extend(body);
        self.stream.write_all(&frame).expect("write a frame");
    }

    /// The next frame that is not empty: its fields, its performative, and what follows it.
    fn frame(&mut self) -> (Value, u8, Vec<u8>) {
        loop {
            let mut size = [0; 4];
            self.stream.read_exact(&mut size).expect("read a frame");
            let mut frame = vec![0; u32::from_be_bytes(size) as usize - 4];
            self.stream.read_exact(&mut frame).expect("read a frame");
            let body = &frame[usize::from(frame[0]) * 4 - 4..];
            if body.is_empty() {
                continue;
            }
            let mut decoder = Decoder(body);
            let Value::Described(descriptor, fields) = decoder.value() else {
                panic!("a frame without a performative");
            };
            let performative = u8::try_from(descriptor).expect("a performative");
            return (*fields, performative, decoder.0.to_vec());
        }
    }
}

/// A source: a queue to be browsed.
fn source(address: &str) -> Vec<u8> {
    let mut fields = vec![
        string(address),
        uint(0),
        symbol("session-end"),
        uint(0),
        flag(false),
        null(),
    ];
    fields.extend([symbol("copy"), null(), null(), null(), symbol("queue")]);
    described(0x28, &fields)
}

/// A message as core's wire has it, put together from AMQP's own properties and the application's.
fn arrived(message: &[u8]) -> Arrived {
    let mut decoder = Decoder(message);
    let mut headers = BTreeMap::new();
    let mut payload = Vec::new();
    let mut put = |name: &str, value: &Value| {
        if let Some(value) = value.text() {
            headers.insert(name.to_ascii_lowercase(), value);
        }
    };
    while !decoder.0.is_empty() {
        match decoder.value() {
            Value::Described(0x73, properties) => {
                put(wire::HEADER_ID, properties.field(0));
                put(wire::HEADER_TYPE, properties.field(3));
                put(wire::HEADER_CONTENT_TYPE, properties.field(6));
            }
            Value::Described(0x74, properties) => {
                let Value::Map(pairs) = *properties else { continue };
                for (name, value) in &pairs {
                    put(&name.text().expect("a name"), value);
                }
            }
            Value::Described(0x75, data) => {
                if let Value::Bytes(bytes) = *data {
                    payload.extend(bytes);
                }
            }
            _ => {}
        }
    }
    let id = headers.get(wire::HEADER_ID).expect("a message has an id");
    Arrived {
        id: id.parse().expect("a UUID"),
        key: headers.remove(wire::HEADER_KEY),
        payload,
        headers,
    }
}
