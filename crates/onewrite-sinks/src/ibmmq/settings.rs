//! The options of the sink, read and checked against each other.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use onewrite_core::options::{Options, Secret};
use onewrite_core::template::Template;
use reqwest::Url;
use reqwest::header::HeaderValue;

use super::request::{is_name, topic_path};
use crate::limits::{HTTP_TIMEOUT_MAX, HTTP_TIMEOUT_MIN, IBMMQ_EXPIRY_MAX};
use crate::registry::BuildError;
use crate::tls::TlsFiles;

/// Everything that the options say.
pub(super) struct Settings {
    /// Scheme, host and port of each server, without a slash at the end.
    pub servers: Vec<String>,
    pub queue_manager: String,
    pub destination: Destination,
    /// `authorization` by name and password; marked as sensitive.
    pub authorization: Option<HeaderValue>,
    password: Option<Secret>,
    pub version: Version,
    pub properties: Properties,
    pub persistent: bool,
    pub expiry: Option<Duration>,
    pub priority: Option<i64>,
    pub message_bytes_max: usize,
    pub timeout: Duration,
    pub concurrency: usize,
    pub tls: TlsFiles,
}

/// Where events go.
pub(crate) enum Destination {
    Queue(Template),
    Topic(Template),
}

/// The version of the REST API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    V1,
    V2,
    V3,
}

impl Version {
    /// As a path has it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::V3 => "v3",
        }
    }
}

/// How header values are written as user properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Properties {
    None,
    Plain,
    Quoted,
}

/// Whether the options ask for the client protocol of IBM MQ.
pub(crate) fn wants_mqi(options: &Options) -> bool {
    options.text("transport") == Some("mqi")
}

