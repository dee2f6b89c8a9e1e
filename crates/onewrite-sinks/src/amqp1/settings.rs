//! The options of an AMQP 1.0 sink, read and checked against each other.

use std::fmt;
use std::time::Duration;

use onewrite_core::options::{Options, Secret};
use onewrite_core::template::Template;

use crate::limits::{AMQP1_IDLE_TIMEOUT, AMQP1_TIMEOUT_MAX, AMQP1_TIMEOUT_MIN};
use crate::registry::BuildError;
use crate::tls::TlsFiles;

/// Everything that the options say.
pub(super) struct Settings {
    pub brokers: Vec<Place>,
    pub login: Option<Login>,
    pub sasl: Sasl,
    pub address: Template,
    pub target: Node,
    pub durable: bool,
    pub priority: Option<u8>,
    pub ttl: Option<Duration>,
    pub duplicate_detection: bool,
    pub group_by_key: bool,
    pub container_id: String,
    pub idle_timeout: Duration,
    pub max_links: usize,
    pub window: usize,
    pub timeout: Duration,
    pub tls: TlsFiles,
}

/// Where a broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub encrypted: bool,
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.encrypted { "amqps" } else { "amqp" };
        if self.host.contains(':') {
            write!(formatter, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// User and password.
#[derive(Clone, Debug)]
pub(super) struct Login {
    pub user: String,
    pub password: Secret,
}

/// How the relay proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sasl {
    Auto,
    Plain,
    Scram,
    External,
    Anonymous,
}

/// What an address is asked to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Queue,
    Topic,
    Any,
}

impl Settings {
    pub(super) fn read(options: &Options) -> Result<Self, BuildError> {
        let brokers = brokers(options)?;
        let plain = brokers.iter().all(|place| !place.encrypted);
        let tls = TlsFiles::read(options, plain.then_some(("amqp", "amqps")))?;
        let login = login(options)?;
        Ok(Self {
            sasl: sasl(options, login.is_some(), &tls, &brokers)?,
            login,
            tls,
            address: address(options)?,
            target: match options.text("target") {
                Some("topic") => Node::Topic,
                Some("none") => Node::Any,
                _ => Node::Queue,
            },
            durable: options.flag("durable"),
            priority: options
                .integer("priority")
                .and_then(|priority| u8::try_from(priority).ok()),
            ttl: ttl(options)?,
            duplicate_detection: options.flag("duplicate_detection"),
            group_by_key: options.flag("group_by_key"),
            container_id: options.text("container_id").unwrap_or("onewrite").to_owned(),
            idle_timeout: time(options, "idle_timeout", AMQP1_IDLE_TIMEOUT)?,
            max_links: whole(options, "max_links"),
            window: whole(options, "window"),
            timeout: time(options, "timeout", AMQP1_TIMEOUT_MIN..=AMQP1_TIMEOUT_MAX)?,
            brokers,
        })
    }
}

fn brokers(options: &Options) -> Result<Vec<Place>, BuildError> {
    let problem = |words: String| BuildError::new(options, "urls", words);
    let mut brokers = Vec::new();
    for text in options.list("urls") {
        brokers.push(place(text).map_err(problem)?);
    }
    if brokers.is_empty() {
        return Err(problem("is empty; name at least one broker".to_owned()));
    }
    Ok(brokers)
}

