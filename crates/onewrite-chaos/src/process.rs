//! A relay's process.

use std::fs::{self, File};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::program::Program;

/// A relay's process; dropping it kills it.
pub struct Relay(Child);

/// Bytes of a process that are resident, as the kernel tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resident {
    /// At this moment.
    pub now: u64,
    /// The most that ever were.
    pub peak: u64,
}

impl Relay {
    /// Starts `onewrite run` in a program's directory. What it logs is appended to `relay.log`.
    pub fn start(program: &Program) -> Self {
        Self::start_as(program, program.command(&["run"]))
    }

    /// The same as this command has it.
    pub fn start_as(program: &Program, mut command: Command) -> Self {
        let log = File::options()
            .create(true)
            .append(true)
            .open(program.path("relay.log"))
            .expect("a log file");
        let child = command.stdout(Stdio::null()).stderr(log).spawn();
        Self(child.expect("the program starts"))
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.0.kill().expect("the relay can be killed");
        self.0.wait().expect("the relay ends");
    }

    /// The number of the process.
    pub fn process(&self) -> u32 {
        self.0.id()
    }

    /// SIGSTOP: it stands still wherever it is.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM: it finishes what is under way and ends, in its own time.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("the relay's status")
    }

    /// Its memory, while it runs.
    pub fn resident(&self) -> Option<Resident> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process())).ok()?;
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
            Some(kibibytes * 1024)
        };
        Some(Resident {
            now: bytes("VmRSS:")?,
            peak: bytes("VmHWM:")?,
        })
    }

    fn signal(&self, signal: Signal) {
        let process = Pid::from_raw(self.0.id().cast_signed()).expect("a process number");
        kill_process(process, signal).expect("the relay can be signalled");
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _it_may_have_ended = self.0.kill();
        let _it_may_have_ended = self.0.wait();
    }
}
