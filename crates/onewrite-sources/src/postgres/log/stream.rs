//! The stream of a replication slot: batches of messages, and the answers that keep it alive however slow the reader is.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::{Buf, Bytes, BytesMut};
use onewrite_core::{StoreError, StoreFailure, failpoint};
use postgres_protocol::message::backend::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::super::connection::Connector;
use super::limits::{BATCH_BYTES, BATCHES, FRAME_BYTES_MAX, STATUS_BYTES, STATUS_INTERVAL, WRITE_TIMEOUT};
use super::link::{Link, refused, status, unavailable};

/// What the server sends.
#[derive(Debug)]
pub(crate) enum Frame {
    /// A message of the output plugin.
    Data(Bytes),
    /// Nothing to send, and nothing before this position is left to send.
    Idle {
        /// The position in the log.
        log_end: u64,
    },
}

/// The form of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// What each type sends; short and fast, where the types are known.
    Binary,
    /// What each type writes: every type can be read as a text.
    Text,
}

/// What tells a running server from every other one: when it started, to the microsecond.
pub(super) const SERVER: &str = "SELECT extract(epoch FROM pg_postmaster_start_time())";

/// A slot's stream. Dropping it closes the connection, which frees the slot.
pub(crate) struct Stream {
    /// Which server sends it, as [`SERVER`] answers.
    pub server: String,
    batches: mpsc::Receiver<Result<Vec<Frame>, StoreError>>,
    seen: Arc<AtomicU64>,
    _driver: AbortOnDropHandle<()>,
}

impl Stream {
    /// Starts the stream of `slot` from where it was confirmed, with what `publication` publishes and with logical messages.
    /// Values come in `form`.
    ///
    /// # Errors
    /// `Refused` for what a person must change, such as a missing privilege; else `Unavailable`.
    pub async fn start(connector: &Connector, slot: &str, publication: &str, form: Form) -> Result<Self, StoreError> {
        let mut link = Link::open(connector).await?;
        let server = link.query(SERVER).await?;
        // Identifiers in quotes, the list of publications as a text of identifiers.
        let list = format!("\"{}\"", publication.replace('"', "\"\"")).replace('\'', "''");
        let start = format!(
            "START_REPLICATION SLOT \"{}\" LOGICAL 0/0 (proto_version '1', publication_names '{list}', binary '{}', messages 'true')",
            slot.replace('"', "\"\""),
            form == Form::Binary
        );
        link.start(&start).await?;
        let (sender, batches) = mpsc::channel(BATCHES);
        let seen = Arc::new(AtomicU64::new(0));
        let driver = Driver {
            link,
            batches: sender,
            seen: seen.clone(),
            told_at: Instant::now(),
            told: 0,
        };
        Ok(Self {
            server,
            batches,
            seen,
            _driver: AbortOnDropHandle::new(tokio::spawn(driver.run())),
        })
    }

    /// The next messages, at least one. Cancel-safe.
    ///
    /// # Errors
    /// Why the stream ended; there is nothing after it.
    pub async fn next(&mut self) -> Result<Vec<Frame>, StoreError> {
        let ended = || {
            Err(StoreError::new(
                StoreFailure::Unavailable,
                "the replication stream ended",
            ))
        };
        self.batches.recv().await.unwrap_or_else(ended)
    }

    /// Lets the server forget the log below this position. It is told within [`STATUS_INTERVAL`].
    pub fn confirm(&self, position: u64) {
        self.seen.fetch_max(position, Ordering::Relaxed);
    }
}

/// Owns the connection.
struct Driver {
    link: Link,
    batches: mpsc::Sender<Result<Vec<Frame>, StoreError>>,
    seen: Arc<AtomicU64>,
    told_at: Instant,
    told: u64,
}

impl Driver {
    async fn run(mut self) {
        if let Err(error) = self.drive().await {
            let _nobody_may_listen = self.batches.send(Err(error)).await;
        }
    }

    async fn drive(&mut self) -> Result<(), StoreError> {
        let mut batch = Vec::new();
        loop {
            let asked = take_frames(&mut self.link.read, &mut batch)?;
            let untold = self.seen.load(Ordering::Relaxed).saturating_sub(self.told);
            if asked || untold >= STATUS_BYTES || self.told_at.elapsed() >= STATUS_INTERVAL {
                self.tell().await?;
            }
            if batch.is_empty() {
                self.fill().await?;
            } else if !self.hand_over(std::mem::take(&mut batch)).await? {
                return Ok(());
            }
        }
    }

