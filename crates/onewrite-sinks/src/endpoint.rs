//! The addresses of a broker as `urls` has them: a scheme, a host and a port, and nothing that would show up in logs.

use std::fmt;
use std::sync::Arc;

use onewrite_core::error::SinkError;
use onewrite_core::options::Options;
use onewrite_core::sink::Finding;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::registry::BuildError;

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Endpoint {
    /// Reads `host:port`, as brokers tell each other's addresses: the port is behind the last colon.
    pub fn told(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Some(Self {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: port.parse().ok()?,
        })
    }

    /// Connects, with TLS where a configuration is given: then the server's certificate must be for this host.
    ///
    /// # Errors
    /// To connect anew later, with the cause.
    pub async fn open(&self, tls: Option<Arc<ClientConfig>>) -> Result<Box<dyn Stream>, SinkError> {
        let failed = |error: std::io::Error| SinkError::reconnect(format!("cannot connect to {self}")).because(error);
        let stream = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let Some(tls) = tls else {
            return Ok(Box::new(stream));
        };
        let name = ServerName::try_from(self.host.clone()).map_err(|error| {
            SinkError::reconnect(format!("{self} is no name that a certificate is for")).because(error)
        })?;
        let encrypted = TlsConnector::from(tls).connect(name, stream).await;
        let refused = |error| {
            SinkError::reconnect(format!(
                "no TLS with {self}; check ca_file and the certificates of both sides"
            ))
            .because(error)
        };
        Ok(Box::new(encrypted.map_err(refused)?))
    }

    /// The warning that others can read along, unless it is this machine: connections to here have the scheme `plain`, where
    /// `encrypted` is better.
    pub fn in_the_open(&self, plain: &str, encrypted: &str) -> Option<Finding> {
        (!self.is_local()).then(|| {
            Finding::warning(
                format!("url {plain}://{self}"),
                format!(
                    "is not encrypted: whoever carries the traffic can read the events and the login; use {encrypted}://"
                ),
            )
        })
    }

    /// Whether it is this machine.
    pub fn is_local(&self) -> bool {
        self.host == "localhost"
            || self
                .host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }
}

/// A connection's bytes, encrypted or not.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

/// A scheme and the port that it stands for.
#[derive(Clone, Copy, Debug)]
pub struct Scheme {
    /// Such as `redis`.
    pub name: &'static str,
    /// Where brokers listen for it.
    pub port: u16,
}

/// Reads `HOST`, `HOST:PORT` or `[IPv6]:PORT`, as a URL has it; without a port, `port` is meant.
pub fn authority(text: &str, port: u16) -> Option<Endpoint> {
    let (host, digits) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, after) = bracketed.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, after.strip_prefix(':').or(after.is_empty().then_some(""))?)
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let port = match digits {
        "" => port,
        digits => digits.parse().ok().filter(|port| *port > 0)?,
    };
    let host = host.to_owned();
    (!host.is_empty() && !host.contains(char::is_whitespace)).then_some(Endpoint { host, port })
}

/// Reads the option `urls`: addresses that all have the scheme `plain`, or all `encrypted`. Returns them, and whether they are
/// encrypted.
///
/// # Errors
/// The first one that is no such URL, or that holds a user or a password.
pub fn read(options: &Options, plain: Scheme, encrypted: Scheme) -> Result<(Vec<Endpoint>, bool), BuildError> {
    let problem = |words: String| BuildError::new(options, "urls", words);
    let mut endpoints = Vec::new();
    let mut scheme = None;
    for text in options.list("urls") {
        let (found, endpoint) = one(text, plain, encrypted).map_err(problem)?;
        if scheme.is_some_and(|scheme| scheme != found) {
            let words = format!("mixes {}:// and {}://; use one of them", plain.name, encrypted.name);
            return Err(problem(words));
        }
        scheme = Some(found);
        endpoints.push(endpoint);
    }
    if endpoints.is_empty() {
        let words = format!("is empty; expected something like [\"{}://localhost\"]", plain.name);
        return Err(problem(words));
    }
    Ok((endpoints, scheme == Some(encrypted.name)))
}

/// What `onewrite check` says of addresses on other machines that are not encrypted.
pub fn unencrypted(endpoints: &[Endpoint], plain: Scheme, encrypted: Scheme) -> Option<Finding> {
    let mut endpoints = endpoints.iter();
    endpoints.find_map(|endpoint| endpoint.in_the_open(plain.name, encrypted.name))
}

