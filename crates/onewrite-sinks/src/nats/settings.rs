//! The options of a NATS sink, read and checked against each other.

use std::time::Duration;

use onewrite_core::options::Options;
use onewrite_core::template::Template;

use super::login::Login;
use crate::endpoint::{self, Endpoint, Scheme};
use crate::limits::{NATS_ACK_TIMEOUT_MAX, NATS_ACK_TIMEOUT_MIN};
use crate::registry::BuildError;
use crate::tls::TlsFiles;

pub(super) const PLAIN: Scheme = Scheme {
    name: "nats",
    port: 4222,
};
/// Never unencrypted, also where the server would allow it.
pub(super) const ENCRYPTED: Scheme = Scheme {
    name: "tls",
    port: 4222,
};

/// Everything that the options say.
pub(super) struct Settings {
    pub urls: Vec<Endpoint>,
    pub encrypted: bool,
    /// Whether TLS begins before the server's first word.
    pub tls_first: bool,
    pub tls: TlsFiles,
    pub login: Login,
    pub subject: Template,
    /// The one stream that may take the events.
    pub stream: Option<String>,
    pub window: usize,
    pub ack_timeout: Duration,
    pub expect_last_sequence: bool,
    /// What the subjects of the JetStream API begin with, such as `$JS.API`.
    pub api: String,
    pub inbox_prefix: String,
}

impl Settings {
    pub(super) fn read(options: &Options) -> Result<Self, BuildError> {
        let (urls, encrypted) = endpoint::read(options, PLAIN, ENCRYPTED)?;
        let tls_first = options.flag("tls_first");
        if tls_first && !encrypted {
            let words = "is set, but the urls are nats://, which is not encrypted; use tls://";
            return Err(BuildError::new(options, "tls_first", words));
        }
        let stream = options.text("stream").map(str::to_owned);
        if let Some(stream) = stream.as_deref().filter(|stream| !is_token(stream)) {
            let words = format!("is {stream:?}; a stream's name holds no dot, blank, \"*\", \">\" or slash");
            return Err(BuildError::new(options, "stream", words));
        }
        let expect_last_sequence = options.flag("expect_last_sequence");
        if expect_last_sequence && stream.is_none() {
            let words = "needs stream, the name of the stream whose last messages are looked at";
            return Err(BuildError::new(options, "expect_last_sequence", words));
        }
        Ok(Self {
            urls,
            encrypted,
            tls_first,
            tls: TlsFiles::read(options, (!encrypted).then_some((PLAIN.name, ENCRYPTED.name)))?,
            login: Login::read(options)?,
            subject: subject(options)?,
            stream,
            window: options
                .integer("window")
                .and_then(|window| usize::try_from(window).ok())
                .unwrap_or(1_000),
            ack_timeout: ack_timeout(options)?,
            expect_last_sequence,
            api: api(options)?,
            inbox_prefix: inbox_prefix(options)?,
        })
    }
}

/// Whether it can stand between two dots of an API subject.
fn is_token(text: &str) -> bool {
    let forbidden = |character: char| {
        character.is_whitespace() || character.is_control() || matches!(character, '.' | '*' | '>' | '/' | '\\')
    };
    !text.is_empty() && !text.contains(forbidden)
}

fn is_prefix(text: &str) -> bool {
    text.split('.').all(is_token)
}

fn subject(options: &Options) -> Result<Template, BuildError> {
    let template = options
        .template("subject")
        .cloned()
        .unwrap_or_else(|| Template::parse("{topic}").expect("the default is a template"));
    if let Some(problem) = template.literal().and_then(super::message::subject_problem) {
        let words = format!("is {:?}, which {problem}", template.as_str());
        return Err(BuildError::new(options, "subject", words));
    }
    Ok(template)
}

fn ack_timeout(options: &Options) -> Result<Duration, BuildError> {
    let timeout = options.duration("ack_timeout").unwrap_or(Duration::from_secs(10));
    if (NATS_ACK_TIMEOUT_MIN..=NATS_ACK_TIMEOUT_MAX).contains(&timeout) {
        return Ok(timeout);
    }
    let words = format!("is {timeout:?}; expected {NATS_ACK_TIMEOUT_MIN:?} to {NATS_ACK_TIMEOUT_MAX:?}");
    Err(BuildError::new(options, "ack_timeout", words))
}

