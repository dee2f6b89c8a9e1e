//! The program as a process of its own, so that its memory and its CPU time are its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::process::{self, Usage};
use crate::workload::TOPIC;

/// How long a relay may take to stop.
const STOP: Duration = Duration::from_secs(60);
/// How long one of another make may.
const STOP_OTHER: Duration = Duration::from_secs(10);

/// The name of the route that takes everything.
pub const ROUTE: &str = "all";

/// What a relay is started with.
pub struct Configuration {
    /// The program.
    pub program: PathBuf,
    /// The relay's name; a new one begins where the outbox begins.
    pub relay: String,
    /// The keys of the source's section.
    pub source: String,
    /// The keys of the sink's section.
    pub sink: String,
    /// More sinks and routes.
    pub more: String,
    /// Where the process works: the database server's own directory, so that whatever ends the server ends it too.
    pub directory: PathBuf,
}

/// A relay that runs.
pub struct Relay {
    child: Child,
    pid: u32,
    files: TempDir,
}

impl Relay {
    /// Starts `onewrite run`.
    pub fn start(configuration: &Configuration) -> Result<Self> {
        let files = tempfile::tempdir().context("making a directory for the relay's files")?;
        let child = command(configuration, &files, "run")?
            .spawn()
            .context("starting the relay")?;
        let pid = child.id().context("the relay ended at once")?;
        Ok(Self { child, pid, files })
    }

    /// Starts a relay of another make, with a directory of its own that holds its files.
    pub fn start_other(mut command: Command, directory: &Path, files: TempDir) -> Result<Self> {
        let child = housed(&mut command, directory, &files)?.spawn();
        let child = child.with_context(|| format!("starting {:?}", command.as_std()))?;
        let pid = child.id().context("the relay ended at once")?;
        Ok(Self { child, pid, files })
    }

    /// What it and its children have used so far.
    pub fn usage_with_children(&self) -> Result<Usage> {
        process::usage_with_children(self.pid)
    }

    /// What it has used so far.
    pub fn usage(&self) -> Result<Usage> {
        process::usage(self.pid)
    }

    /// Fails when the process has ended by itself.
    pub fn is_running(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait().context("looking after the relay")? {
            bail!("the relay ended by itself ({status}):\n{}", tail(&self.files));
        }
        Ok(())
    }

    /// The end of what it said, for messages.
    pub fn words(&self) -> String {
        tail(&self.files)
    }

    /// Stops it as an operator would.
    pub async fn stop(mut self) -> Result<()> {
        self.terminate()?;
        let ended = tokio::time::timeout(STOP, self.child.wait()).await;
        let status =
            ended.with_context(|| format!("the relay did not stop within {STOP:?}:\n{}", tail(&self.files)))??;
        ensure!(status.success(), "the relay failed ({status}):\n{}", tail(&self.files));
        Ok(())
    }

    /// The same for a relay of another make. What its status means is its own affair; one that does not stop soon is ended.
    pub async fn stop_other(mut self) -> Result<()> {
        self.terminate()?;
        if tokio::time::timeout(STOP_OTHER, self.child.wait()).await.is_err() {
            self.child.kill().await.context("ending a relay that did not stop")?;
        }
        Ok(())
    }

    fn terminate(&mut self) -> Result<()> {
        self.is_running()?;
        let pid = Pid::from_raw(i32::try_from(self.pid)?).context("a process has a number")?;
        kill_process(pid, Signal::TERM).context("stopping the relay")
    }
}

/// Runs `onewrite migrate`.
pub async fn migrate(configuration: &Configuration) -> Result<()> {
    let files = tempfile::tempdir().context("making a directory for the program's files")?;
    let status = command(configuration, &files, "migrate")?
        .status()
        .await
        .context("starting onewrite migrate")?;
    ensure!(
        status.success(),
        "onewrite migrate failed ({status}):\n{}",
        tail(&files)
    );
    Ok(())
}

fn command(configuration: &Configuration, files: &TempDir, verb: &str) -> Result<Command> {
    let path = files.path().join("onewrite.toml");
    std::fs::write(&path, text(configuration)).context("writing the relay's configuration")?;
    let mut command = Command::new(&configuration.program);
    command.arg(verb).arg("-c").arg(path);
    housed(&mut command, &configuration.directory, files)?;
    // Nothing of this shell's may stand over the file.
    for (name, _) in std::env::vars_os() {
        if name == "RUST_LOG" || name.to_string_lossy().starts_with("ONEWRITE__") {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// Lets a program work in a directory, and write all it says to the log.
fn housed<'a>(command: &'a mut Command, directory: &Path, files: &TempDir) -> Result<&'a mut Command> {
    let log = File::create(log(files)).context("making the relay's log")?;
    Ok(command
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true))
}

/// Defaults throughout; the retention only keeps the events for the next run.
fn text(configuration: &Configuration) -> String {
    let Configuration {
        relay,
        source,
        sink,
        more,
        ..
    } = configuration;
    format!(
        "name = {relay:?}\n\
         [source]\n{source}\nretention = \"7d\"\n\
         [sinks.events]\n{sink}\n\
         [[routes]]\nname = \"{ROUTE}\"\nmatch = {{ topic = \"{TOPIC}\" }}\nsink = \"events\"\n{more}"
    )
}

fn log(files: &TempDir) -> PathBuf {
    files.path().join("log")
}

fn tail(files: &TempDir) -> String {
    let text = std::fs::read_to_string(log(files)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
