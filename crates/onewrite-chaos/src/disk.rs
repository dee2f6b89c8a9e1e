//! A small file system that can be made full at any moment.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use onewrite_testkit::wait;

use crate::limits::SMALL_DISK;

/// A file system in memory under a directory. Its size is what makes it full: no file has to be written for that.
pub struct Disk(PathBuf);

impl Disk {
    /// Moves a directory, which nobody uses, with all that is in it to a file system of its own under the same name. It ends with the server
    /// whose directory it is in.
    pub fn under(directory: &Path) -> Self {
        let beside = directory.with_extension("moved");
        fs::rename(directory, &beside).expect("move a server's directory");
        fs::create_dir(directory).expect("make a directory to mount on");
        let size = format!("size={SMALL_DISK}");
        run(
            "mount",
            &["-t", "tmpfs", "-o", &size, "onewrite-chaos", text(directory)],
        );
        // The directory's own owner and mode come with it.
        run("cp", &["-a", &format!("{}/.", text(&beside)), text(directory)]);
        fs::remove_dir_all(beside).expect("remove what was copied");
        Self(directory.to_owned())
    }

    /// Lets nothing more be written.
    pub fn fill(&self) {
        // What is written between the look and the change makes the size too small, and it is refused.
        wait::until_blocking("a file system becomes full", || {
            let stat = rustix::fs::statvfs(&self.0).expect("the file system's size");
            let used = (stat.f_blocks - stat.f_bfree) * stat.f_frsize;
            self.resize(&used.to_string()).ok()
        });
    }

    /// Makes room again.
    pub fn empty(&self) {
        self.resize(SMALL_DISK).unwrap_or_else(|words| panic!("{words}"));
    }

    fn resize(&self, size: &str) -> Result<(), String> {
        try_run("mount", &["-o", &format!("remount,size={size}"), text(&self.0)])
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary directory has a plain name")
}

fn run(program: &str, arguments: &[&str]) {
    try_run(program, arguments).unwrap_or_else(|words| panic!("{words}"));
}

fn try_run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{program} {arguments:?}: {complaint}")),
    }
}
