//! The options of an AMQP 1.0 sink, read and checked against each other.

use std::time::Duration;

use onewrite_core::options::{Options, Secret};
use onewrite_core::template::Template;

use crate::endpoint::{self, Endpoint, Scheme};
use crate::limits::{AMQP1_IDLE_TIMEOUT, AMQP1_TIMEOUT_MAX, AMQP1_TIMEOUT_MIN};
use crate::registry::BuildError;
use crate::tls::TlsFiles;

pub(super) const PLAIN: Scheme = Scheme {
    name: "amqp",
    port: 5672,
};
pub(super) const ENCRYPTED: Scheme = Scheme {
    name: "amqps",
    port: 5671,
};

/// Everything that the options say.
pub(super) struct Settings {
    pub brokers: Vec<Endpoint>,
    pub encrypted: bool,
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
        let (brokers, encrypted) = endpoint::read(options, PLAIN, ENCRYPTED)?;
        let tls = TlsFiles::read(options, (!encrypted).then_some((PLAIN.name, ENCRYPTED.name)))?;
        let login = login(options)?;
        Ok(Self {
            sasl: sasl(options, login.is_some(), &tls, encrypted)?,
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
            encrypted,
        })
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

fn sasl(options: &Options, login: bool, tls: &TlsFiles, encrypted: bool) -> Result<Sasl, BuildError> {
    let problem = |words: &str| Err(BuildError::new(options, "sasl", words));
    match options.text("sasl") {
        Some("plain") if !login => problem("is \"plain\", which needs user and password"),
        Some("scram") if !login => problem("is \"scram\", which needs user and password"),
        Some("external") if !tls.has_client_certificate() => {
            problem("is \"external\", which needs certificate_file and key_file")
        }
        Some("external") if !encrypted => problem("is \"external\", which needs amqps://"),
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