fn one(text: &str, plain: Scheme, encrypted: Scheme) -> Result<(&'static str, Endpoint), String> {
    // What stands before an "@" may be a password, so it is not shown.
    if text.contains('@') {
        return Err("holds a user or a password, which would show up in logs; use user and password".to_owned());
    }
    let expected = format!(
        "expected {0}://HOST:PORT or {1}://HOST:PORT",
        plain.name, encrypted.name
    );
    let Some((name, rest)) = text.split_once("://") else {
        return Err(format!("holds {text:?}, which is not a URL; {expected}"));
    };
    let Some(scheme) = [plain, encrypted].into_iter().find(|scheme| scheme.name == name) else {
        return Err(format!("has the scheme {name:?}; {expected}"));
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '#']) {
        return Err(format!("holds {text:?} with more than a host and a port; {expected}"));
    }
    if rest.starts_with('[') && !rest.contains(']') {
        return Err(format!("holds {text:?}, whose bracket nothing closes; {expected}"));
    }
    match authority(rest, scheme.port) {
        Some(endpoint) => Ok((scheme.name, endpoint)),
        None => Err(format!("holds {text:?}, which has no host or no such port; {expected}")),
    }
}

#[cfg(any(test, fuzzing))]
const PLAIN: Scheme = Scheme {
    name: "redis",
    port: 6379,
};
#[cfg(any(test, fuzzing))]
const ENCRYPTED: Scheme = Scheme {
    name: "rediss",
    port: 6379,
};

/// Any text is an address that reads the same when it is written, or an error without the password that the text may hold.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match one(&text, PLAIN, ENCRYPTED) {
        Ok((scheme, endpoint)) => {
            let written = format!("{scheme}://{endpoint}");
            assert_eq!(one(&written, PLAIN, ENCRYPTED), Ok((scheme, endpoint)), "{written}");
        }
        Err(words) => assert!(!words.contains('@'), "{words}"),
    }
    if let Some(told) = Endpoint::told(&text) {
        assert_eq!(Endpoint::told(&told.to_string()), Some(told));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, String> {
        one(text, PLAIN, ENCRYPTED).map(|(scheme, endpoint)| format!("{scheme} {endpoint}"))
    }

    #[test]
    fn hosts_and_ports_are_read() {
        assert_eq!(shown("redis://localhost").unwrap(), "redis localhost:6379");
        assert_eq!(shown("rediss://a.b:7/").unwrap(), "rediss a.b:7");
        assert_eq!(shown("redis://[::1]:8").unwrap(), "redis [::1]:8");
        assert_eq!(shown("redis://[::1]").unwrap(), "redis [::1]:6379");
        assert!(
            Endpoint {
                host: "::1".into(),
                port: 1
            }
            .is_local()
        );
        let told = Endpoint::told("::1:7000").unwrap();
        assert_eq!((told.host.as_str(), told.port), ("::1", 7000));
    }

    #[test]
    fn what_travels_unencrypted_to_another_machine_is_told() {
        let told = |host: &str| {
            let host = host.to_owned();
            unencrypted(&[Endpoint { host, port: 1 }], PLAIN, ENCRYPTED).map(|finding| finding.subject)
        };
        for local in ["localhost", "127.0.0.1", "127.9.9.9", "::1"] {
            assert_eq!(told(local), None, "{local}");
        }
        for other in ["127.example.com", "localhost.example.com"] {
            assert_eq!(told(other), Some(format!("url redis://{other}:1")));
        }
    }

    #[test]
    fn what_is_no_address_is_told_and_no_password_shown() {
        for (text, words) in [
            ("localhost:6379", "is not a URL"),
            ("http://localhost", "has the scheme \"http\""),
            ("redis://localhost/3", "more than a host and a port"),
            ("redis://:6379", "no host or no such port"),
            ("redis://a b", "no host or no such port"),
            ("redis://a:0", "no host or no such port"),
            ("redis://a:b", "no host or no such port"),
            ("redis://[::1", "whose bracket nothing closes"),
            ("redis://[::1]x", "no host or no such port"),
        ] {
            assert!(shown(text).unwrap_err().contains(words), "{text}: {:?}", shown(text));
        }
        let error = shown("redis://user:hunter2@localhost").unwrap_err();
        assert!(
            !error.contains("hunter2") && error.contains("use user and password"),
            "{error}"
        );
    }
}
