//! Verify's own relay: this program once more, as a child that can be killed.

use std::collections::VecDeque;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::configuration::supervised;

/// Lines of the relay's log that are kept to tell why it ended.
const LINES_KEPT: usize = 10;

/// How long a relay may take to come to rest; core gives deliveries under way 20 s.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// A relay that runs, or ran.
pub struct Relay {
    configuration: String,
    child: Child,
    said: Arc<Mutex<VecDeque<String>>>,
    /// The most memory that any of its processes had, in bytes; `None` where the system does not tell.
    pub memory: Option<u64>,
}

impl Relay {
    /// Starts a relay with this configuration.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(configuration: String) -> anyhow::Result<Self> {
        let said = Arc::default();
        Ok(Self {
            child: spawn(&configuration, &said)?,
            configuration,
            said,
            memory: None,
        })
    }

    /// Its process number, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Kills it without a warning, and starts it again.
    ///
    /// # Errors
    /// When it cannot be started again.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.measure();
        self.child.kill().await.context("the relay cannot be killed")?;
        self.child = spawn(&self.configuration, &self.said)?;
        Ok(())
    }

    /// Notes how much memory it has needed so far.
    ///
    /// # Errors
    /// When it has ended by itself, with what it said.
    pub fn look(&mut self) -> anyhow::Result<()> {
        self.measure();
        match self.child.try_wait().context("the relay's end cannot be looked for")? {
            None => Ok(()),
            Some(status) => Err(self.ended(status)),
        }
    }

    /// Lets it come to rest and give its lease up.
    ///
    /// # Errors
    /// When it does not, or ends badly. It is gone in any case.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.measure();
        let Some(pid) = self.pid().and_then(|pid| Pid::from_raw(pid.cast_signed())) else {
            return Ok(());
        };
        // An error: it has ended already.
        let _ = kill_process(pid, Signal::TERM);
        match tokio::time::timeout(STOP_PATIENCE, self.child.wait()).await {
            Ok(status) => match status.context("the relay's end cannot be waited for")? {
                status if status.success() => Ok(()),
                status => Err(self.ended(status)),
            },
            Err(_) => {
                self.child.kill().await.context("the relay cannot be killed")?;
                bail!("the relay did not come to rest within {STOP_PATIENCE:?} and was killed")
            }
        }
    }

    fn measure(&mut self) {
        self.memory = self.memory.max(self.pid().and_then(peak_memory));
    }

    fn ended(&self, status: ExitStatus) -> anyhow::Error {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said: Vec<&str> = said.iter().map(String::as_str).collect();
        anyhow::anyhow!(
            "verify's own relay ended by itself ({status}); its last words:\n  {}",
            said.join("\n  ")
        )
    }
}

fn spawn(configuration: &str, said: &Arc<Mutex<VecDeque<String>>>) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("this program's own file cannot be found")?;
    let mut command = Command::new(program);
    command
        .args(["run", "--supervised"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // A terminal's Ctrl-C is for verify, which then stops the relay.
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn().context("this program cannot be started once more")?;
    let input = child.stdin.take().context("the relay has no standard input")?;
    let input = input
        .into_owned_fd()
        .context("the relay's standard input cannot be written to")?;
    let mut input = std::fs::File::from(input);
    let configuration = configuration.to_owned();
    // Larger than a pipe it may be, and the relay may be killed before it has read it. The pipe stays open until the relay is gone.
    let output = child.stderr.take().context("the relay has no standard error")?;
    let said = Arc::clone(said);
    tokio::spawn(async move {
        let sending = tokio::task::spawn_blocking(move || supervised::send(&configuration, &mut input).map(|()| input));
        let _open_while_it_runs = sending.await;
        let mut lines = BufReader::new(output).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            tracing::debug!(target: "relay", "{line}");
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            said.push_back(line);
            if said.len() > LINES_KEPT {
                said.pop_front();
            }
        }
    });
    Ok(child)
}

/// The most memory that a process has had, in bytes.
fn peak_memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