/// Refuses what only the other transport has. An option with a default cannot be told from one that is not there, and says nothing.
pub(crate) fn refuse_foreign(options: &Options) -> Result<(), BuildError> {
    let texts = |names: &[&'static str]| names.iter().copied().find(|name| options.text(name).is_some());
    if !wants_mqi(options) {
        return match texts(&["channel", "cipher_spec", "key_repository", "library"]) {
            Some(name) => Err(BuildError::new(
                options,
                name,
                "is for transport \"mqi\", found \"rest\"; leave it out",
            )),
            None => Ok(()),
        };
    }
    if let Some(name) = texts(&["ca_file", "certificate_file", "key_file"]) {
        let words = "is for transport \"rest\", found \"mqi\", whose certificates are in key_repository";
        return Err(BuildError::new(options, name, words));
    }
    let changed = [
        ("api_version", options.text("api_version") != Some("v3")),
        ("properties", options.text("properties") != Some("quoted")),
        ("concurrency", options.integer("concurrency") != Some(16)),
    ];
    match changed.into_iter().find(|(_, changed)| *changed) {
        Some((name, _)) => Err(BuildError::new(
            options,
            name,
            "is for transport \"rest\", found \"mqi\"; leave it out",
        )),
        None => Ok(()),
    }
}

impl Settings {
    pub(super) fn read(options: &Options) -> Result<Self, BuildError> {
        refuse_foreign(options)?;
        let servers = servers(options)?;
        let encrypted = servers.iter().any(|server| server.starts_with("https:"));
        let version = match options.text("api_version") {
            Some("v1") => Version::V1,
            Some("v2") => Version::V2,
            _ => Version::V3,
        };
        let properties = match options.text("properties") {
            _ if version < Version::V3 => Properties::None,
            Some("none") => Properties::None,
            Some("plain") => Properties::Plain,
            _ => Properties::Quoted,
        };
        let priority = options.integer("priority");
        if priority.is_some() && version < Version::V3 {
            let words = format!("needs api_version \"v3\", found {:?}", version.as_str());
            return Err(BuildError::new(options, "priority", words));
        }
        Ok(Self {
            queue_manager: queue_manager(options)?,
            destination: destination(options, version)?,
            authorization: authorization(options)?,
            password: options.secret("password").cloned(),
            version,
            properties,
            persistent: options.flag("persistent"),
            expiry: expiry(options)?,
            priority,
            message_bytes_max: whole(options, "max_message_bytes", 4 << 20),
            timeout: timeout(options)?,
            concurrency: whole(options, "concurrency", 16),
            tls: TlsFiles::read(options, (!encrypted).then_some(("http", "https")))?,
            servers,
        })
    }

    /// The servers to which the connection is not encrypted.
    pub(super) fn unencrypted(&self) -> impl Iterator<Item = &str> {
        let servers = self.servers.iter().map(String::as_str);
        servers.filter(|server| server.starts_with("http:"))
    }

    /// `text` without the password, for a server that repeats what it was sent.
    pub(super) fn redact(&self, text: &str) -> String {
        match &self.password {
            // A shorter one would black out ordinary words and is no secret worth the name.
            Some(password) if password.expose().len() >= 6 => text.replace(password.expose(), "…"),
            _ => text.to_owned(),
        }
    }
}

fn servers(options: &Options) -> Result<Vec<String>, BuildError> {
    let problem = |words: String| BuildError::new(options, "urls", words);
    let texts = options.list("urls");
    if texts.is_empty() {
        return Err(problem(
            "is empty; name at least one server, such as \"https://mq.example.com:9443\"".to_owned(),
        ));
    }
    let server = |text: &String| {
        // What cannot be read may hold a password, so it is not repeated.
        let url = Url::parse(text).map_err(|error| {
            problem("holds what is not a URL; expected something like \"https://mq.example.com:9443\"".to_owned())
                .because(error)
        })?;
        if url.scheme() == "mq" {
            return Err(problem(
                "holds the scheme \"mq\", which is for transport \"mqi\"; expected https or http".to_owned(),
            ));
        }
        if !matches!(url.scheme(), "http" | "https") {
            let words = format!("holds the scheme {:?}; expected https or http", url.scheme());
            return Err(problem(words));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(problem(
                "holds a user or a password, which would show up in logs; use user and password".to_owned(),
            ));
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(problem(
                "holds more than a server; leave out what follows the port, the sink adds /ibmmq/rest itself"
                    .to_owned(),
            ));
        }
        Ok(url.origin().ascii_serialization())
    };
    texts.iter().map(server).collect()
}

pub(crate) fn queue_manager(options: &Options) -> Result<String, BuildError> {
    let name = options.text("queue_manager").unwrap_or_default();
    if is_name(name) {
        return Ok(name.to_owned());
    }
    let words = format!("is {name:?}; expected 1 to 48 of the characters A-Z a-z 0-9 . / _ %");
    Err(BuildError::new(options, "queue_manager", words))
}

fn destination(options: &Options, version: Version) -> Result<Destination, BuildError> {
    if options.text("destination") == Some("topic") {
        if version == Version::V1 {
            let words = "\"topic\" needs api_version \"v2\" or \"v3\", found \"v1\"";
            return Err(BuildError::new(options, "destination", words));
        }
        let topic = options.template("topic_string").cloned().expect("it has a default");
        if let Some(Err(problem)) = topic.literal().map(topic_path) {
            return Err(BuildError::new(options, "topic_string", problem));
        }
        return Ok(Destination::Topic(topic));
    }
    queue(options).map(Destination::Queue)
}

/// The template of a queue's name.
pub(crate) fn queue(options: &Options) -> Result<Template, BuildError> {
    let queue = options.template("queue").cloned().expect("it has a default");
    match queue.literal() {
        Some(name) if !is_name(name) => {
            let words = format!("is {name:?}; expected 1 to 48 of the characters A-Z a-z 0-9 . / _ %");
            Err(BuildError::new(options, "queue", words))
        }
        _ => Ok(queue),
    }
}

/// Name and password, if there are any.
pub(crate) fn pair(options: &Options) -> Result<Option<(&str, &Secret)>, BuildError> {
    let password = options.secret("password");
    if password.is_some_and(|password| password.expose().is_empty()) {
        let words = "is empty; leave it out, or set the variable that it comes from";
        return Err(BuildError::new(options, "password", words));
    }
    match (options.text("user"), password) {
        (None, None) => Ok(None),
        (Some(user), Some(password)) => Ok(Some((user, password))),
        (Some(_), None) => Err(BuildError::new(options, "user", "needs password")),
        (None, Some(_)) => Err(BuildError::new(options, "password", "needs user")),
    }
}

fn authorization(options: &Options) -> Result<Option<HeaderValue>, BuildError> {
    let Some((user, password)) = pair(options)? else {
        return Ok(None);
    };
    if user.is_empty() || user.contains(':') {
        let words = "is empty or holds a \":\", which a name sent over HTTP cannot";
        return Err(BuildError::new(options, "user", words));
    }
    let pair = STANDARD.encode(format!("{user}:{}", password.expose()));
    let mut value = HeaderValue::from_str(&format!("Basic {pair}")).expect("base64 makes a header's value");
    value.set_sensitive(true);
    Ok(Some(value))
}

pub(crate) fn expiry(options: &Options) -> Result<Option<Duration>, BuildError> {
    match options.duration("expiry") {
        Some(expiry) if expiry.is_zero() || expiry > IBMMQ_EXPIRY_MAX => {
            let words = format!("is {expiry:?}; expected 1ms to {IBMMQ_EXPIRY_MAX:?}");
            Err(BuildError::new(options, "expiry", words))
        }
        expiry => Ok(expiry),
    }
}

pub(crate) fn timeout(options: &Options) -> Result<Duration, BuildError> {
    let timeout = options.duration("timeout").unwrap_or(Duration::from_secs(15));
    if (HTTP_TIMEOUT_MIN..=HTTP_TIMEOUT_MAX).contains(&timeout) {
        return Ok(timeout);
    }
    let words = format!("is {timeout:?}; expected {HTTP_TIMEOUT_MIN:?} to {HTTP_TIMEOUT_MAX:?}");
    Err(BuildError::new(options, "timeout", words))
}

pub(crate) fn whole(options: &Options, name: &str, default: usize) -> usize {
    options
        .integer(name)
        .and_then(|number| usize::try_from(number).ok())
        .unwrap_or(default)
}
