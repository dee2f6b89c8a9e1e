//! Apicurio Registry, which speaks the API of Confluent's schema registry.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::aside::aside;
use super::cache;
use super::home::Home;
use super::port::Port;
use super::process::Process;

/// A schema registry of the test's own. Clones are the same registry; it ends with the last.
#[derive(Clone)]
pub struct SchemaRegistry {
    server: Arc<Server>,
    shared: bool,
}

struct Server {
    runner: PathBuf,
    process: Process,
    port: Port,
}

/// Where Apicurio has the API of Confluent's registry.
const PATH: &str = "/apis/ccompat/v7";

/// How long one of the fixture's own requests may take.
const PATIENCE: Duration = Duration::from_secs(20);

impl SchemaRegistry {
    /// Starts an empty registry, which refuses schemas that are not backward compatible, as Confluent's does.
    pub async fn start() -> Self {
        let start = || {
            let server = Server::prepare();
            server.start();
            server.ask("PUT", "/config", Some(&json!({"compatibility": "BACKWARD"})));
            server
        };
        Self {
            server: Arc::new(aside(start).await),
            shared: false,
        }
    }

    /// The one registry that all tests of a process share, each with subjects of its own names. It cannot be stopped.
    pub async fn shared() -> Self {
        static REGISTRY: OnceCell<SchemaRegistry> = OnceCell::const_new();
        let start = async || Self {
            shared: true,
            ..Self::start().await
        };
        REGISTRY.get_or_init(start).await.clone()
    }

    /// Its address, the same after every restart.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}{PATH}", self.server.port.number())
    }

    /// The port of 127.0.0.1 that it listens on, and the path of its API, for tests that stand before it.
    pub fn address(&self) -> (u16, &'static str) {
        (self.server.port.number(), PATH)
    }

    /// Registers a schema: `kind` is `AVRO`, `JSON` or `PROTOBUF`, `references` are names, subjects and versions. Returns its id.
    pub async fn register(&self, subject: &str, kind: &str, schema: &str, references: &[(&str, &str, u32)]) -> u32 {
        let references: Vec<_> = references
            .iter()
            .map(|(name, subject, version)| json!({"name": name, "subject": subject, "version": version}))
            .collect();
        let body = json!({"schema": schema, "schemaType": kind, "references": references});
        let path = format!("/subjects/{subject}/versions");
        let answer = self.ask("POST", &path, Some(body)).await;
        let id = answer["id"].as_u64().and_then(|id| u32::try_from(id).ok());
        id.unwrap_or_else(|| panic!("the registry answered {answer} to a schema for {subject}"))
    }

    /// The answer to a request, such as `GET` of `/subjects`.
    pub async fn ask(&self, method: &'static str, path: &str, body: Option<Value>) -> Value {
        let (server, path) = (Arc::clone(&self.server), path.to_owned());
        aside(move || server.ask(method, &path, body.as_ref())).await
    }

    /// Kills it, as a crash does. It stays down until [`restart`](Self::restart).
    pub async fn kill9(&self) {
        self.change(|server| server.process.home().kill()).await;
    }

    /// Starts it again, on the same port and data; first shuts it down if it runs.
    pub async fn restart(&self) {
        let restart = |server: &Server| {
            server.process.stop(Signal::TERM);
            server.start();
        };
        self.change(restart).await;
    }

    /// Freezes it: connections stay open and nothing answers.
    pub fn stop(&self) {
        self.require_own();
        self.server.process.home().signal(Signal::STOP);
    }

    /// Ends [`stop`](Self::stop).
    pub fn continue_(&self) {
        self.require_own();
        self.server.process.home().signal(Signal::CONT);
    }

    async fn change(&self, change: impl FnOnce(&Server) + Send + 'static) {
        self.require_own();
        let server = Arc::clone(&self.server);
        aside(move || change(&server)).await;
    }

    fn require_own(&self) {
        assert!(
            !self.shared,
            "other tests use the shared registry; a test that stops one starts its own"
        );
    }
}

impl Server {
    fn prepare() -> Self {
        let version = cache::version("apicurio");
        let package = format!("Apicurio Registry {version}, Maven package io.apicurio:apicurio-registry-app");
        let files = cache::server(&format!("apicurio-{version}"), &package);
        let home = Home::new("registry", "KILL");
        std::fs::create_dir_all(home.data()).expect("create the registry's directory");
        Self {
            runner: files.join(format!("apicurio-registry-app-{version}-runner.jar")),
            process: Process::new("Apicurio Registry", home),
            port: Port::take(),
        }
    }

    fn start(&self) {
        let mut command = Command::new("java");
        command
            .arg("-Xmx256m")
            .arg("-XX:TieredStopAtLevel=1")
            .arg("-jar")
            .arg(&self.runner)
            .env("QUARKUS_HTTP_HOST", "127.0.0.1")
            .env("QUARKUS_HTTP_PORT", self.port.number().to_string())
            // What was answered is on the disk, so that a crash takes nothing back.
            .env("REGISTRY_DATASOURCE_URL", "jdbc:h2:file:./registry;WRITE_DELAY=0");
        self.process.start(command, |_| self.is_ready());
    }

    fn is_ready(&self) -> bool {
        let answer = self.request("GET", "/health/ready", None);
        answer.is_some_and(|(status, _)| status == 200)
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let path = format!("{PATH}{path}");
        let (_, answer) = self
            .request(method, &path, body)
            .unwrap_or_else(|| panic!("the registry does not answer {method} {path}"));
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{method} {path}: {answer:?}: {error}"))
    }

    /// The answer's status and body. HTTP 1.0, so that the body ends with the connection.
    fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port.number())).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.0\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }
}
