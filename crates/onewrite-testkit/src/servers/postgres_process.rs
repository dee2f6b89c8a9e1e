//! Starting and stopping one PostgreSQL server.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use rustix::process::{Pid, Signal};

use super::home::Home;
use super::port::Port;
use super::{cache, wait};

/// What tests of a relay need, and otherwise what people run: durable, with room for many tests at once.
const CONFIGURATION: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
wal_level = logical
max_connections = 200
max_wal_senders = 20
max_replication_slots = 20
fsync = on
log_line_prefix = '%m [%p] %d '
";

/// No password, except for members of the role `password_users`.
const ACCESS: &str = "
host all         +password_users 127.0.0.1/32 scram-sha-256
host replication +password_users 127.0.0.1/32 scram-sha-256
host all         all             127.0.0.1/32 trust
host replication all             127.0.0.1/32 trust
";

/// A change of what the template holds needs another number here.
const TEMPLATE_EDITION: u32 = 1;

/// A server's files, its port, and the process while it runs.
pub struct Server {
    binaries: PathBuf,
    home: Home,
    port: Port,
    process: Mutex<Option<Child>>,
}

impl Server {
    /// Prepares a data directory from the template, with further settings and files of the test's own.
    pub fn prepare(major: u32, settings: &[(String, String)], files: &[(String, Vec<u8>)]) -> Self {
        let version = cache::version(&format!("postgres.{major}"));
        let package = format!("PostgreSQL {version}, Maven package io.zonky.test.postgres:embedded-postgres-binaries");
        let binaries = cache::server(&format!("postgres-{version}"), &package).join("bin");
        let template = cache::template(&format!("postgres-{version}-{TEMPLATE_EDITION}"), |directory| {
            make_template(&binaries, directory);
        });
        let (home, port) = (Home::new("postgres", "QUIT"), Port::take());
        let copied = Command::new("cp").arg("-a").arg(&template).arg(home.data()).status();
        assert!(copied.is_ok_and(|status| status.success()), "copy {}", template.display());
        for (name, content) in files {
            write_private(&home.data().join(name), content);
        }
        let mut configuration = format!("{CONFIGURATION}port = {}\n", port.number());
        for (name, value) in settings {
            configuration.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
        }
        append(&home.data().join("postgresql.conf"), &configuration);
        Self { binaries, home, port, process: Mutex::new(None) }
    }

    /// Starts the server and waits until it takes connections.
    pub fn start(&self) {
        let log = OpenOptions::new().create(true).append(true).open(self.home.log()).expect("open the log");
        let mut child = unprivileged(&self.binaries.join("postgres"))
            .arg("-D")
            .arg(self.home.data())
            // From its first moment it belongs to the home.
            .current_dir(self.home.data())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("share the log"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("start postgres");
        let started = wait::until(|| self.is_ready(child.id()) || matches!(child.try_wait(), Ok(Some(_)) | Err(_)));
        let ready = self.is_ready(child.id());
        *self.process.lock().expect("no fixture panics while it holds this") = Some(child);
        assert!(started && ready, "PostgreSQL did not start; its log ends:\n{}", self.home.log_tail());
    }

    /// Ends the server with this signal to its first process, and waits until nothing of it is left.
    pub fn stop(&self, signal: Signal) {
        let Some(mut child) = self.process.lock().expect("no fixture panics while it holds this").take() else {
            return;
        };
        let postmaster = Pid::from_child(&child);
        rustix::process::kill_process(postmaster, signal).expect("signal the postmaster");
        let gone = wait::until(|| matches!(child.try_wait(), Ok(Some(_))) && self.home.processes().is_empty());
        assert!(gone, "PostgreSQL did not stop; its log ends:\n{}", self.home.log_tail());
    }

    /// Ends the server and all its processes as a crash does.
    pub fn kill(&self) {
        self.home.kill();
        if let Some(mut child) = self.process.lock().expect("no fixture panics while it holds this").take() {
            child.wait().expect("wait for the killed postmaster");
        }
    }

    /// Its directory and processes.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The postmaster's process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.lock().expect("no fixture panics while it holds this").as_ref().map(Child::id)
    }

    /// The server says in its own file when it takes connections, and under which process id.
    fn is_ready(&self, pid: u32) -> bool {
        let text = fs::read_to_string(self.home.data().join("postmaster.pid")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        lines.first() == Some(&pid.to_string().as_str()) && lines.get(7) == Some(&"ready")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.home.end();
        let process = self.process.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(child) = process {
            // The guardian has ended it; this only takes it off the process table.
            let _ = child.wait();
        }
    }
}

fn make_template(binaries: &Path, directory: &Path) {
    if let Some(user) = substitute_user() {
        chown(directory, Some(user), Some(user)).expect("give the template to an unprivileged user");
    }
    let mut initialise = unprivileged(&binaries.join("initdb"));
    initialise.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N", "-D"]).arg(directory);
    run(&mut initialise, "");
    let mut single = unprivileged(&binaries.join("postgres"));
    single.args(["--single", "-D"]).arg(directory).arg("postgres");
    run(&mut single, "CREATE ROLE password_users;\n");
    fs::write(directory.join("pg_hba.conf"), ACCESS).expect("write pg_hba.conf");
}

fn run(command: &mut Command, input: &str) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("its input is a pipe");
    stdin.write_all(input.as_bytes()).expect("write its input");
    drop(stdin);
    let output = child.wait_with_output().expect("wait for it");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// PostgreSQL refuses to run as root.
fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/");
    if let Some(user) = substitute_user() {
        command.uid(user).gid(user);
    }
    command
}

/// For root, the user `nobody`, by its number on Debian and most others.
fn substitute_user() -> Option<u32> {
    rustix::process::getuid().is_root().then_some(65_534)
}

fn write_private(path: &Path, content: &[u8]) {
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path).expect("open");
    file.write_all(content).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
    if let Some(user) = substitute_user() {
        chown(path, Some(user), Some(user)).expect("give the file to the server's user");
    }
}

fn append(path: &Path, text: &str) {
    let file: std::io::Result<File> = OpenOptions::new().append(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
}