    /// Reads what is there; the server is told where we are while nothing comes.
    async fn fill(&mut self) -> Result<(), StoreError> {
        reserve(&mut self.link.read)?;
        loop {
            tokio::select! {
                read = self.link.socket.read_buf(&mut self.link.read) => {
                    return match read.map_err(unavailable)? {
                        0 => Err(unavailable(io::ErrorKind::UnexpectedEof.into())),
                        _ => Ok(()),
                    };
                }
                () = tokio::time::sleep_until(self.told_at + STATUS_INTERVAL) => {}
            }
            self.tell().await?;
        }
    }

    /// Hands a batch over. As long as the reader has no room, nothing more is read, and the server is told that we live.
    /// `false` when there is no reader any more.
    async fn hand_over(&mut self, batch: Vec<Frame>) -> Result<bool, StoreError> {
        loop {
            tokio::select! {
                permit = self.batches.reserve() => {
                    let Ok(permit) = permit else { return Ok(false) };
                    permit.send(Ok(batch));
                    return Ok(true);
                }
                () = tokio::time::sleep_until(self.told_at + STATUS_INTERVAL) => {}
            }
            self.tell().await?;
        }
    }

    async fn tell(&mut self) -> Result<(), StoreError> {
        self.told = self.seen.load(Ordering::Relaxed);
        let message = status(self.told, micros_since_2000(), false);
        let write = async {
            self.link.socket.write_all(&message).await?;
            self.link.socket.flush().await
        };
        self.told_at = Instant::now();
        failpoint::reach("slot.before");
        match tokio::time::timeout(WRITE_TIMEOUT, write).await {
            Ok(written) => written.map_err(unavailable)?,
            Err(_) => return Err(unavailable(io::ErrorKind::TimedOut.into())),
        }
        failpoint::reach("slot.after");
        Ok(())
    }
}

/// Takes whole messages off `read`, up to a batch; `true` when the server asked for an answer.
pub(super) fn take_frames(read: &mut BytesMut, batch: &mut Vec<Frame>) -> Result<bool, StoreError> {
    let (mut asked, mut bytes) = (false, 0);
    while bytes < BATCH_BYTES
        && let Some(length) = frame_length(read)?
        && read.len() >= length
    {
        bytes += length;
        if read[0] != b'd' {
            match Message::parse(read).map_err(unavailable)? {
                Some(Message::ErrorResponse(body)) => return Err(refused(body.fields())),
                Some(Message::CopyDone) => return Err(unavailable(io::ErrorKind::ConnectionAborted.into())),
                _ => continue,
            }
        }
        let mut body = read.split_to(length).freeze();
        body.advance(5);
        match body.first() {
            // Where the data begins and ends in the log, and the time: 24 bytes.
            Some(b'w') if body.len() >= 25 => batch.push(Frame::Data(body.slice(25..))),
            Some(b'k') if body.len() >= 18 => {
                asked |= body[17] != 0;
                let log_end = (&body[1..9]).get_u64();
                batch.push(Frame::Idle { log_end });
            }
            _ => return Err(unavailable(io::ErrorKind::InvalidData.into())),
        }
    }
    Ok(asked)
}

/// How long the first message is, with its head; `None` when not even that has come.
fn frame_length(read: &BytesMut) -> Result<Option<usize>, StoreError> {
    let Some(head) = read.get(..5) else { return Ok(None) };
    let length = (&head[1..]).get_u32() as usize;
    if (4..=FRAME_BYTES_MAX).contains(&length) {
        return Ok(Some(length + 1));
    }
    let words = format!("a message of {length} bytes came over the log, and at most {FRAME_BYTES_MAX} are taken");
    Err(StoreError::new(StoreFailure::Unavailable, words))
}

/// Makes room for the rest of a large message at once, and otherwise for a good read.
fn reserve(read: &mut BytesMut) -> Result<(), StoreError> {
    let missing = frame_length(read)?.map_or(0, |length| length.saturating_sub(read.len()));
    read.reserve(missing.max(READ_BYTES));
    Ok(())
}

/// One read from the socket.
const READ_BYTES: usize = 64 * 1024;

fn micros_since_2000() -> i64 {
    const FROM_1970_TO_2000: Duration = Duration::from_secs(946_684_800);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + FROM_1970_TO_2000);
    since.map_or(0, |since| since.as_micros().try_into().unwrap_or(i64::MAX))
}
