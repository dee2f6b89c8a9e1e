//! A file of JSON lines: opened, locked, mended, appended to.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use onewrite_core::error::SinkError;
use onewrite_core::sink::Finding;

use super::failure;
use crate::limits::READ_BACK_BYTES;

/// An open file that ends with a whole line.
#[derive(Debug)]
pub(super) struct LineFile {
    path: PathBuf,
    file: File,
    /// Device and inode, which change when another file takes the name.
    identity: (u64, u64),
}

impl LineFile {
    /// Opens or creates the file, takes its lock, and cuts off a line that a crash has left unfinished.
    pub(super) fn open(path: &Path) -> Result<Self, SinkError> {
        let shown = path.display();
        let fail = |error| failure(&format!("cannot open {shown}"), error);
        // A pipe would block until somebody reads it, so this is looked at before anything is opened.
        match std::fs::metadata(path) {
            Ok(metadata) => regular(path, &metadata)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(fail(error)),
        }
        let mut file = options().open(path).map_err(fail)?;
        lock(path, &file)?;
        // Else a power failure could take the new file's name away, and its acknowledged lines with it. Who created the file may have
        // died before this, so a file that was there already needs it as well.
        sync_directory(path).map_err(fail)?;
        mend(path, &mut file)?;
        let metadata = file.metadata().map_err(fail)?;
        Ok(Self {
            path: path.to_owned(),
            identity: identity(&metadata),
            file,
        })
    }

    /// Appends lines and synchronises them to the disk: all of them, or none.
    pub(super) fn append(&mut self, lines: &[u8]) -> Result<(), SinkError> {
        if self.moved_away()? {
            *self = Self::open(&self.path)?;
        }
        let doing = format!("cannot write to {}", self.path.display());
        append_or_undo(&mut self.file, lines).map_err(|refused| match refused.undone {
            Ok(()) => failure(&doing, refused.error),
            // Part of a line may be left: opening the file anew mends it.
            Err(error) => SinkError::reconnect(format!("{doing} ({}), nor cut it back", refused.error)).because(error),
        })
    }

    fn moved_away(&self) -> Result<bool, SinkError> {
        match std::fs::metadata(&self.path) {
            Ok(metadata) => Ok(identity(&metadata) != self.identity),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(failure(&format!("cannot look at {}", self.path.display()), error)),
        }
    }
}

/// Looks at the file without changing it.
pub(super) fn probe(path: &Path) -> Finding {
    let subject = format!("file {}", path.display());
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return probe_directory(path, subject),
        Err(error) => return Finding::broken(subject, format!("cannot be looked at: {error}")),
    };
    if let Err(error) = regular(path, &metadata) {
        return Finding::broken(subject, error.to_string());
    }
    let mut file = match options().create(false).open(path) {
        Ok(file) => file,
        Err(error) => return Finding::broken(subject, format!("cannot be opened for writing: {error}")),
    };
    if let Err(error) = lock(path, &file) {
        return Finding::warning(
            subject,
            format!("{error}; a running relay of the same configuration is fine"),
        );
    }
    match tail(&mut file).map(|tail| Tail::of(&tail.1)) {
        Ok(Tail::Whole) => Finding::works(subject, format!("can be written to and holds {} bytes", metadata.len())),
        Ok(Tail::Unended | Tail::Torn) => {
            Finding::warning(subject, "its last line is unfinished; the next start mends it")
        }
        Ok(Tail::Foreign) => Finding::broken(subject, FOREIGN),
        Err(error) => Finding::broken(subject, format!("cannot be read: {error}")),
    }
}

fn probe_directory(path: &Path, subject: String) -> Finding {
    let directory = directory_of(path);
    match std::fs::metadata(directory) {
        Ok(metadata) if metadata.is_dir() => Finding::works(subject, "is not there yet; it will be created"),
        Ok(_) => Finding::broken(subject, format!("{} is not a directory", directory.display())),
        Err(error) => Finding::broken(
            subject,
            format!(
                "its directory {} cannot be used: {error}; create it",
                directory.display()
            ),
        ),
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o640);
    options
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

fn regular(path: &Path, metadata: &Metadata) -> Result<(), SinkError> {
    if metadata.is_file() {
        return Ok(());
    }
    Err(SinkError::halt(format!(
        "{} is not a regular file; name a file, or \"-\" for standard output",
        path.display()
    )))
}

fn lock(path: &Path, file: &File) -> Result<(), SinkError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(SinkError::retry(format!(
            "{} is locked: another process or another sink writes to it; give each its own file",
            path.display()
        ))),
        // Some network file systems have no locks. Going without one is as safe as the operator's configuration.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        Err(TryLockError::Error(error)) => Err(failure(&format!("cannot lock {}", path.display()), error)),
    }
}

const FOREIGN: &str =
    "its last line was not written by Onewrite and has no end; end it with a line break, or name another file";

