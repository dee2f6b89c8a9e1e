//! Starting one RabbitMQ node.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::home::Home;
use super::port::Port;
use super::process::Process;

/// Where the packages of Debian and Ubuntu put it, each version in a directory of its own.
const LIBRARIES: &str = "/usr/lib/rabbitmq/lib";

/// The node's own little name server first, in the foreground: one that turns itself into a daemon would outlive the test.
const START: &str = r#"epmd -port "$ERL_EPMD_PORT" -address 127.0.0.1 & exec "$1""#;

/// Small files, since every test process has its own node: the write-ahead log of quorum queues may otherwise take 512 MB, and
/// publishers are blocked below 50 MB of free disk.
const CONFIGURATION: &str = "
log.console = true
log.console.level = warning
log.file = false
disk_free_limit.absolute = 1MB
raft.wal_max_size_bytes = 67108864
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = EXTERNAL
ssl_cert_login_from = common_name
";

/// A node's files, its ports, and its processes while they run.
pub struct Node {
    programs: PathBuf,
    process: Process,
    port: Port,
    encrypted_port: Port,
    name_server: Port,
    distribution: Port,
}

impl Node {
    /// Prepares an empty node with further settings of `rabbitmq.conf`; `{encrypted_port}` in a value stands for the second port.
    pub fn prepare(settings: &[(String, String)]) -> Self {
        let home = Home::new("rabbitmq", "KILL");
        fs::create_dir_all(home.data()).expect("create the node's directory");
        let node = Self {
            programs: programs(),
            process: Process::new("RabbitMQ", home),
            port: Port::take(),
            encrypted_port: Port::take(),
            name_server: Port::take(),
            distribution: Port::take(),
        };
        let mut configuration = format!("{CONFIGURATION}listeners.tcp.1 = 127.0.0.1:{}\n", node.port());
        for (name, value) in settings {
            let value = value.replace("{encrypted_port}", &node.encrypted_port().to_string());
            configuration.push_str(&format!("{name} = {value}\n"));
        }
        let write = |name: &str, text: &str| {
            let path = node.process.home().path().join(name);
            fs::write(&path, text).unwrap_or_else(|error| panic!("write {name}: {error}"));
            path
        };
        write("rabbitmq.conf", &configuration);
        write("rabbitmq-env.conf", "");
        write("enabled_plugins", "[rabbitmq_auth_mechanism_ssl].\n");
        // Erlang's own, in the home directory that it is shown: only this node and its tools talk to each other.
        let cookie = write(".erlang.cookie", &uuid::Uuid::new_v4().simple().to_string());
        fs::set_permissions(cookie, fs::Permissions::from_mode(0o400)).expect("protect the cookie");
        node
    }

    /// Starts the node and waits until it answers clients.
    pub fn start(&self) {
        let mut command = Command::new("sh");
        command
            .args(["-c", START, "sh"])
            .arg(self.programs.join("rabbitmq-server"));
        self.process
            .start(self.in_its_home(command), |_| answers(self.port()).is_some());
    }

    /// Runs one of RabbitMQ's own tools against this node, such as `rabbitmqctl`, and returns what it printed.
    pub fn tool(&self, program: &str, arguments: &[String]) -> String {
        let mut command = self.in_its_home(Command::new(self.programs.join(program)));
        let output = command.args(arguments).current_dir(self.process.home().data()).output();
        let output = output.unwrap_or_else(|error| panic!("{program} cannot be run: {error}"));
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {printed}{complaint}");
        printed
    }

    /// Whether a quorum queue is in the file from which a restarted node learns of it.
    pub fn has_written_down(&self, queue: &str) -> Option<()> {
        let names = "mnesia/onewrite@localhost/quorum/onewrite@localhost/names.dets";
        let names = fs::read(self.process.home().data().join(names)).ok()?;
        // Behind the virtual host.
        let name = format!("_{queue}");
        names
            .windows(name.len())
            .any(|part| part == name.as_bytes())
            .then_some(())
    }

    /// The processes and their home.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Where it takes plain connections.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Where it takes encrypted ones, if the settings say so.
    pub fn encrypted_port(&self) -> u16 {
        self.encrypted_port.number()
    }

    /// Everything that would otherwise be shared with other nodes of this machine.
    fn in_its_home(&self, mut command: Command) -> Command {
        let home = self.process.home();
        let file = |name: &str| home.path().join(name);
        command
            .env("HOME", home.path())
            .env("ERL_EPMD_PORT", self.name_server.number().to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", "onewrite@localhost")
            .env("RABBITMQ_DIST_PORT", self.distribution.number().to_string())
            .env("RABBITMQ_CONF_ENV_FILE", file("rabbitmq-env.conf"))
            .env("RABBITMQ_CONFIG_FILE", file("rabbitmq"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", file("advanced.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", file("enabled_plugins"))
            .env("RABBITMQ_LOG_BASE", home.path())
            .env("RABBITMQ_MNESIA_BASE", home.data().join("mnesia"))
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1}",
            );
        command
    }
}

/// Whether a server on this port of 127.0.0.1 begins to speak AMQP 0-9-1.
fn answers(port: u16) -> Option<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"AMQP\0\0\x09\x01").ok()?;
    let mut first = [0; 11];
    stream.read_exact(&mut first).ok()?;
    // A method frame of channel 0 with connection.start.
    (first[0] == 1 && first[7..] == [0, 10, 0, 10]).then_some(())
}

/// The programs themselves: those in /usr/sbin are wrappers that change the user and the directory.
fn programs() -> PathBuf {
    let versions = fs::read_dir(LIBRARIES).into_iter().flatten();
    let mut found: Vec<_> = versions
        .filter_map(|entry| Some(entry.ok()?.path().join("sbin")))
        .filter(|path| path.join("rabbitmq-server").is_file())
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| {
        let place = Path::new(LIBRARIES).display();
        panic!("there is no RabbitMQ under {place}: Debian's package rabbitmq-server; `./x up` installs it")
    })
}
