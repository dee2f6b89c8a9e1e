//! The addresses of a broker as `urls` has them: a scheme, a host and a port, and nothing that would show up in logs.

use std::fmt;
use std::sync::Arc;

use onewrite_core::error::{Action, SinkError, chain};
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
            let words = format!(
                "no TLS with {self}; where its certificate is not trusted, give the authority that signed it with ca_file"
            );
            SinkError::reconnect(words).because(error)
        };
        Ok(Box::new(encrypted.map_err(refused)?))
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
    let open = endpoints.iter().find(|endpoint| !endpoint.is_local())?;
    Some(Finding::warning(
        format!("url {}://{open}", plain.name),
        format!(
            "is not encrypted: whoever carries the traffic can read the events and the login; use {}://",
            encrypted.name
        ),
    ))
}

/// What the first of several tries gives that gives anything; one is begun when the one before it has failed.
///
/// # Errors
/// As [`worst_of`] has it.
pub async fn first_of<T, F>(tries: Vec<F>) -> Result<T, SinkError>
where
    F: Future<Output = Result<T, SinkError>>,
{
    let mut failures = Vec::new();
    for one in tries {
        match one.await {
            Ok(opened) => return Ok(opened),
            Err(error) => failures.push(error),
        }
    }
    Err(worst_of(failures))
}

/// What several tries failed of: the error that a person must do something about, if there is one, since it will not pass by itself; else
/// all of them.
pub fn worst_of(mut failures: Vec<SinkError>) -> SinkError {
    let halts = |error: &SinkError| error.action == Action::Halt;
    if let Some(at) = failures.iter().position(halts) {
        return failures.swap_remove(at);
    }
    if failures.len() == 1 {
        return failures.remove(0);
    }
    let all: Vec<_> = failures.iter().map(|error| chain(error)).collect();
    SinkError::reconnect(all.join("; and "))
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
    let (host, port) = match rest.strip_prefix('[') {
        Some(bracketed) => {
            let (host, after) = bracketed
                .split_once(']')
                .ok_or_else(|| format!("holds {text:?}, whose bracket nothing closes; {expected}"))?;
            (host, after.strip_prefix(':').or((after.is_empty()).then_some("")))
        }
        None => match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, Some("")),
        },
    };
    let port = match port {
        Some("") => Some(scheme.port),
        Some(digits) => digits.parse().ok().filter(|port| *port > 0),
        None => None,
    };
    match port {
        Some(port) if !host.is_empty() && !host.contains(char::is_whitespace) => Ok((
            scheme.name,
            Endpoint {
                host: host.to_owned(),
                port,
            },
        )),
        _ => Err(format!("holds {text:?}, which has no host or no such port; {expected}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Scheme = Scheme {
        name: "redis",
        port: 6379,
    };
    const ENCRYPTED: Scheme = Scheme {
        name: "rediss",
        port: 6379,
    };

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
