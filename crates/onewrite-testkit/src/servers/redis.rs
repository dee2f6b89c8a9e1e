//! Redis: one server that synchronises its log to disk for each write, and clusters of three.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use rustix::process::Signal;
use tokio::sync::OnceCell;

use super::aside::aside;
use super::home::Home;
use super::port::Port;
use super::process::Process;
use super::resp::{Connection, Reply};
use crate::conformance::sink::Arrived;
use crate::wait;

/// For messages when it cannot be started.
const PACKAGE: &str = "Redis (Debian's package redis-server, which `./x up` installs)";

/// A Redis server of the test's own on 127.0.0.1. Everything acknowledged is on its disk, unless a test wants it otherwise.
/// Clones are the same server; it ends with the last.
#[derive(Clone)]
pub struct Redis {
    server: Arc<Server>,
    shared: bool,
}

struct Server {
    process: Process,
    port: Port,
    /// For TLS, or for a cluster's own traffic.
    other_port: Port,
    settings: Vec<(String, String)>,
}

impl Redis {
    /// Starts a server with further settings of `redis.conf`. With any that begins with `tls-` it also listens on
    /// [`tls_port`](Self::tls_port).
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let settings = owned(settings);
        let server = aside(move || {
            let server = Server::prepare(settings);
            server.start();
            server
        });
        Self {
            server: Arc::new(server.await),
            shared: false,
        }
    }

    /// The one server that all tests of a process share, each with streams of its own names. It cannot be stopped.
    pub async fn shared() -> Self {
        static SERVER: OnceCell<Redis> = OnceCell::const_new();
        let start = async || Self {
            shared: true,
            ..Self::start(&[]).await
        };
        SERVER.get_or_init(start).await.clone()
    }

    /// The port that is not encrypted; the same after every restart.
    pub fn port(&self) -> u16 {
        self.server.port.number()
    }

    /// The port for TLS.
    pub fn tls_port(&self) -> u16 {
        self.server.other_port.number()
    }

    /// The address for clients, `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port())
    }

    /// One command, as the user `default`, by a client that knows nothing but the protocol.
    ///
    /// # Panics
    /// When the server cannot be reached.
    pub async fn command(&self, words: &[&str]) -> Reply {
        let (port, words) = (self.port(), strings(words));
        aside(move || Connection::open(port).command(&words)).await
    }

    /// How many entries a stream has; none while the server does not answer.
    pub async fn length(&self, stream: &str) -> Option<u64> {
        let (port, words) = (self.port(), strings(&["XLEN", stream]));
        let reply = aside(move || Connection::try_open(port)?.try_command(&words)).await;
        match reply {
            Ok(Reply::Integer(length)) => u64::try_from(length).ok(),
            _ => None,
        }
    }

    /// The directory of everything that the server keeps.
    pub fn data_directory(&self) -> PathBuf {
        self.server.process.home().data()
    }

    /// Everything in a stream, in its order. Nothing is consumed.
    ///
    /// # Panics
    /// When what has this name is no stream, or an entry is not one of the sink's.
    pub async fn read_all(&self, stream: &str) -> Vec<Arrived> {
        entries(self.command(&["XRANGE", stream, "-", "+"]).await)
    }

    /// Freezes the server: connections stay open and nothing answers.
    pub fn stop(&self) {
        self.require_own();
        self.server.process.home().signal(Signal::STOP);
    }

    /// Ends [`stop`](Self::stop).
    pub fn continue_(&self) {
        self.require_own();
        self.server.process.home().signal(Signal::CONT);
    }

    /// Kills the server, as a crash does. It stays down until [`restart`](Self::restart).
    pub async fn kill9(&self) {
        self.change(|server| server.process.kill()).await;
    }

    /// Starts it again, on the same port and data, and waits until it serves; first shuts it down if it runs.
    pub async fn restart(&self) {
        self.change(|server| {
            server.process.stop(Signal::TERM);
            server.start();
        })
        .await;
    }

    async fn change(&self, change: impl FnOnce(&Server) + Send + 'static) {
        self.require_own();
        let server = Arc::clone(&self.server);
        aside(move || change(&server)).await;
    }

    fn require_own(&self) {
        assert!(
            !self.shared,
            "other tests use the shared server; a test that stops one starts its own"
        );
    }
}

/// A cluster of three masters on 127.0.0.1, without replicas.
pub struct RedisCluster {
    /// Its servers; each has a third of the slots.
    pub servers: Vec<Redis>,
}

