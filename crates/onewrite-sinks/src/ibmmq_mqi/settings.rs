//! The options of this transport, read and checked against each other.

use std::time::Duration;

use onewrite_core::options::{Options, Secret};
use reqwest::Url;

use crate::ibmmq::settings::{self, Destination};
use crate::registry::BuildError;

/// The port that IBM MQ has had assigned.
const PORT: u16 = 1_414;

/// Everything that the options say.
pub(super) struct MqiSettings {
    pub servers: Vec<Server>,
    pub queue_manager: String,
    pub channel: String,
    pub destination: Destination,
    pub credentials: Option<(String, Secret)>,
    pub tls: Option<Tls>,
    pub library: Option<String>,
    pub persistent: bool,
    pub expiry: Option<Duration>,
    pub priority: Option<i64>,
    pub message_bytes_max: usize,
    pub timeout: Duration,
}

/// One address.
pub(super) struct Server {
    /// As IBM has it: `HOST(PORT)`.
    pub connection_name: String,
}

/// What an encrypted connection needs.
pub(super) struct Tls {
    pub cipher_spec: String,
    pub key_repository: String,
}

impl MqiSettings {
    pub(super) fn read(options: &Options) -> Result<Self, BuildError> {
        settings::refuse_foreign(options)?;
        let destination = if options.text("destination") == Some("topic") {
            Destination::Topic(options.template("topic_string").cloned().expect("it has a default"))
        } else {
            Destination::Queue(settings::queue(options)?)
        };
        let credentials = settings::pair(options)?.map(|(user, password)| (user.to_owned(), password.clone()));
        Ok(Self {
            servers: servers(options)?,
            queue_manager: settings::queue_manager(options)?,
            channel: channel(options)?,
            destination,
            credentials,
            tls: tls(options)?,
            library: options.text("library").map(str::to_owned),
            persistent: options.flag("persistent"),
            expiry: settings::expiry(options)?,
            priority: options.integer("priority"),
            message_bytes_max: settings::whole(options, "max_message_bytes", 4 << 20),
            timeout: settings::timeout(options)?,
        })
    }
}

fn servers(options: &Options) -> Result<Vec<Server>, BuildError> {
    const EXPECTED: &str = "expected something like \"mq://mq.example.com:1414\" with transport \"mqi\"";
    let problem = |words: String| BuildError::new(options, "urls", words);
    let texts = options.list("urls");
    if texts.is_empty() {
        return Err(problem(format!("is empty; {EXPECTED}")));
    }
    let server = |text: &String| {
        // What cannot be read may hold a password, so it is not repeated.
        let url =
            Url::parse(text).map_err(|error| problem(format!("holds what is not a URL; {EXPECTED}")).because(error))?;
        if url.scheme() != "mq" {
            return Err(problem(format!("holds the scheme {:?}; {EXPECTED}", url.scheme())));
        }
        if !url.username().is_empty() || url.password().is_some() {
            let words = "holds a user or a password, which would show up in logs; use user and password";
            return Err(problem(words.to_owned()));
        }
        let more = !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some();
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        if more || host.is_empty() || host.contains(['(', ')', ',']) {
            return Err(problem(format!("holds more or less than host and port; {EXPECTED}")));
        }
        let connection_name = format!("{host}({})", url.port().unwrap_or(PORT));
        if connection_name.len() > 264 {
            return Err(problem("holds a host of more than 256 bytes".to_owned()));
        }
        Ok(Server { connection_name })
    };
    texts.iter().map(server).collect()
}

fn channel(options: &Options) -> Result<String, BuildError> {
    let Some(name) = options.text("channel") else {
        let words =
            "is missing; transport \"mqi\" needs the name of a server-connection channel, such as \"DEV.APP.SVRCONN\"";
        return Err(BuildError::new(options, "channel", words));
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"./_%".contains(&byte);
    if (1..=20).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(name.to_owned());
    }
    let words = format!("is {name:?}; expected 1 to 20 of the characters A-Z a-z 0-9 . / _ %");
    Err(BuildError::new(options, "channel", words))
}

fn tls(options: &Options) -> Result<Option<Tls>, BuildError> {
    let (cipher_spec, key_repository) = match (options.text("cipher_spec"), options.text("key_repository")) {
        (None, None) => return Ok(None),
        (Some(cipher_spec), Some(key_repository)) => (cipher_spec, key_repository),
        (Some(_), None) => return Err(BuildError::new(options, "cipher_spec", "needs key_repository")),
        (None, Some(_)) => return Err(BuildError::new(options, "key_repository", "needs cipher_spec")),
    };
    for (name, text, most) in [
        ("cipher_spec", cipher_spec, 32),
        ("key_repository", key_repository, 256),
    ] {
        if !(1..=most).contains(&text.len()) {
            let words = format!("has {} bytes; expected 1 to {most}", text.len());
            return Err(BuildError::new(options, name, words));
        }
    }
    Ok(Some(Tls {
        cipher_spec: cipher_spec.to_owned(),
        key_repository: key_repository.to_owned(),
    }))
}
