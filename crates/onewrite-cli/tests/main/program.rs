//! The binary in a directory of its own.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use onewrite_testkit::wait::until_blocking;
use serde_json::Value;
use tempfile::TempDir;

/// A directory with a configuration, in which the program runs with a nearly empty environment.
pub struct Program {
    directory: TempDir,
    variables: Vec<(String, String)>,
}

/// What a run of the program said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Program {
    /// An empty directory.
    pub fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
            variables: Vec::new(),
        }
    }

    /// A directory with this `onewrite.toml`.
    pub fn with(configuration: &str) -> Self {
        let program = Self::new();
        program.write("onewrite.toml", configuration);
        program
    }

    /// Sets an environment variable.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("the file can be written");
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("the file can be read")
    }

    /// The command, to be started by the caller.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_onewrite")));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, arguments: &[&str]) -> Said {
        let Output { status, stdout, stderr } = self.command(arguments).output().expect("the program starts");
        Said {
            code: status.code().expect("the program was not killed"),
            out: String::from_utf8(stdout).expect("text"),
            err: String::from_utf8(stderr).expect("text"),
        }
    }

    /// Runs the program, which must succeed, and reads what it answers as JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let said = self.run(arguments);
        assert_eq!(
            (said.code, said.err.as_str()),
            (0, ""),
            "onewrite {arguments:?}: {}",
            said.out
        );
        serde_json::from_str(&said.out).expect("JSON")
    }
}

/// `onewrite run` in the background; killed when it is dropped.
pub struct Running {
    child: Child,
    /// Where its output goes: a file cannot fill up and stop it, as a pipe that nobody reads would.
    out: PathBuf,
    err: PathBuf,
}

impl Program {
    /// Starts `onewrite run`.
    pub fn start(&self) -> Running {
        self.start_with(&[])
    }

    /// The same with further environment variables.
    pub fn start_with(&self, variables: &[(&str, &str)]) -> Running {
        let (out, err) = (self.path("run.out"), self.path("run.err"));
        let file = |path| fs::File::create(path).expect("the file can be written");
        let mut command = self.command(&["run"]);
        let child = command
            .envs(variables.iter().copied())
            .stdout(file(&out))
            .stderr(file(&err))
            .spawn()
            .expect("the program starts");
        Running { child, out, err }
    }
}

impl Running {
    /// Sends a signal such as `TERM`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill")
            .args(["-s", name, &pid])
            .status()
            .expect("kill is there");
        assert!(status.success(), "it is gone already");
    }

    /// Sends SIGTERM and waits for the end.
    pub fn stop(self) -> Said {
        self.signal("TERM");
        self.ended()
    }

    /// Waits until it has logged something.
    pub fn until_logged(&self, words: &str) {
        until_blocking(words, || {
            fs::read_to_string(&self.err)
                .is_ok_and(|text| text.contains(words))
                .then_some(())
        });
    }

    /// Waits until it has ended itself at a failpoint.
    pub fn aborted(mut self) {
        let status = until_blocking("the program to end", || {
            self.child.try_wait().expect("it can be asked for")
        });
        let log = fs::read_to_string(&self.err).unwrap_or_default();
        assert_eq!(status.signal(), Some(6), "{status}: {log}");
    }

    /// Waits for the end.
    pub fn ended(mut self) -> Said {
        let status = self.child.wait().expect("its end can be waited for");
        Said {
            code: status.code().expect("the program was not killed"),
            out: fs::read_to_string(&self.out).expect("text"),
            err: fs::read_to_string(&self.err).expect("text"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
