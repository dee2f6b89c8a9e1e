//! Standard output as a sink.

use std::io::{self, Write};
use std::sync::Arc;

use async_trait::async_trait;
use onewrite_core::error::SinkError;
use onewrite_core::sink::Finding;
use onewrite_core::verify::ReadBack;
use onewrite_core::{DeliveryReport, Event, Sink, SinkConnector};

use super::{failure, lines};

/// A stream that lines go to. There is one in a process, and it cannot be opened anew.
struct Stream {
    name: &'static str,
    out: Box<dyn Write + Send>,
    /// Whether a failed write may have left part of a line behind.
    torn: bool,
}

impl Stream {
    fn append(&mut self, lines: &[u8]) -> Result<(), SinkError> {
        let torn = std::mem::replace(&mut self.torn, true);
        // What came before is ended first, so that it spoils its own line and not the next.
        let ended = if torn { self.out.write_all(b"\n") } else { Ok(()) };
        ended
            .and_then(|()| self.out.write_all(lines))
            .and_then(|()| self.out.flush())
            .map_err(|error| failure(&format!("cannot write to {}", self.name), error))?;
        self.torn = false;
        Ok(())
    }
}

/// Hands out sinks that share one stream.
pub(super) struct StreamConnector(Arc<tokio::sync::Mutex<Stream>>);

impl StreamConnector {
    pub(super) fn stdout() -> Self {
        Self::new("standard output", Box::new(io::stdout()))
    }

    fn new(name: &'static str, out: Box<dyn Write + Send>) -> Self {
        Self(Arc::new(tokio::sync::Mutex::new(Stream { name, out, torn: false })))
    }
}

#[async_trait]
impl SinkConnector for StreamConnector {
    fn kind(&self) -> &'static str {
        "stdout"
    }

    fn writes_documents(&self) -> bool {
        true
    }

    async fn connect(&self) -> Result<Box<dyn Sink>, SinkError> {
        Ok(Box::new(StreamSink(Arc::clone(&self.0))))
    }

    fn read_back(&self) -> Result<Box<dyn ReadBack>, &'static str> {
        Err("what was written to a stream belongs to whoever reads it")
    }

    async fn probe(&self, _topics: &[String]) -> Vec<Finding> {
        vec![Finding::works(
            "standard output",
            "JSON lines go there; an event counts as delivered once it is handed to the operating system",
        )]
    }
}

struct StreamSink(Arc<tokio::sync::Mutex<Stream>>);

#[async_trait]
impl Sink for StreamSink {
    async fn deliver(&self, batch: &[Event], report: &mut DeliveryReport) -> Result<(), SinkError> {
        let events = batch.to_vec();
        // The guard goes with the write: where this call is cancelled, the next one waits until the write has ended.
        let mut stream = Arc::clone(&self.0).lock_owned().await;
        let written = tokio::task::spawn_blocking(move || stream.append(&lines(&events))).await;
        written.map_err(|error| SinkError::reconnect("the write broke off").because(error))??;
        (0..batch.len()).for_each(|index| report.delivered(index));
        Ok(())
    }

    async fn close(&self) -> Result<(), SinkError> {
        // Waiting for the lock is waiting for the write under way; the process's own output is not ours to close.
        drop(self.0.lock().await);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use onewrite_core::{Action, Outcome};

    use super::*;

    fn event() -> Event {
        Event {
            id: uuid::Uuid::from_u128(1),
            topic: "t".into(),
            key: None,
            event_type: None,
            payload: bytes::Bytes::from_static(b"{}"),
            content_type: "application/json".into(),
            headers: Vec::new(),
            occurred_at: jiff::Timestamp::UNIX_EPOCH,
            replay: None,
            headers_complete: false,
            verbatim: None,
        }
    }

    #[tokio::test]
    async fn lines_arrive_and_a_reader_that_went_away_halts_the_route() {
        let (mut reader, writer) = io::pipe().unwrap();
        let connector = StreamConnector::new("a pipe", Box::new(writer));
        let sink = connector.connect().await.unwrap();
        let mut report = DeliveryReport::new(1);
        sink.deliver(&[event()], &mut report).await.unwrap();
        assert!(matches!(report.outcome(0), Outcome::Delivered));
        let mut line = [0; 10];
        reader.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"{\"id\":\"000");
        drop(reader);
        let mut report = DeliveryReport::new(1);
        let error = sink.deliver(&[event()], &mut report).await.unwrap_err();
        assert_eq!(error.action, Action::Halt);
        assert!(matches!(report.outcome(0), Outcome::Unknown));
        sink.close().await.unwrap();
        sink.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_full_device_is_waited_for() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let sink = StreamConnector::new("/dev/full", Box::new(full))
            .connect()
            .await
            .unwrap();
        let mut report = DeliveryReport::new(1);
        let error = sink.deliver(&[event()], &mut report).await.unwrap_err();
        assert_eq!(error.action, Action::Retry { after: None });
    }

    /// Takes seven bytes, then fails once, then takes everything.
    struct Hiccup(Arc<std::sync::Mutex<(Vec<u8>, bool)>>);

    impl Write for Hiccup {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut state = self.0.lock().unwrap();
            if !state.1 && state.0.len() == 7 {
                state.1 = true;
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let taken = if state.1 { bytes.len() } else { 7 };
            state.0.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn part_of_a_line_spoils_no_other_line() {
        let state = Arc::default();
        let mut stream = Stream {
            name: "a terminal",
            out: Box::new(Hiccup(Arc::clone(&state))),
            torn: false,
        };
        assert_eq!(stream.append(b"0123456789\n").unwrap_err().action, Action::Reconnect);
        stream.append(b"0123456789\n").unwrap();
        assert_eq!(state.lock().unwrap().0, b"0123456\n0123456789\n");
    }
}
