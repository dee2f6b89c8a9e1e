//! A server's directory and its processes, which never outlive the test process.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal};

use crate::wait;

/// Waits for the end of its standard input, which the kernel closes when the test process ends, however it ends; then
/// ends the server and removes its directory. A signal on the parent's death would not do: the kernel sends it when the
/// *thread* that started the server ends, and tests are threads.
///
/// What a test mounted in there goes as well, since a directory in use stays.
///
/// The gentle signal first: PostgreSQL then gives back its System V segment, of which the kernel has a limited number.
const GUARDIAN: &str = r#"
trap '' HUP INT TERM
cat > /dev/null
home=$1
members() {
  find /proc/[0-9]*/cwd -maxdepth 0 -lname "$home/data" 2> /dev/null | cut -d/ -f3
}
kill -s CONT $(members) 2> /dev/null
kill -s "$2" $(members) 2> /dev/null
rounds=0
while [ -n "$(members)" ]; do
  rounds=$((rounds + 1))
  [ $rounds -lt 60 ] || kill -s KILL $(members) 2> /dev/null
  sleep 0.05
done
if [ -f "$home/data/postmaster.pid" ]; then
  segment=$(sed -n '7s/.* //p' "$home/data/postmaster.pid")
  [ -z "$segment" ] || ipcrm -m "$segment" 2> /dev/null
fi
grep -F " $home/" /proc/mounts | cut -d' ' -f2 | while read -r mounted; do umount -l "$mounted"; done
rm -rf "$home"
"#;

/// A server's directory and everything that runs in it. Dropping it ends the processes and removes the directory.
pub struct Home {
    path: PathBuf,
    guardian: Child,
}

impl Home {
    /// Makes the directory, and the guardian that will end what runs in it: with `gentle`, and soon after by SIGKILL.
    pub fn new(kind: &str, gentle: &str) -> Self {
        let directory = tempfile::Builder::new()
            .prefix(&format!("onewrite-{kind}-"))
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir()
            .expect("create a temporary directory for a server");
        let path = directory
            .keep()
            .canonicalize()
            .expect("the temporary directory's own path");
        let guardian = Command::new("sh")
            .args(["-c", GUARDIAN, "guardian"])
            .arg(&path)
            .arg(gentle)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("start a server's guardian");
        Self { path, guardian }
    }

    /// The directory, for configuration and output.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The server's working directory. A process belongs to this home if it works there, whatever group or session it
    /// has put itself into.
    pub fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// Where the server's output goes.
    pub fn log(&self) -> PathBuf {
        self.path.join("server.log")
    }

    /// The end of the server's output, for messages.
    pub fn log_tail(&self) -> String {
        let text = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }

    /// Sends a signal to every process of the server, the oldest first.
    pub fn signal(&self, signal: Signal) {
        for process in self.processes() {
            // It may have ended meanwhile.
            let _ = rustix::process::kill_process(process, signal);
        }
    }

    /// Kills every process of the server, and those that they were just starting.
    pub fn kill(&self) {
        let gone = wait::holds(|| {
            self.signal(Signal::KILL);
            self.processes().is_empty()
        });
        assert!(gone, "the server in {} survives SIGKILL", self.path.display());
    }

    /// The server's processes, the oldest first as far as numbers tell.
    pub fn processes(&self) -> Vec<Pid> {
        let data = self.data();
        let entries = fs::read_dir("/proc").expect("list processes");
        let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        let mut members: Vec<i32> = numbers
            .filter(|number| fs::read_link(format!("/proc/{number}/cwd")).is_ok_and(|directory| directory == data))
            .collect();
        members.sort_unstable();
        members.into_iter().filter_map(Pid::from_raw).collect()
    }

    /// Ends the processes and removes the directory, now.
    pub fn end(&mut self) {
        drop(self.guardian.stdin.take());
        // The guardian has no other fate than to end; its result tells nothing.
        let _ = self.guardian.wait();
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.end();
    }
}
