//! The byte stream that the client is given: ours, after the look at what the broker offers, and with an ear for its greeting.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use fe2o3_amqp::types::performatives::Open;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::endpoint;
use crate::limits::AMQP1_GREETING_BYTES;

/// A connection of which the start was already read, and the start of what the client sends already sent.
pub(super) struct Stream {
    inner: Box<dyn endpoint::Stream>,
    /// Read from the broker already, for the client to read again.
    before: Bytes,
    /// Bytes of the client's that were sent already.
    swallow: usize,
    heard: Greeting,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Stream").finish_non_exhaustive()
    }
}

impl Stream {
    pub(super) fn new(inner: Box<dyn endpoint::Stream>, before: Bytes, swallow: usize) -> Self {
        Self {
            inner,
            before,
            swallow,
            heard: Greeting::default(),
        }
    }

    /// What the broker says first, as far as it has said it.
    pub(super) fn greeting(&self) -> Greeting {
        self.heard.clone()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let already = buffer.filled().len();
        if self.before.has_remaining() {
            let now = self.before.len().min(buffer.remaining());
            buffer.put_slice(&self.before.split_to(now));
        } else {
            std::task::ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        }
        self.heard.hear(&buffer.filled()[already..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.swallow > 0 && !bytes.is_empty() {
            let now = self.swallow.min(bytes.len());
            self.swallow -= now;
            return Poll::Ready(Ok(now));
        }
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// The bytes up to the broker's `open`, which the client reads and does not show.
#[derive(Clone, Default)]
pub(super) struct Greeting(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    bytes: Vec<u8>,
    open: Option<Open>,
    enough: bool,
}

impl Greeting {
    fn hear(&self, bytes: &[u8]) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.enough {
            return;
        }
        heard.bytes.extend_from_slice(bytes);
        heard.open = open_in(&heard.bytes);
        heard.enough = heard.open.is_some() || heard.bytes.len() > AMQP1_GREETING_BYTES;
        if heard.enough {
            heard.bytes = Vec::new();
        }
    }

    /// The broker's `open`, once it has come.
    pub(super) fn open(&self) -> Option<Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).open.clone()
    }
}

/// The first frame that is not one of SASL, where it is whole.
fn open_in(mut bytes: &[u8]) -> Option<Open> {
    loop {
        if bytes.starts_with(b"AMQP") {
            bytes = bytes.get(8..)?;
            continue;
        }
        let size = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let frame = bytes.get(..size)?;
        let (offset, kind) = (usize::from(*frame.get(4)?) * 4, *frame.get(5)?);
        match frame.get(offset..) {
            Some(body) if kind == 0 && !body.is_empty() => return serde_amqp::from_slice(body).ok(),
            _ => bytes = &bytes[size.max(8).min(bytes.len())..],
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_open_is_found_behind_sasl() {
        let open = Open {
            container_id: "broker".into(),
            hostname: None,
            max_frame_size: 512.into(),
            channel_max: 1.into(),
            idle_time_out: None,
            outgoing_locales: None,
            incoming_locales: None,
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        };
        let body = serde_amqp::to_vec(&open).unwrap();
        let mut bytes = b"AMQP\x03\x01\x00\x00\x00\x00\x00\x09\x02\x01\x00\x00\x40AMQP\x00\x01\x00\x00".to_vec();
        bytes.extend((u32::try_from(body.len()).unwrap() + 8).to_be_bytes());
        bytes.extend([2, 0, 0, 0]);
        bytes.extend(body);
        let greeting = Greeting::default();
        for byte in &bytes {
            assert!(greeting.open().is_none());
            greeting.hear(&[*byte]);
        }
        assert_eq!(greeting.open(), Some(open));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_fail(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = open_in(&bytes);
        }
    }
}
