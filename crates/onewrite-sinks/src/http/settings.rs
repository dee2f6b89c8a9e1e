//! The options of an HTTP sink, read and checked against each other.

use std::sync::Arc;
use std::time::Duration;

use onewrite_core::options::{Options, Secret};
use onewrite_core::wire;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::egress::{Egress, Lookup, host_of};
use super::request::{IDEMPOTENCY_KEY, NEVER_CONFIGURED};
use crate::limits::{HTTP_TIMEOUT_MAX, HTTP_TIMEOUT_MIN};
use crate::registry::BuildError;
use crate::tls::TlsFiles;

/// Everything that the options say.
pub(super) struct Settings {
    pub url: Url,
    /// The URL for people: no path and no query, since either may hold a secret.
    pub origin: String,
    pub mode: Mode,
    /// On every request; all marked as sensitive.
    pub headers: HeaderMap,
    pub hmac_secret: Option<Secret>,
    pub timeout: Duration,
    pub concurrency: usize,
    pub egress: Egress,
    pub tls: TlsFiles,
}

/// How many events a request holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// One, as it is.
    Event,
    /// Up to so many, as envelopes.
    Batch(usize),
}

impl Settings {
    pub(super) fn read(options: &Options, lookup: Arc<dyn Lookup>) -> Result<Self, BuildError> {
        let url = url(options)?;
        let mode = match options.text("mode") {
            Some("batch") => Mode::Batch(whole(options, "max_batch_events", 100)),
            _ => Mode::Event,
        };
        Ok(Self {
            origin: url.origin().ascii_serialization(),
            mode,
            headers: headers(options)?,
            hmac_secret: hmac_secret(options)?,
            timeout: timeout(options)?,
            concurrency: whole(options, "concurrency", 64),
            egress: Egress::new(host_of(&url), options, lookup)?,
            tls: TlsFiles::read(options, (url.scheme() == "http").then_some(("http", "https")))?,
            url,
        })
    }

    /// `text` without anything that the configuration keeps secret, for a server that repeats what it was sent.
    pub(super) fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        let values = self.headers.values().filter_map(|value| value.to_str().ok());
        let secrets = values
            .map(|value| value.strip_prefix("Bearer ").unwrap_or(value))
            .chain(self.hmac_secret.iter().map(Secret::expose))
            .chain(self.url.query());
        // A shorter text would black out ordinary words and is no secret worth the name.
        for secret in secrets.filter(|secret| secret.len() >= 6) {
            text = text.replace(secret, "…");
        }
        text
    }
}

fn url(options: &Options) -> Result<Url, BuildError> {
    let problem = |words: String| BuildError::new(options, "url", words);
    let text = options.text("url").unwrap_or_default();
    let url = Url::parse(text).map_err(|error| {
        problem("is not a URL; expected something like \"https://example.com/events\"".to_owned()).because(error)
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(problem(format!(
            "has the scheme {:?}; expected http or https",
            url.scheme()
        )));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(problem(
            "holds a user or a password, which would show up in logs; use bearer_token, or \"authorization\" under headers"
                .to_owned(),
        ));
    }
    Ok(url)
}

fn headers(options: &Options) -> Result<HeaderMap, BuildError> {
    let mut headers = HeaderMap::new();
    for (name, value) in options.map("headers") {
        let problem = |words: &str| BuildError::new(options, "headers", format!("{name:?} {words}"));
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|error| problem("is not a header name; use letters, digits, '-' and '_'").because(error))?;
        let ours = header.as_str().starts_with(wire::RESERVED_HEADER_PREFIX) || header == IDEMPOTENCY_KEY;
        if ours || header == wire::HEADER_CONTENT_TYPE || NEVER_CONFIGURED.contains(&header.as_str()) {
            return Err(problem("is set by the sink itself and cannot be configured"));
        }
        let value = sensitive(value)
            .ok_or_else(|| problem("has a value that no header can hold: control characters or other than ASCII"))?;
        headers.insert(header, value);
    }
    if let Some(token) = options.secret("bearer_token") {
        let problem = |words: &str| BuildError::new(options, "bearer_token", words);
        if headers.contains_key(AUTHORIZATION) {
            return Err(problem(
                "is set, and so is \"authorization\" under headers; keep one of them",
            ));
        }
        if token.expose().is_empty() {
            return Err(problem(
                "is empty; leave it out, or set the variable that it comes from",
            ));
        }
        let value = sensitive(&format!("Bearer {}", token.expose()))
            .ok_or_else(|| problem("holds a line break or another character that no header can hold"))?;
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let visible = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let mut value = HeaderValue::from_str(text).ok().filter(|_| visible)?;
    value.set_sensitive(true);
    Some(value)
}

fn hmac_secret(options: &Options) -> Result<Option<Secret>, BuildError> {
    match options.secret("hmac_secret") {
        Some(secret) if secret.expose().is_empty() => Err(BuildError::new(
            options,
            "hmac_secret",
            "is empty; anybody could sign with it. Leave it out, or set the variable that it comes from",
        )),
        secret => Ok(secret.cloned()),
    }
}

fn timeout(options: &Options) -> Result<Duration, BuildError> {
    let timeout = options.duration("timeout").unwrap_or(Duration::from_secs(15));
    if (HTTP_TIMEOUT_MIN..=HTTP_TIMEOUT_MAX).contains(&timeout) {
        return Ok(timeout);
    }
    let words = format!("is {timeout:?}; expected {HTTP_TIMEOUT_MIN:?} to {HTTP_TIMEOUT_MAX:?}");
    Err(BuildError::new(options, "timeout", words))
}

fn whole(options: &Options, name: &str, default: usize) -> usize {
    options
        .integer(name)
        .and_then(|number| usize::try_from(number).ok())
        .unwrap_or(default)
}
