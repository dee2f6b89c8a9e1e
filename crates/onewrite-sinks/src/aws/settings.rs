//! The options of the sink, read and checked against each other.

use std::time::Duration;

use onewrite_core::options::{Options, Secret};
use onewrite_core::template::Template;
use reqwest::Url;

use super::Service;
use crate::limits::{HTTP_TIMEOUT_MAX, HTTP_TIMEOUT_MIN};
use crate::registry::BuildError;
use crate::tls::TlsFiles;

/// Everything that the options say.
pub(crate) struct Settings {
    /// Where events go.
    pub address: Template,
    pub region: String,
    /// Where requests go.
    pub endpoint: Url,
    /// The endpoint for people.
    pub origin: String,
    pub credentials: Credentials,
    pub message_bytes_max: usize,
    pub timeout: Duration,
    pub concurrency: usize,
    pub tls: TlsFiles,
}

/// Where credentials come from.
pub(crate) enum Credentials {
    Given {
        id: String,
        secret: Secret,
        token: Option<Secret>,
    },
    /// The usual chain, with this profile.
    Chain(Option<String>),
}

impl Settings {
    pub(super) fn read<S: Service>(options: &Options) -> Result<Self, BuildError> {
        let region = region::<S>(options)?;
        let endpoint = endpoint::<S>(options, &region)?;
        let address = options.template(S::ADDRESS).cloned().expect("it is required");
        if let Some(Err(problem)) = address.literal().map(S::place_name) {
            return Err(BuildError::new(options, S::ADDRESS, problem));
        }
        Ok(Self {
            address,
            region,
            origin: endpoint.origin().ascii_serialization(),
            credentials: credentials(options)?,
            message_bytes_max: message_bytes_max::<S>(options)?,
            timeout: timeout(options)?,
            concurrency: whole(options, "concurrency", 32),
            tls: TlsFiles::read(options, (endpoint.scheme() == "http").then_some(("http", "https")))?,
            endpoint,
        })
    }
}

fn region<S: Service>(options: &Options) -> Result<String, BuildError> {
    let given = options.text("region");
    let of_address = options.template(S::ADDRESS).and_then(|address| {
        let region = S::region(address.as_str())?;
        Some(region).filter(|region| !region.contains('{'))
    });
    let named = || {
        let mut names = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter();
        names.find_map(|name| std::env::var(name).ok())
    };
    let problem = |words: String| BuildError::new(options, "region", words);
    let region = given.or(of_address).map(str::to_owned).or_else(named).ok_or_else(|| {
        problem(format!(
            "is missing: neither {} nor AWS_REGION or AWS_DEFAULT_REGION names one",
            S::ADDRESS
        ))
    })?;
    let fits = region
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if region.is_empty() || !fits {
        return Err(problem(format!("is {region:?}; expected something like \"eu-west-1\"")));
    }
    match of_address {
        Some(other) if other != region => Err(problem(format!(
            "is {region:?}, and {} is in {other:?}; leave region out, or correct one of them",
            S::ADDRESS
        ))),
        _ => Ok(region),
    }
}

fn endpoint<S: Service>(options: &Options, region: &str) -> Result<Url, BuildError> {
    let problem = |words: &str| BuildError::new(options, "endpoint_url", words);
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    let usual = format!("https://{}.{region}.amazonaws.com{suffix}/", S::KIND);
    let text = options.text("endpoint_url").unwrap_or(&usual);
    let url = Url::parse(text)
        .map_err(|error| problem("is not a URL; expected something like \"http://localhost:4566\"").because(error))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(problem("has another scheme than https or http"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(problem(
            "holds a user or a password; use access_key_id and secret_access_key",
        ));
    }
    if url.path() != "/" || url.query().is_some() {
        return Err(problem("holds more than a server; leave out what follows the port"));
    }
    Ok(url)
}

fn credentials(options: &Options) -> Result<Credentials, BuildError> {
    let id = options.text("access_key_id");
    let (secret, token) = (options.secret("secret_access_key"), options.secret("session_token"));
    let profile = options.text("profile");
    match (id, secret) {
        (Some(_), Some(_)) if profile.is_some() => Err(BuildError::new(
            options,
            "profile",
            "is set, and so is access_key_id; keep one of them",
        )),
        (Some(id), Some(secret)) if !id.is_empty() && !secret.expose().is_empty() => Ok(Credentials::Given {
            id: id.to_owned(),
            secret: secret.clone(),
            token: token.cloned(),
        }),
        (Some(_), Some(_)) => {
            let words = "or its secret is empty; leave both out, or set the variables that they come from";
            Err(BuildError::new(options, "access_key_id", words))
        }
        (Some(_), None) => Err(BuildError::new(options, "access_key_id", "needs secret_access_key")),
        (None, Some(_)) => Err(BuildError::new(options, "secret_access_key", "needs access_key_id")),
        (None, None) if token.is_some() => Err(BuildError::new(
            options,
            "session_token",
            "needs access_key_id and secret_access_key",
        )),
        (None, None) => Ok(Credentials::Chain(profile.map(str::to_owned))),
    }
}

fn message_bytes_max<S: Service>(options: &Options) -> Result<usize, BuildError> {
    let most = whole(options, "max_message_bytes", 256 * 1024);
    if (1..=S::MESSAGE_BYTES_MAX).contains(&most) {
        return Ok(most);
    }
    let words = format!("is {most}; expected up to {}", S::MESSAGE_BYTES_MAX);
    Err(BuildError::new(options, "max_message_bytes", words))
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
