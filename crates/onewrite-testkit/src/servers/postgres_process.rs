//! Starting and stopping one PostgreSQL server.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::cache;
use super::home::Home;
use super::port::Port;
use super::process::Process;

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
    process: Process,
    port: Port,
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
        let server = Self::with_data(binaries, &template);
        let data = server.process.home().data();
        for (name, content) in files {
            write_private(&data.join(name), content);
        }
        let configuration = format!("{CONFIGURATION}port = {}\n{}", server.port(), lines(settings));
        append(&data.join("postgresql.conf"), &configuration);
        server
    }

    /// Prepares a standby of a server that is stopped, with a copy of its data. What stood in `postgresql.auto.conf` there holds
    /// here as well, unless `settings` say otherwise; slots are a server's own.
    pub fn prepare_standby(primary: &Self, settings: &[(String, String)]) -> Self {
        let server = Self::with_data(primary.binaries.clone(), &primary.process.home().data());
        let data = server.process.home().data();
        for slot in fs::read_dir(data.join("pg_replslot")).expect("list the slots") {
            fs::remove_dir_all(slot.expect("a slot").path()).expect("remove a slot");
        }
        let settings = format!("port = {}\n{}", server.port(), lines(settings));
        append(&data.join("postgresql.auto.conf"), &settings);
        write_private(&data.join("standby.signal"), b"");
        server
    }

    fn with_data(binaries: PathBuf, data: &Path) -> Self {
        let (home, port) = (Home::new("postgres", "QUIT"), Port::take());
        copy(data, &home.data());
        Self {
            binaries,
            process: Process::new("PostgreSQL", home),
            port,
        }
    }

    /// Copies the data of the server, which is stopped, to a directory that is not there yet.
    pub fn save(&self, backup: &Path) {
        copy(&self.process.home().data(), backup);
    }

    /// Puts what was saved in the place of the data of the server, which is stopped.
    pub fn restore(&self, backup: &Path) {
        let data = self.process.home().data();
        fs::remove_dir_all(&data).expect("remove the server's data");
        copy(backup, &data);
    }

    /// Starts the server and waits until it takes connections.
    pub fn start(&self) {
        let data = self.process.home().data();
        let mut command = unprivileged(&self.binaries.join("postgres"));
        command.arg("-D").arg(&data);
        self.process.start(command, |pid| is_ready(&data, pid));
    }

    /// The process and its home.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port.number()
    }
}

/// The server says in its own file when it takes connections, and under which process id.
fn is_ready(data: &Path, pid: u32) -> bool {
    let text = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.first() == Some(&pid.to_string().as_str()) && lines.get(7) == Some(&"ready")
}

fn make_template(binaries: &Path, directory: &Path) {
    if let Some(user) = substitute_user() {
        chown(directory, Some(user), Some(user)).expect("give the template to an unprivileged user");
    }
    let mut initialise = unprivileged(&binaries.join("initdb"));
    initialise
        .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N", "-D"])
        .arg(directory);
    run(&mut initialise, "");
    let mut single = unprivileged(&binaries.join("postgres"));
    single.args(["--single", "-D"]).arg(directory).arg("postgres");
    run(&mut single, "CREATE ROLE password_users;\n");
    fs::write(directory.join("pg_hba.conf"), ACCESS).expect("write pg_hba.conf");
}

fn run(command: &mut Command, input: &str) {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("its input is a pipe");
    stdin.write_all(input.as_bytes()).expect("write its input");
    drop(stdin);
    let output = child.wait_with_output().expect("wait for it");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
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

/// Copies a directory with the owners and modes of its files.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(
        copied.is_ok_and(|status| status.success()),
        "copy {} to {}",
        from.display(),
        to.display()
    );
}

/// Settings as a configuration file has them.
fn lines(settings: &[(String, String)]) -> String {
    let line = |(name, value): &(String, String)| format!("{name} = '{}'\n", value.replace('\'', "''"));
    settings.iter().map(line).collect()
}

/// Writes a file that the server alone can read.
pub fn write_private(path: &Path, content: &[u8]) {
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .expect("open");
    file.write_all(content)
        .unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
    if let Some(user) = substitute_user() {
        chown(path, Some(user), Some(user)).expect("give the file to the server's user");
    }
}

fn append(path: &Path, text: &str) {
    let file: std::io::Result<File> = OpenOptions::new().append(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
}
