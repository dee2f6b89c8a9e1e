//! Frames: what a connection of AMQP 0-9-1 is made of.

use std::io;

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, WriteContext, gen_frame, parse_frame};
use amq_protocol::protocol::{AMQPClass, BasicProperties};
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::limits::AMQP_NESTING_MAX;

/// Type, channel and length before the payload, and one byte behind it.
pub const FRAME_OVERHEAD: usize = 8;

/// The class `basic`, as content headers name it.
const BASIC: u16 = 60;

const FRAME_BODY: u8 = 3;
const FRAME_END: u8 = 0xce;

/// Adds a method.
pub fn put_method(out: &mut Vec<u8>, channel: u16, method: AMQPClass) {
    put(out, &AMQPFrame::Method(channel, method));
}

/// Adds a heartbeat.
pub fn put_heartbeat(out: &mut Vec<u8>) {
    put(out, &AMQPFrame::Heartbeat);
}

/// Adds the header of a message and returns the frame's length, which must not be more than was agreed: it cannot be split.
pub fn put_header(out: &mut Vec<u8>, channel: u16, properties: BasicProperties, body_size: usize) -> usize {
    let before = out.len();
    let header = AMQPContentHeader {
        class_id: BASIC,
        body_size: body_size as u64,
        properties,
    };
    put(out, &AMQPFrame::Header(channel, header));
    out.len() - before
}

/// Adds the body of a message, in frames of at most `frame_max` bytes.
pub fn put_body(out: &mut Vec<u8>, channel: u16, body: &[u8], frame_max: usize) {
    for part in body.chunks(frame_max - FRAME_OVERHEAD) {
        out.push(FRAME_BODY);
        out.extend(channel.to_be_bytes());
        // A frame's length is a number of 32 bits when it is agreed.
        out.extend((part.len() as u32).to_be_bytes());
        out.extend(part);
        out.push(FRAME_END);
    }
}

fn put(out: &mut Vec<u8>, frame: &AMQPFrame) {
    let written = gen_frame(frame)(WriteContext::from(std::mem::take(out)));
    // It fails only where a writer does, and memory does not.
    *out = written.expect("memory takes every frame").into_inner().0;
}

/// Reads frames.
pub struct Frames {
    buffer: BytesMut,
    frame_max: usize,
}

impl Frames {
    /// Nothing is read yet. Until more is agreed, a frame has at most so many bytes.
    pub fn new(frame_max: usize) -> Self {
        Self {
            buffer: BytesMut::with_capacity(64 * 1024),
            frame_max,
        }
    }

    /// Notes what was agreed.
    pub fn set_frame_max(&mut self, frame_max: usize) {
        self.frame_max = frame_max;
    }

    /// The next frame; `None` when the other side has closed the connection.
    pub async fn next(&mut self, from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<AMQPFrame>> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(Some(frame));
            }
            if from.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// A frame, if all of it has been read.
    fn take(&mut self) -> io::Result<Option<AMQPFrame>> {
        let malformed = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        if self.buffer.starts_with(b"AMQP") {
            let what = "the server speaks another version of AMQP than 0-9-1";
            return Err(malformed(what.to_owned()));
        }
        let Some((start, _)) = self.buffer.split_first_chunk::<7>() else {
            return Ok(None);
        };
        if !matches!(start[0], 1..=3 | 8) {
            return Err(malformed("what the server sends is not AMQP 0-9-1".to_owned()));
        }
        let length = u32::from_be_bytes([start[3], start[4], start[5], start[6]]) as usize + FRAME_OVERHEAD;
        if length > self.frame_max {
            let what = format!("a frame of {length} bytes, and at most {} were agreed", self.frame_max);
            return Err(malformed(what));
        }
        if self.buffer.len() < length {
            return Ok(None);
        }
        // The parser calls itself for each.
        if start[0] != FRAME_BODY && nesting(&self.buffer[7..length]) > AMQP_NESTING_MAX {
            let what = format!("a frame with more than {AMQP_NESTING_MAX} lists and tables in one another");
            return Err(malformed(what));
        }
        let parsed = parse_frame(&self.buffer[..length]).map(|(_, frame)| frame);
        let frame = parsed.map_err(|error| malformed(format!("a frame that makes no sense: {error:?}")))?;
        self.buffer.advance(length);
        Ok(Some(frame))
    }
}

/// How many lists and tables stand in one another at the most. Nothing is read for it: whatever looks like the beginning of one counts
/// until where it would end, so that none can hide.
fn nesting(bytes: &[u8]) -> usize {
    let mut ends = vec![0; bytes.len() + 1];
    let (mut open, mut most) = (0, 0);
    for at in 0..bytes.len() {
        open -= ends[at];
        let [b'A' | b'F', rest @ ..] = &bytes[at..] else {
            continue;
        };
        let Some(length) = rest.first_chunk::<4>() else {
            continue;
        };
        let end = at + 5 + u32::from_be_bytes(*length) as usize;
        if let Some(ends) = ends.get_mut(end) {
            *ends += 1;
            open += 1;
            most = most.max(open);
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_body_comes_back_whole_whatever_the_frames(body in prop::collection::vec(any::<u8>(), 0..400), size in 9_usize..200) {
            let mut bytes = Vec::new();
            put_body(&mut bytes, 3, &body, size);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let read = runtime.block_on(async {
                let (mut frames, mut from, mut read) = (Frames::new(size), &bytes[..], Vec::new());
                while let Some(frame) = frames.next(&mut from).await.unwrap() {
                    let AMQPFrame::Body(3, part) = frame else { panic!("{frame:?}") };
                    read.extend(part);
                }
                read
            });
            prop_assert_eq!(read, body);
        }
    }

    /// A list in a list in a list: thousands of them fit into a frame, and reading them would take more stack than a thread has.
    #[test]
    fn lists_without_end_in_one_another_are_refused() {
        let levels = 20_000_u32;
        let lists = (0..levels).flat_map(|level| [&b"A"[..], &(5 * (levels - 1 - level)).to_be_bytes()].concat());
        let table = [b"\x01x".to_vec(), lists.collect()].concat();
        let length = u32::try_from(table.len()).unwrap();
        // The class basic, no weight, no body, and of the properties the headers alone.
        let header = [
            &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 0][..],
            &length.to_be_bytes(),
            &table,
        ]
        .concat();
        let length = u32::try_from(header.len()).unwrap();
        let frame = [&[2, 0, 1][..], &length.to_be_bytes(), &header, &[FRAME_END]].concat();
        let mut frames = Frames::new(frame.len());
        let error = futures::executor::block_on(frames.next(&mut &frame[..])).unwrap_err();
        assert!(error.to_string().contains("in one another"), "{error}");
    }
}
