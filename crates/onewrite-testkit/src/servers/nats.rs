//! NATS with JetStream, one server.

use std::path::PathBuf;
use std::sync::Arc;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::aside::aside;
use super::nats_process::{Server, api, read_all};
use super::nats_wire::FIXTURE;
use crate::conformance::sink::Arrived;

/// A NATS server of the test's own. Clones are the same server; it ends with the last.
#[derive(Clone)]
pub struct Nats {
    server: Arc<Server>,
    shared: bool,
}

impl Nats {
    /// The user, the password and the token of the fixture itself: a test that configures logins lets it do everything, and
    /// one that configures TLS sets `allow_non_tls`.
    pub const FIXTURE: &'static str = FIXTURE;

    /// Starts a server with further settings of its configuration file.
    pub async fn start(settings: &str) -> Self {
        Self::start_in(None, settings).await
    }

    /// Starts a server whose JetStream is a domain of its own, as those behind leaf nodes are.
    pub async fn start_in_domain(domain: &'static str) -> Self {
        Self::start_in(Some(domain), "").await
    }

    async fn start_in(domain: Option<&'static str>, settings: &str) -> Self {
        let settings = settings.to_owned();
        let server = aside(move || {
            let server = Server::prepare("single", domain, "");
            server.configure(&settings);
            server.start();
            server
        });
        Self {
            server: Arc::new(server.await),
            shared: false,
        }
    }

    /// The one server that all tests of a process share, each with streams and subjects of its own. It cannot be stopped.
    pub async fn shared() -> Self {
        static SERVER: OnceCell<Nats> = OnceCell::const_new();
        let start = async || Self {
            shared: true,
            ..Self::start("").await
        };
        SERVER.get_or_init(start).await.clone()
    }

    /// Where it listens, as `nats://HOST:PORT`; the same after every restart.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// Where it listens, as `HOST:PORT`.
    pub fn address(&self) -> String {
        self.server.address()
    }

    /// The directory of everything that the server keeps.
    pub fn data_directory(&self) -> PathBuf {
        self.server.process().home().data()
    }

    /// The file with the server's own messages.
    pub fn log(&self) -> PathBuf {
        self.server.process().home().log()
    }

    /// Creates a stream in files that takes these subjects, with further settings as the API names them, such as
    /// `{"max_msg_size": 1000}`.
    pub async fn create_stream(&self, name: &str, subjects: &[&str], settings: Value) {
        let body = stream(name, subjects, settings);
        self.api(&format!("STREAM.CREATE.{name}"), body).await;
    }

    /// Gives a stream other subjects and settings; what it holds stays.
    pub async fn update_stream(&self, name: &str, subjects: &[&str], settings: Value) {
        let body = stream(name, subjects, settings);
        self.api(&format!("STREAM.UPDATE.{name}"), body).await;
    }

    /// Deletes a stream and all it holds.
    pub async fn delete_stream(&self, name: &str) {
        self.api(&format!("STREAM.DELETE.{name}"), json!({})).await;
    }

    /// Sends a request of the JetStream API, such as `STREAM.INFO.EVENTS`, until it is done, and returns the answer.
    pub async fn api(&self, request: &str, body: Value) -> Value {
        api(vec![self.address()], request, body).await
    }

    /// Everything that a stream holds, in the order of arrival. Nothing is consumed.
    ///
    /// # Panics
    /// When the stream cannot be read.
    pub async fn read_all(&self, stream: &str) -> Vec<Arrived> {
        read_all(vec![self.address()], stream).await
    }

    /// Changes the settings that [`start`](Self::start) was given, and has the server take them without a restart.
    pub async fn reload(&self, settings: &str) {
        let settings = settings.to_owned();
        self.change(move |server| {
            server.configure(&settings);
            server.reload();
        })
        .await;
    }

    /// Freezes the server: connections stay open and nothing answers.
    pub fn stop(&self) {
        self.require_own();
        self.server.process().home().signal(Signal::STOP);
    }

    /// Ends [`stop`](Self::stop).
    pub fn continue_(&self) {
        self.require_own();
        self.server.process().home().signal(Signal::CONT);
    }

    /// Kills the server, as a crash does. It stays down until [`restart`](Self::restart).
    pub async fn kill9(&self) {
        self.change(|server| server.process().kill()).await;
    }

    /// Starts it again, on the same port and data, and waits until it serves; first shuts it down if it runs.
    pub async fn restart(&self) {
        let restart = |server: &Server| {
            server.process().stop(Signal::TERM);
            server.start();
        };
        self.change(restart).await;
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

/// The description of a stream.
pub(super) fn stream(name: &str, subjects: &[&str], settings: Value) -> Value {
    let mut stream = json!({ "name": name, "subjects": subjects, "storage": "file" });
    if let (Some(stream), Value::Object(settings)) = (stream.as_object_mut(), settings) {
        stream.extend(settings);
    }
    stream
}