/// Makes the file end with a whole line.
fn mend(path: &Path, file: &mut File) -> Result<(), SinkError> {
    let fail = |error| failure(&format!("cannot mend the last line of {}", path.display()), error);
    let (start, last) = tail(file).map_err(fail)?;
    match Tail::of(&last) {
        Tail::Whole => return Ok(()),
        Tail::Foreign => return Err(SinkError::halt(format!("{}: {FOREIGN}", path.display()))),
        Tail::Unended => file.write_all(b"\n").map_err(fail)?,
        Tail::Torn => file.set_len(start).map_err(fail)?,
    }
    tracing::warn!(
        path = %path.display(),
        bytes = last.len(),
        "the last line was unfinished, as after a crash; it was mended and its event comes again"
    );
    file.sync_data().map_err(fail)
}

/// What stands after the last line break, and where it begins.
fn tail(file: &mut File) -> io::Result<(u64, Vec<u8>)> {
    let end = file.metadata()?.len();
    let start = last_line_start(file, end)?;
    let mut tail = vec![0; (end - start) as usize];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut tail)?;
    Ok((start, tail))
}

fn last_line_start(file: &mut File, end: u64) -> io::Result<u64> {
    let mut step = vec![0; READ_BACK_BYTES];
    let mut start = end;
    while start > 0 {
        let from = start.saturating_sub(READ_BACK_BYTES as u64);
        let step = &mut step[..(start - from) as usize];
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(step)?;
        if let Some(at) = step.iter().rposition(|byte| *byte == b'\n') {
            return Ok(from + at as u64 + 1);
        }
        start = from;
    }
    Ok(0)
}

#[derive(Debug, PartialEq, Eq)]
enum Tail {
    /// The file ends with a line break, or is empty.
    Whole,
    /// A line that lacks its line break alone.
    Unended,
    /// The beginning of a line as formats and applications write them, or zeroes that a file system left after a power failure.
    Torn,
    /// Something else, which is not ours to cut off.
    Foreign,
}

impl Tail {
    fn of(tail: &[u8]) -> Self {
        if tail.is_empty() {
            Self::Whole
        } else if serde_json::from_slice::<serde::de::IgnoredAny>(tail).is_ok() {
            Self::Unended
        } else if tail[0] == b'{' || tail.iter().all(|byte| *byte == 0) {
            Self::Torn
        } else {
            Self::Foreign
        }
    }
}

/// What is left of a line of ours is torn, and nothing that somebody else wrote is.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(bytes: &[u8]) {
    if let Tail::Torn = Tail::of(bytes) {
        assert!(matches!(bytes.first(), Some(0 | b'{')));
    }
}

/// What appending needs of a file.
trait Appendable: Write {
    fn length(&self) -> io::Result<u64>;
    fn sync(&self) -> io::Result<()>;
    fn cut(&self, length: u64) -> io::Result<()>;
}

impl Appendable for File {
    fn length(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

/// Why lines were not written, and whether the file is again as it was.
struct Refused {
    error: io::Error,
    undone: io::Result<()>,
}

fn append_or_undo(file: &mut impl Appendable, lines: &[u8]) -> Result<(), Refused> {
    let before = file.length().map_err(|error| Refused { error, undone: Ok(()) })?;
    file.write_all(lines)
        .and_then(|()| file.sync())
        .map_err(|error| Refused {
            error,
            undone: file.cut(before),
        })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use onewrite_core::Action;

    use super::*;

    /// A disk with room for so many bytes.
    struct SmallDisk {
        content: RefCell<Vec<u8>>,
        room: usize,
    }

    impl Write for SmallDisk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let content = self.content.get_mut();
            let taken = bytes.len().min(self.room - content.len());
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            content.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Appendable for SmallDisk {
        fn length(&self) -> io::Result<u64> {
            Ok(self.content.borrow().len() as u64)
        }

        fn sync(&self) -> io::Result<()> {
            Ok(())
        }

        fn cut(&self, length: u64) -> io::Result<()> {
            self.content.borrow_mut().truncate(length as usize);
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_leaves_whole_lines_and_is_waited_for() {
        let mut disk = SmallDisk {
            content: RefCell::new(Vec::new()),
            room: 10,
        };
        assert!(append_or_undo(&mut disk, b"123456\n").is_ok());
        let refused = append_or_undo(&mut disk, b"789012\n").unwrap_err();
        assert!(refused.undone.is_ok());
        assert_eq!(disk.content.into_inner(), b"123456\n");
        let error = failure("cannot write", refused.error);
        assert_eq!(error.action, Action::Retry { after: None });
    }

    #[test]
    fn a_tail_is_told_apart() {
        for (tail, expected) in [
            (&b""[..], Tail::Whole),
            (b"{\"id\":\"1\"}", Tail::Unended),
            (b"{\"id\":\"1", Tail::Torn),
            (b"{", Tail::Torn),
            (b"{\"specversion\":\"1.0\",\"id\":\"1", Tail::Torn),
            (b"{ \"type\": \"OrderPlaced\"", Tail::Torn),
            (b"{\"specversion\":\"1.0\"}", Tail::Unended),
            (b"\0\0\0", Tail::Torn),
            (b"root:x:0:0", Tail::Foreign),
        ] {
            assert_eq!(Tail::of(tail), expected, "{tail:?}");
        }
    }
}
