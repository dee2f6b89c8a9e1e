//! One server process in its home: started, stopped, killed, started again.

use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal};

use super::home::Home;
use crate::wait;

/// A server process, while it runs, and its home.
pub struct Process {
    name: &'static str,
    home: Home,
    child: Mutex<Option<Child>>,
}

impl Process {
    /// Nothing runs yet.
    pub fn new(name: &'static str, home: Home) -> Self {
        Self {
            name,
            home,
            child: Mutex::new(None),
        }
    }

    /// Its directory and processes.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child().as_ref().map(Child::id)
    }

    /// Starts the command in the home and waits until the server is ready, which is asked with its process id.
    pub fn start(&self, mut command: Command, ready: impl Fn(u32) -> bool) {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.home.log())
            .expect("open the log");
        let mut child = command
            // From its first moment it belongs to the home.
            .current_dir(self.home.data())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("share the log"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{} cannot be started: {command:?}: {error}", self.name));
        let mut started = false;
        wait::holds_within(wait::START_PATIENCE, || {
            started = ready(child.id());
            started || !matches!(child.try_wait(), Ok(None))
        });
        *self.child() = Some(child);
        assert!(
            started,
            "{} did not start; its log ends:\n{}",
            self.name,
            self.home.log_tail()
        );
    }

    /// Ends the server, if it runs, with this signal to its first process, and waits until nothing of it is left.
    pub fn stop(&self, signal: Signal) {
        let Some(mut child) = self.child().take() else { return };
        rustix::process::kill_process(Pid::from_child(&child), signal)
            .unwrap_or_else(|error| panic!("{} cannot be signalled: {error}", self.name));
        let gone = wait::holds(|| matches!(child.try_wait(), Ok(Some(_))) && self.home.processes().is_empty());
        assert!(
            gone,
            "{} did not stop; its log ends:\n{}",
            self.name,
            self.home.log_tail()
        );
    }

    /// Ends the server and all its processes as a crash does.
    pub fn kill(&self) {
        self.home.kill();
        if let Some(mut child) = self.child().take() {
            child.wait().expect("wait for the killed process");
        }
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.home.end();
        if let Some(child) = self.child().as_mut() {
            // The guardian has ended it; this only takes it off the process table.
            let _ = child.wait();
        }
    }
}
