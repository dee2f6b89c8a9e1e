//! The sinks `file` and `stdout`: one JSON line for each event: its envelope, as [`onewrite_core::envelope`] describes it, or
//! the CloudEvent that it is by the format `cloudevents` with `mode = "structured"`.
//!
//! **What delivered means.** In a file: the lines are written and synchronised to the disk (`fdatasync`). On standard
//! output: they are written and flushed, that is, handed to the operating system. Whether the reader of a pipe has kept
//! them is beyond what a pipe can tell, so prefer a file where that matters.
//!
//! **Whole lines.** A batch is written whole or not at all: after a failure the file is cut back to where it was. A crash
//! in the middle of a write can leave part of a line, which the next start cuts off; its events were not acknowledged and
//! come again. Events may come twice, so readers go by `id`.
//!
//! **Rotation.** When the file is renamed or removed, as logrotate does, the next batch goes to a new file of the old name.
//! One process writes a file at a time: it holds an advisory lock (`flock`).

mod line_file;
mod readback;
mod stream;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use onewrite_core::envelope::write_document;
use onewrite_core::error::SinkError;
use onewrite_core::options::{Field, Kind, Options};
use onewrite_core::sink::Finding;
use onewrite_core::verify::ReadBack;
use onewrite_core::{DeliveryReport, Event, Sink, SinkConnector};

use self::line_file::LineFile;
#[cfg(any(test, fuzzing))]
pub(crate) use self::readback::fuzz;
use crate::registry::BuildError;

/// What can be configured of the sink `file`.
pub const FIELDS: &[Field] = &[Field {
    name: "path",
    kind: Kind::Text,
    default: None,
    required: true,
    doc: "The file to append to; it is created with mode 0640 where there is none. \"-\" is standard output.",
}];

/// What can be configured of the sink `stdout`: nothing.
pub const STDOUT_FIELDS: &[Field] = &[];

/// Makes a connector to the file that the options name.
///
/// # Errors
/// When `path` is empty.
pub fn build(options: &Options) -> Result<Arc<dyn SinkConnector>, BuildError> {
    match options.text("path").unwrap_or_default() {
        "" => Err(BuildError::new(
            options,
            "path",
            "is empty; expected the path of a file, or \"-\" for standard output",
        )),
        "-" => build_stdout(options),
        path => Ok(Arc::new(FileConnector {
            path: path.into(),
            current: Mutex::new(Weak::new()),
        })),
    }
}

/// Makes a connector to standard output.
///
/// # Errors
/// None.
pub fn build_stdout(_options: &Options) -> Result<Arc<dyn SinkConnector>, BuildError> {
    Ok(Arc::new(stream::StreamConnector::stdout()))
}

/// The lines of a batch, one after another.
fn lines(events: &[Event]) -> Vec<u8> {
    let mut out = Vec::new();
    for event in events {
        write_document(event, &mut out);
        out.push(b'\n');
    }
    out
}

/// The open file, shared with the writes under way. Empty after it was closed or broke.
type Slot = tokio::sync::Mutex<Option<LineFile>>;

struct FileConnector {
    path: PathBuf,
    /// What the latest sink writes to: a write that outlives its cancelled delivery ends before the next sink begins.
    current: Mutex<Weak<Slot>>,
}

#[async_trait]
impl SinkConnector for FileConnector {
    fn kind(&self) -> &'static str {
        "file"
    }

    fn writes_documents(&self) -> bool {
        true
    }

    async fn connect(&self) -> Result<Box<dyn Sink>, SinkError> {
        let previous = self.current.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        if let Some(previous) = previous {
            previous.lock().await.take();
        }
        let path = self.path.clone();
        let file = blocking(&self.path, move || LineFile::open(&path)).await?;
        let slot = Arc::new(Slot::new(Some(file)));
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&slot);
        Ok(Box::new(FileSink {
            path: self.path.clone(),
            slot,
        }))
    }

    fn read_back(&self) -> Result<Box<dyn ReadBack>, &'static str> {
        Ok(Box::new(readback::FileReadBack(self.path.clone())))
    }

    async fn probe(&self, _topics: &[String]) -> Vec<Finding> {
        let path = self.path.clone();
        let looked = tokio::task::spawn_blocking(move || line_file::probe(&path)).await;
        vec![looked.unwrap_or_else(|error| Finding::broken(format!("file {}", self.path.display()), error.to_string()))]
    }
}

struct FileSink {
    path: PathBuf,
    slot: Arc<Slot>,
}

#[async_trait]
impl Sink for FileSink {
    async fn deliver(&self, batch: &[Event], report: &mut DeliveryReport) -> Result<(), SinkError> {
        let events = batch.to_vec();
        // The guard goes with the write: where this call is cancelled, the next one waits until the write has ended.
        let mut slot = Arc::clone(&self.slot).lock_owned().await;
        blocking(&self.path, move || {
            let file = slot
                .as_mut()
                .ok_or_else(|| SinkError::reconnect("the file was closed"))?;
            let written = file.append(&lines(&events));
            if written
                .as_ref()
                .is_err_and(|error| error.action == onewrite_core::Action::Reconnect)
            {
                *slot = None;
            }
            written
        })
        .await?;
        (0..batch.len()).for_each(|index| report.delivered(index));
        Ok(())
    }

    async fn close(&self) -> Result<(), SinkError> {
        self.slot.lock().await.take();
        Ok(())
    }
}

/// Runs file work where it may block.
async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> Result<T, SinkError> + Send + 'static,
) -> Result<T, SinkError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(SinkError::reconnect(format!("the work on {} broke off", path.display())).because(error)),
    }
}

/// What to do about an error of writing or opening: a full disk is waited for, a broken pipe has nobody to write to, and
/// everything else is tried again with a freshly opened file, since a mount or a permission can be put right meanwhile.
fn failure(doing: &str, error: io::Error) -> SinkError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            SinkError::retry(format!("{doing}: no space is left; delivery goes on once there is")).because(error)
        }
        io::ErrorKind::BrokenPipe => SinkError::halt(format!("{doing}: its reader has gone away")).because(error),
        _ => SinkError::reconnect(doing.to_owned()).because(error),
    }
}
