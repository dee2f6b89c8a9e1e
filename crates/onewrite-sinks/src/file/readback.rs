//! Reading back for `onewrite verify`: a file of its own, beside the configured one.

use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::SinkError;
use onewrite_core::verify::{Arrived, ReadBack, Reading};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep_until};

use super::blocking;
use crate::limits::{FILE_LOOK_AGAIN, FILE_READ_BYTES};

pub(super) struct FileReadBack(pub PathBuf);

impl FileReadBack {
    fn path(&self, topic: &str) -> PathBuf {
        let mut path = self.0.clone().into_os_string();
        path.push(".");
        path.push(topic);
        path.into()
    }
}

#[async_trait]
impl ReadBack for FileReadBack {
    fn apart(&self, topic: &str) -> Vec<(&'static str, Option<String>)> {
        // The path was a text of the configuration.
        vec![("path", Some(self.path(topic).to_string_lossy().into_owned()))]
    }

    async fn open(&self, topic: &str) -> Result<Box<dyn Reading>, SinkError> {
        Ok(Box::new(Lines {
            path: self.path(topic),
            at: 0,
            rest: Vec::new(),
        }))
    }

    async fn remove(&self, topic: &str) -> Result<(), SinkError> {
        let path = self.path(topic);
        blocking(&self.0, move || match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(SinkError::retry(format!("{} cannot be removed", path.display())).because(error))
            }
            _ => Ok(()),
        })
        .await
    }
}

/// The lines of a file that grows.
struct Lines {
    path: PathBuf,
    at: u64,
    /// The beginning of a line whose end was not there yet.
    rest: Vec<u8>,
}

#[async_trait]
impl Reading for Lines {
    async fn read(&mut self, wait: Duration) -> Result<Vec<Arrived>, SinkError> {
        let deadline = Instant::now() + wait;
        loop {
            let (path, at) = (self.path.clone(), self.at);
            let read = blocking(&self.path, move || more(&path, at)).await?;
            self.at += read.len() as u64;
            self.rest.extend(read);
            let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let lines: Vec<u8> = self.rest.drain(..whole).collect();
            let now = Instant::now();
            if !lines.is_empty() || now >= deadline {
                return Ok(lines
                    .split(|byte| *byte == b'\n')
                    .filter(|line| !line.is_empty())
                    .map(arrived)
                    .collect());
            }
            sleep_until(deadline.min(now + FILE_LOOK_AGAIN)).await;
        }
    }
}

fn more(path: &Path, at: u64) -> Result<Vec<u8>, SinkError> {
    let read = || {
        let mut file = std::fs::File::open(path)?;
        file.seek(SeekFrom::Start(at))?;
        let mut bytes = Vec::new();
        file.take(FILE_READ_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Err(error) if ErrorKind::NotFound == std::io::Error::kind(&error) => Ok(Vec::new()),
        Err(error) => Err(SinkError::retry(format!("{} cannot be read", path.display())).because(error)),
        Ok(bytes) => Ok(bytes),
    }
}

fn arrived(line: &[u8]) -> Arrived {
    #[derive(Deserialize)]
    struct Line<'a> {
        id: String,
        #[serde(borrow)]
        payload: &'a RawValue,
    }
    match serde_json::from_slice::<Line<'_>>(line) {
        Ok(read) => Arrived::new(Some(&read.id), read.payload.get().to_owned()),
        Err(_) => Arrived::new(None, line.to_vec()),
    }
}

/// Any line has arrived.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    arrived(bytes);
    super::line_file::fuzz(bytes);
}
