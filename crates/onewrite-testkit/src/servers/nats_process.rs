//! Starting one nats-server.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use tokio::runtime::Handle;

use super::aside::aside;
use super::cache;
use super::home::Home;
use super::nats_wire::{Wire, succeeded};
use super::port::Port;
use super::process::Process;
use crate::conformance::sink::Arrived;
use crate::wait;

/// A server's files, its port, and the process while it runs.
pub struct Server {
    binary: PathBuf,
    process: Process,
    port: Port,
    /// What the configuration holds besides the test's own.
    base: String,
}

impl Server {
    /// Prepares an empty server whose configuration begins with `base`, its JetStream in this domain. Messages are synchronised to disk before they are
    /// acknowledged, so that a kill loses none of them.
    pub fn prepare(name: &str, domain: Option<&str>, base: &str) -> Self {
        let version = cache::version("nats");
        let package = format!("NATS {version}, Go module github.com/nats-io/nats-server/v2");
        let directory = cache::server(&format!("nats-{version}"), &package);
        let home = Home::new("nats", "KILL");
        let (data, port) = (home.data(), Port::take());
        fs::create_dir_all(&data).expect("create the server's directory");
        let domain = domain.map_or(String::new(), |domain| format!("domain: {domain}, "));
        let base = format!(
            "server_name: {name}\nlisten: \"127.0.0.1:{}\"\n{base}\n\
             jetstream {{ {domain}store_dir: \"{}\", sync_interval: always, max_memory_store: 256MB, max_file_store: 4GB }}\n",
            port.number(),
            data.display()
        );
        Self {
            binary: directory.join("nats-server"),
            process: Process::new("NATS", home),
            port,
            base,
        }
    }

    /// Writes the configuration, with the test's own settings.
    pub fn configure(&self, settings: &str) {
        fs::write(self.configuration(), format!("{}{settings}\n", self.base)).expect("write nats.conf");
    }

    /// Starts the server and waits until it serves.
    pub fn start(&self) {
        let mut command = Command::new(&self.binary);
        command.arg("-c").arg(self.configuration());
        let before = self.log_length();
        self.process
            .start(command, |_| self.log_since(before).contains("Server is ready"));
    }

    /// Has the running server read its configuration again, and waits until it has.
    pub fn reload(&self) {
        let before = self.log_length();
        self.process.home().signal(Signal::HUP);
        let reloaded = wait::holds(|| self.log_since(before).contains("Reloaded server configuration"));
        assert!(
            reloaded,
            "NATS did not take its new configuration; its log ends:\n{}",
            self.process.home().log_tail()
        );
    }

    /// The process and its home.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port.number())
    }

    fn configuration(&self) -> PathBuf {
        self.process.home().path().join("nats.conf")
    }

    fn log_length(&self) -> u64 {
        fs::metadata(self.process.home().log()).map_or(0, |data| data.len())
    }

    fn log_since(&self, before: u64) -> String {
        let mut bytes = Vec::new();
        let read = File::open(self.process.home().log()).and_then(|mut file| {
            file.seek(SeekFrom::Start(before))?;
            file.read_to_end(&mut bytes)
        });
        read.map_or_else(|_| String::new(), |_| String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Asks these servers in turn until the JetStream API answers without an error: a cluster needs a leader first.
///
/// # Panics
/// When the request makes no sense to the server, in its own words, or when nobody answers.
pub async fn api(addresses: Vec<String>, request: &str, body: Value) -> Value {
    let request = request.to_owned();
    let what = format!("NATS does {request}");
    first(what, addresses, async move |wire: &mut Wire| {
        let answer = wire.api(&request, &body).await?;
        assert_ne!(answer["error"]["code"], BAD_REQUEST, "{request} {body}: {answer}");
        succeeded(answer)
    })
    .await
}

/// Everything that a stream holds, from the first of these servers that can tell.
pub async fn read_all(addresses: Vec<String>, stream: &str) -> Vec<Arrived> {
    let stream = stream.to_owned();
    let what = format!("the stream {stream} is read");
    first(what, addresses, async move |wire: &mut Wire| {
        wire.read_all(&stream).await
    })
    .await
}

const BAD_REQUEST: u64 = 400;

/// The first answer that is no error, from these servers in turn.
async fn first<T: Send + 'static>(
    what: String,
    addresses: Vec<String>,
    mut ask: impl AsyncFnMut(&mut Wire) -> io::Result<T> + Send + 'static,
) -> T {
    let runtime = Handle::current();
    let asked = move || {
        wait::until_blocking(&what, || {
            addresses.iter().find_map(|address| {
                let answer = async { ask(&mut Wire::connect(address).await?).await };
                runtime.block_on(answer).ok()
            })
        })
    };
    aside(asked).await
}