/// Reads a URL. What it says of a URL that may hold a password does not repeat it.
fn place(text: &str) -> Result<Place, String> {
    const EXPECTED: &str = "expected something like \"amqps://broker.example:5671\"";
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(format!("holds an entry without amqp:// or amqps://; {EXPECTED}"));
    };
    if rest.contains('@') {
        return Err(
            "holds a user or a password, which would show up in logs; use the options user and password".to_owned(),
        );
    }
    let encrypted = match scheme {
        "amqp" => false,
        "amqps" => true,
        _ => return Err(format!("has the scheme {scheme:?}; expected amqp or amqps")),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#']) {
        return Err(format!(
            "holds {text:?} with more than host and port; where events go is said by the option address"
        ));
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest
                .split_once(']')
                .ok_or(format!("holds {text:?}, whose \"[\" nothing closes"))?;
            (host, after.strip_prefix(':').or(after.is_empty().then_some("")))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, Some("")),
        },
    };
    let default = if encrypted { 5671 } else { 5672 };
    let port = match port {
        Some("") => Some(default),
        port => port.and_then(|port| port.parse().ok()).filter(|port| *port != 0),
    };
    match port {
        Some(port) if !host.is_empty() => Ok(Place {
            encrypted,
            host: host.to_owned(),
            port,
        }),
        _ => Err(format!("holds {text:?}, which has no host or no port; {EXPECTED}")),
    }
}

fn login(options: &Options) -> Result<Option<Login>, BuildError> {
    match (options.text("user"), options.secret("password")) {
        (Some(""), _) => Err(BuildError::new(options, "user", "is empty; leave it out")),
        (_, Some(password)) if password.expose().is_empty() => Err(BuildError::new(
            options,
            "password",
            "is empty; leave it out, or set the variable that it comes from",
        )),
        (Some(user), Some(password)) => Ok(Some(Login {
            user: user.to_owned(),
            password: password.clone(),
        })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(BuildError::new(options, "user", "needs password")),
        (None, Some(_)) => Err(BuildError::new(options, "password", "needs user")),
    }
}

fn sasl(options: &Options, login: bool, tls: &TlsFiles, brokers: &[Place]) -> Result<Sasl, BuildError> {
    let problem = |words: &str| Err(BuildError::new(options, "sasl", words));
    match options.text("sasl") {
        Some("plain") if !login => problem("is \"plain\", which needs user and password"),
        Some("scram") if !login => problem("is \"scram\", which needs user and password"),
        Some("external") if !tls.has_client_certificate() => {
            problem("is \"external\", which needs certificate_file and key_file")
        }
        Some("external") if brokers.iter().any(|place| !place.encrypted) => {
            problem("is \"external\", which needs amqps:// in every url")
        }
        Some("external" | "anonymous") if login => {
            problem("does not use user and password, and they are set; keep one of them")
        }
        Some("plain") => Ok(Sasl::Plain),
        Some("scram") => Ok(Sasl::Scram),
        Some("external") => Ok(Sasl::External),
        Some("anonymous") => Ok(Sasl::Anonymous),
        _ => Ok(Sasl::Auto),
    }
}

fn address(options: &Options) -> Result<Template, BuildError> {
    match options.template("address") {
        Some(template) if !template.as_str().is_empty() => Ok(template.clone()),
        _ => Err(BuildError::new(
            options,
            "address",
            "is empty; name a queue, or leave it out to use each event's topic",
        )),
    }
}

fn ttl(options: &Options) -> Result<Option<Duration>, BuildError> {
    let most = Duration::from_millis(u32::MAX.into());
    match options.duration("ttl") {
        Some(ttl) if ttl.is_zero() || ttl > most => {
            let words = format!("is {ttl:?}; expected 1ms to 49d, which is what AMQP can say");
            Err(BuildError::new(options, "ttl", words))
        }
        ttl => Ok(ttl),
    }
}

fn time(
    options: &Options,
    name: &'static str,
    range: std::ops::RangeInclusive<Duration>,
) -> Result<Duration, BuildError> {
    let time = options.duration(name).unwrap_or(*range.start());
    if range.contains(&time) {
        return Ok(time);
    }
    let words = format!("is {time:?}; expected {:?} to {:?}", range.start(), range.end());
    Err(BuildError::new(options, name, words))
}

fn whole(options: &Options, name: &str) -> usize {
    options
        .integer(name)
        .and_then(|number| usize::try_from(number).ok())
        .unwrap_or(1)
}