impl RedisCluster {
    /// Starts three servers and gives each a third of the slots.
    pub async fn start() -> Self {
        let mut servers = Vec::new();
        for _ in 0..3 {
            let settings = [("cluster-enabled", "yes"), ("cluster-node-timeout", "2000")];
            servers.push(Redis::start(&settings).await);
        }
        let mut words = strings(&["--cluster", "create"]);
        words.extend(servers.iter().map(|server| format!("127.0.0.1:{}", server.port())));
        words.push("--cluster-yes".to_owned());
        let created = aside(move || Command::new("redis-cli").args(&words).output()).await;
        let created = created.unwrap_or_else(|error| panic!("redis-cli, Debian's package redis-tools: {error}"));
        assert!(
            created.status.success(),
            "the cluster was not made: {}{}",
            String::from_utf8_lossy(&created.stdout),
            String::from_utf8_lossy(&created.stderr)
        );
        let cluster = Self { servers };
        for server in &cluster.servers {
            wait::until("every server of the cluster knows all slots", async || {
                let info = server.command(&["CLUSTER", "INFO"]).await.text();
                info.contains("cluster_state:ok").then_some(())
            })
            .await;
        }
        cluster
    }

    /// Everything in a stream, whichever server has it.
    pub async fn read_all(&self, stream: &str) -> Vec<Arrived> {
        for server in &self.servers {
            match server.command(&["XRANGE", stream, "-", "+"]).await {
                Reply::Error(words) if words.starts_with("MOVED") => {}
                reply => return entries(reply),
            }
        }
        panic!("no server of the cluster has the stream {stream:?}");
    }
}

impl Server {
    fn prepare(settings: Vec<(String, String)>) -> Self {
        let home = Home::new("redis", "TERM");
        std::fs::create_dir_all(home.data()).expect("create the server's directory");
        Self {
            process: Process::new(PACKAGE, home),
            port: Port::take(),
            other_port: Port::take(),
            settings,
        }
    }

    fn start(&self) {
        let mut command = Command::new("redis-server");
        let (port, other) = (self.port.number().to_string(), self.other_port.number().to_string());
        command.args(["--bind", "127.0.0.1", "--port", &port, "--save", ""]);
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--loglevel", "notice"]);
        let has = |beginning: &str| self.settings.iter().any(|(name, _)| name.starts_with(beginning));
        if has("tls-") {
            command.args(["--tls-port", &other]);
        }
        if has("cluster-") {
            command.args(["--cluster-port", &other]);
        }
        for (name, value) in &self.settings {
            command.arg(format!("--{name}")).arg(value);
        }
        let port = self.port.number();
        self.process.start(command, |_| {
            let answered =
                Connection::try_open(port).and_then(|mut connection| connection.try_command(&strings(&["PING"])));
            answered.is_ok_and(|reply| reply == Reply::Simple("PONG".into()))
        });
    }
}

fn entries(reply: Reply) -> Vec<Arrived> {
    let Reply::Array(entries) = reply else {
        panic!("XRANGE answered {reply:?}");
    };
    entries.into_iter().map(arrived).collect()
}

/// An entry as the format `native` would have it in headers.
fn arrived(entry: Reply) -> Arrived {
    let Reply::Array(parts) = entry else {
        panic!("an entry is {entry:?}");
    };
    let Some(Reply::Array(fields)) = parts.into_iter().nth(1) else {
        panic!("an entry without fields");
    };
    let mut fields = fields.into_iter().map(Reply::bytes);
    let (mut key, mut payload) = (None, None);
    let mut headers = BTreeMap::new();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        let name = String::from_utf8(name).expect("a field's name is a text");
        if name == "payload" {
            payload = Some(value);
            continue;
        }
        let value = String::from_utf8(value).expect("all but the payload are texts");
        match name.as_str() {
            "key" => key = Some(value),
            "id" | "topic" | "type" | "occurred_at" | "replay" => {
                headers.insert(format!("onewrite-{}", name.replace('_', "-")), value);
            }
            "content_type" => {
                headers.insert("content-type".to_owned(), value);
            }
            _ => {
                let own = name.strip_prefix("header:");
                let own = own.unwrap_or_else(|| panic!("an entry has the field {name:?}"));
                headers.insert(own.to_lowercase(), value);
            }
        }
    }
    Arrived {
        id: headers["onewrite-id"].parse().expect("a UUID"),
        key,
        payload: payload.expect("an entry has a payload"),
        headers,
    }
}

fn owned(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = settings.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
