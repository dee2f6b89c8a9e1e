//! The options of a RabbitMQ sink, read and checked against each other.

use std::time::Duration;

use onewrite_core::options::{Options, Secret};
use onewrite_core::template::Template;

use super::address::{self, Address};
use super::amqp::Login;
use crate::limits::AMQP_SHORT_TEXT_BYTES_MAX;
use crate::registry::BuildError;
use crate::tls::TlsFiles;

/// Everything that the options say.
pub(super) struct Settings {
    pub addresses: Vec<Address>,
    pub login: Login,
    /// What the broker shows of the connection.
    pub name: String,
    pub exchange: Template,
    pub routing_key: Template,
    pub priority: Option<Template>,
    /// In milliseconds.
    pub expiration: Option<u128>,
    pub unroutable: Unroutable,
    pub declare: Declare,
    pub exchange_type: String,
    pub queue_type: String,
    pub heartbeat: Duration,
    pub window: usize,
    pub tls: TlsFiles,
}

/// What becomes of an event that goes into no queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unroutable {
    Park,
    Retry,
}

/// What the sink makes where it is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Declare {
    Nothing,
    Exchange,
    /// The queue, its exchange, and the binding between them.
    Queue,
}

impl Settings {
    pub(super) fn read(options: &Options) -> Result<Self, BuildError> {
        let addresses = addresses(options)?;
        let plain = !addresses.iter().any(|address| address.encrypted);
        let tls = TlsFiles::read(options, plain.then_some(("amqp", "amqps")))?;
        let template = |name| options.template(name).cloned().unwrap_or_else(empty);
        let settings = Self {
            login: login(options, tls.has_client_certificate())?,
            name: format!("onewrite {}", options.section()),
            exchange: template("exchange"),
            routing_key: template("routing_key"),
            priority: priority(options)?,
            expiration: options.duration("expiration").map(|time| time.as_millis()),
            unroutable: match options.text("on_unroutable") {
                Some("retry") => Unroutable::Retry,
                _ => Unroutable::Park,
            },
            declare: match options.text("declare") {
                Some("exchange") => Declare::Exchange,
                Some("queue") => Declare::Queue,
                _ => Declare::Nothing,
            },
            exchange_type: options.text("exchange_type").unwrap_or("topic").to_owned(),
            queue_type: options.text("queue_type").unwrap_or("quorum").to_owned(),
            heartbeat: heartbeat(options)?,
            window: usize::try_from(options.integer("window").unwrap_or(1_000)).unwrap_or(1_000),
            addresses,
            tls,
        };
        settings.check(options)?;
        Ok(settings)
    }

    /// The broker's addresses for people.
    pub(super) fn shown(&self) -> String {
        let shown: Vec<_> = self.addresses.iter().map(|address| address.shown.as_str()).collect();
        shown.join(", ")
    }

    fn check(&self, options: &Options) -> Result<(), BuildError> {
        let default = self.exchange.literal() == Some("");
        if self.declare == Declare::Exchange && default {
            let words = "is \"exchange\", but exchange is the default one, which is always there; use \"queue\", or name an exchange";
            return Err(BuildError::new(options, "declare", words));
        }
        for (key, template) in [("exchange", &self.exchange), ("routing_key", &self.routing_key)] {
            let length = template.literal().map_or(0, str::len);
            if length > AMQP_SHORT_TEXT_BYTES_MAX {
                let words = format!("has {length} bytes; AMQP allows {AMQP_SHORT_TEXT_BYTES_MAX}");
                return Err(BuildError::new(options, key, words));
            }
        }
        if self.routing_key.literal() == Some("") && (default || self.declare == Declare::Queue) {
            let words =
                "is empty, and on the default exchange, or with declare = \"queue\", it is the name of the queue";
            return Err(BuildError::new(options, "routing_key", words));
        }
        Ok(())
    }
}

fn empty() -> Template {
    Template::parse("").expect("an empty text is a template")
}

fn addresses(options: &Options) -> Result<Vec<Address>, BuildError> {
    let urls = options.list("urls");
    if urls.is_empty() {
        let words = "is empty; expected something like [\"amqp://localhost:5672\"]";
        return Err(BuildError::new(options, "urls", words));
    }
    let parse = |url: &String| address::parse(url).map_err(|words| BuildError::new(options, "urls", words));
    urls.iter().map(parse).collect()
}

fn login(options: &Options, has_certificate: bool) -> Result<Login, BuildError> {
    let guest = || ("guest".to_owned(), Secret::new("guest"));
    let (user, password) = match (options.text("user"), options.secret("password")) {
        (Some(user), Some(password)) => (user.to_owned(), password.clone()),
        (None, None) if has_certificate => return Ok(Login::External),
        (None, None) => guest(),
        (Some(_), None) => {
            let words = "needs password; to be known by a client certificate, leave user out and set certificate_file";
            return Err(BuildError::new(options, "user", words));
        }
        (None, Some(_)) => {
            return Err(BuildError::new(
                options,
                "password",
                "needs user, the name that it belongs to",
            ));
        }
    };
    if user.contains('\0') || password.expose().contains('\0') {
        return Err(BuildError::new(
            options,
            "user",
            "or password holds a character NUL, which no login can",
        ));
    }
    if password.expose().is_empty() {
        let words = "is empty, and RabbitMQ refuses empty passwords; set the variable or the file that it comes from";
        return Err(BuildError::new(options, "password", words));
    }
    Ok(Login::Plain { user, password })
}

fn priority(options: &Options) -> Result<Option<Template>, BuildError> {
    let Some(template) = options.template("priority") else {
        return Ok(None);
    };
    match template.literal() {
        Some(text) if text.trim().parse::<u8>().is_err() => {
            let words = format!(
                "is {text:?}; expected a whole number from 0 to 255, or a template of one such as {{header.priority|0}}"
            );
            Err(BuildError::new(options, "priority", words))
        }
        _ => Ok(Some(template.clone())),
    }
}

fn heartbeat(options: &Options) -> Result<Duration, BuildError> {
    let heartbeat = options.duration("heartbeat").unwrap_or(Duration::from_secs(20));
    if !(1..=3_600).contains(&heartbeat.as_secs()) {
        let words = format!("is {heartbeat:?}; expected from 1s to 1h");
        return Err(BuildError::new(options, "heartbeat", words));
    }
    Ok(heartbeat)
}
