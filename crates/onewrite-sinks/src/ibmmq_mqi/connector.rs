//! Connecting, and the findings of `onewrite check`.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use onewrite_core::error::{SinkError, chain};
use onewrite_core::sink::Finding;
use onewrite_core::verify::ReadBack;
use onewrite_core::{Sink, SinkConnector};
use tokio::task::spawn_blocking;

use super::connection::Connection;
use super::library::Library;
use super::owner;
use super::reason::Refusal;
use super::settings::MqiSettings;
use super::sink::MqiSink;
use crate::ibmmq::request::is_name;
use crate::ibmmq::settings::Destination;
use crate::rotation::Rotation;

pub(super) struct MqiConnector {
    settings: Arc<MqiSettings>,
    library: Arc<OnceLock<Arc<Library>>>,
    /// Moved on by a sink whose server has failed.
    rotation: Arc<Rotation>,
    /// For each server, whether a thread is inside the library's call to connect to it.
    connecting: Vec<Arc<AtomicBool>>,
}

impl MqiConnector {
    pub(super) fn new(settings: MqiSettings) -> Self {
        Self {
            connecting: settings.servers.iter().map(|_| Arc::default()).collect(),
            settings: Arc::new(settings),
            library: Arc::default(),
            rotation: Arc::default(),
        }
    }

    /// The library, opened when it is first needed: it may be installed while the program runs.
    async fn library(&self) -> Result<Arc<Library>, SinkError> {
        if let Some(library) = self.library.get() {
            return Ok(Arc::clone(library));
        }
        let settings = Arc::clone(&self.settings);
        let opened = spawn_blocking(move || Library::open(settings.library.as_deref()))
            .await
            .map_err(|error| SinkError::reconnect("opening IBM's client library failed").because(error))??;
        Ok(Arc::clone(self.library.get_or_init(|| Arc::new(opened))))
    }

    /// What the options alone tell.
    fn settings_findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.settings.tls.is_none() {
            findings.push(Finding::warning(
                "cipher_spec",
                "is not set, so whoever carries the traffic can read the events; set cipher_spec and key_repository",
            ));
        }
        if self.settings.credentials.is_none() && self.settings.tls.is_none() {
            findings.push(Finding::warning(
                "credentials",
                "are not set; that is enough only where the channel asks for none",
            ));
        }
        if !self.settings.persistent {
            findings.push(Finding::warning(
                "persistent",
                "is off: a restart of the queue manager loses what was delivered; set it to true",
            ));
        }
        if matches!(self.settings.destination, Destination::Topic(_)) {
            findings.push(Finding::warning(
                "destination",
                "is a topic, which keeps nothing for those without a subscription; make durable subscriptions before events flow",
            ));
        }
        findings
    }
}

#[async_trait]
impl SinkConnector for MqiConnector {
    fn kind(&self) -> &'static str {
        "ibmmq"
    }

    async fn connect(&self) -> Result<Box<dyn Sink>, SinkError> {
        let library = self.library().await?;
        let (server, owner) = self
            .rotation
            .connect(self.settings.servers.len(), |server| {
                let (library, settings) = (Arc::clone(&library), Arc::clone(&self.settings));
                owner::start(library, settings, server, &self.connecting[server])
            })
            .await?;
        Ok(Box::new(MqiSink {
            settings: Arc::clone(&self.settings),
            owner,
            server,
            rotation: Arc::clone(&self.rotation),
            hangs: AtomicBool::new(false),
        }))
    }

    fn read_back(&self) -> Result<Box<dyn ReadBack>, &'static str> {
        Err(crate::ibmmq::NOT_READ_BACK)
    }

    async fn probe(&self, topics: &[String]) -> Vec<Finding> {
        let mut findings = self.settings_findings();
        let library = match self.library().await {
            Ok(library) => library,
            Err(error) => {
                findings.push(Finding::broken("library", chain(&error)));
                return findings;
            }
        };
        let names = match &self.settings.destination {
            Destination::Queue(queue) => queue.for_topics(topics),
            Destination::Topic(topic) => topic.for_topics(topics),
        };
        let settings = Arc::clone(&self.settings);
        match spawn_blocking(move || look(&library, &settings, &names)).await {
            Ok(found) => findings.extend(found),
            Err(error) => findings.push(Finding::broken("library", chain(&error))),
        }
        findings
    }
}

/// Connects to every server, and opens every destination at the first that answers.
fn look(library: &Arc<Library>, settings: &Arc<MqiSettings>, names: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut looked = false;
    for server in &settings.servers {
        let address = &server.connection_name;
        let subject = format!("server {address}");
        match Connection::open(Arc::clone(library), Arc::clone(settings), server) {
            Err(failure) => findings.push(Finding::broken(subject, chain(&failure.connecting(address)))),
            Ok(mut connection) => {
                findings.push(Finding::works(subject, "answers and lets the user connect"));
                if !looked {
                    let found = names
                        .iter()
                        .map(|name| look_at(&mut connection, settings, address, name));
                    findings.extend(found);
                }
                looked = true;
            }
        }
    }
    findings
}

fn look_at(connection: &mut Connection, settings: &MqiSettings, address: &str, name: &str) -> Finding {
    let queue = matches!(settings.destination, Destination::Queue(_));
    let subject = format!(
        "{} {name} of {}",
        if queue { "queue" } else { "topic" },
        settings.queue_manager
    );
    if queue && !is_name(name) {
        return Finding::broken(
            subject,
            "cannot be the name of a queue; use 1 to 48 of the characters A-Z a-z 0-9 . / _ %, or change the template",
        );
    }
    match connection.object(name) {
        Ok(_) => Finding::works(subject, "is there, and the user may put to it"),
        Err(failure) => match failure.putting(address) {
            Refusal::One(error) | Refusal::All(error) => Finding::broken(subject, chain(&error)),
        },
    }
}