fn api(options: &Options) -> Result<String, BuildError> {
    match (options.text("domain"), options.text("api_prefix")) {
        (Some(_), Some(_)) => Err(BuildError::new(
            options,
            "domain",
            "is set, and so is api_prefix; a domain is a prefix, so keep one of them",
        )),
        (Some(domain), None) if !is_token(domain) => Err(BuildError::new(
            options,
            "domain",
            format!("is {domain:?}; a domain's name holds no dot, blank, \"*\" or \">\""),
        )),
        (Some(domain), None) => Ok(format!("$JS.{domain}.API")),
        (None, Some(prefix)) if !is_prefix(prefix) => Err(BuildError::new(
            options,
            "api_prefix",
            format!("is {prefix:?}; expected something like \"$JS.API\", without a dot at its end"),
        )),
        (None, Some(prefix)) => Ok(prefix.to_owned()),
        (None, None) => Ok("$JS.API".to_owned()),
    }
}

fn inbox_prefix(options: &Options) -> Result<String, BuildError> {
    let prefix = options.text("inbox_prefix").unwrap_or("_INBOX");
    if is_prefix(prefix) {
        return Ok(prefix.to_owned());
    }
    let words = format!("is {prefix:?}; expected something like \"_INBOX_relay\", without a dot at its end");
    Err(BuildError::new(options, "inbox_prefix", words))
}

#[cfg(test)]
mod tests {
    use crate::nats::{FIELDS, build};
    use onewrite_core::options::Options;

    fn problem(texts: &[(&str, &str)]) -> String {
        let texts = if texts.iter().any(|(name, _)| *name == "urls") {
            texts.to_vec()
        } else {
            [&[("urls", "nats://localhost:4222")], texts].concat()
        };
        let options = Options::from_texts("sinks.events", FIELDS, &texts).unwrap();
        build(&options)
            .err()
            .expect("options of which no sink can be made")
            .to_string()
    }

    #[test]
    fn what_is_wrong_with_an_option_is_told() {
        for (texts, expected) in [
            (&[("urls", "")][..], "sinks.events.urls: is empty"),
            (&[("urls", "localhost:4222")], "which is not a URL"),
            (&[("urls", "nats://a:1,http://b:2")], "has the scheme \"http\""),
            (&[("urls", "nats://a:1,tls://b:2")], "mixes nats:// and tls://"),
            (&[("urls", "nats://a:1/path")], "more than a host and a port"),
            (&[("ca_file", "ca.pem")], "is set, but the url is nats://"),
            (&[("tls_first", "true")], "tls_first: is set, but the urls are nats://"),
            (&[("user", "relay")], "user: needs password"),
            (&[("password", "hunter2")], "password: needs user"),
            (
                &[("token", "hunter2"), ("nkey_seed", "hunter2")],
                "nkey_seed: is set, and so is token",
            ),
            (&[("token", "")], "token: is empty"),
            (&[("nkey_seed", "hunter2")], "nkey_seed: is no seed of a user"),
            (&[("credentials_file", "missing.creds")], "missing.creds cannot be read"),
            (&[("subject", "shop.*")], "subject: is \"shop.*\", which has a wildcard"),
            (&[("stream", "a.b")], "stream: is \"a.b\"; a stream's name holds no dot"),
            (
                &[("domain", "hub"), ("api_prefix", "$JS.API")],
                "domain: is set, and so is api_prefix",
            ),
            (&[("domain", "a b")], "domain: is \"a b\""),
            (&[("api_prefix", "$JS.API.")], "api_prefix: is \"$JS.API.\""),
            (&[("inbox_prefix", ">")], "inbox_prefix: is \">\""),
            (&[("ack_timeout", "1h")], "ack_timeout: is 3600s; expected 50ms to 30s"),
            (
                &[("expect_last_sequence", "true")],
                "expect_last_sequence: needs stream",
            ),
        ] {
            let told = problem(texts);
            assert!(told.contains(expected), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn a_password_inside_a_url_is_refused_and_not_shown() {
        let told = problem(&[("urls", "nats://relay:hunter2@localhost:4222")]);
        assert!(told.contains("holds a user or a password"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}
