//! Where requests may go: names are looked up here, and no address is connected to that did not pass.

use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use onewrite_core::error::SinkError;
use onewrite_core::options::Options;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::TcpStream;

use super::settings::Settings;
use crate::limits::HTTP_CONNECT_TIMEOUT;
use crate::registry::BuildError;

/// How names become addresses.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// The addresses of a name, best first.
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's own way: `/etc/hosts`, DNS and whatever else it is set up for.
#[derive(Clone, Copy, Debug)]
pub struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let addresses = tokio::net::lookup_host((name, 0)).await?;
        Ok(addresses.map(|address| address.ip()).collect())
    }
}

/// The rule of one route, and the lookup it watches over.
#[derive(Clone)]
pub(super) struct Egress(Arc<Rule>);

struct Rule {
    /// The URL's host: a name in lower case without a final dot, or an address.
    host: String,
    allowed: Option<Allowed>,
    lookup: Arc<dyn Lookup>,
}

#[derive(Default)]
struct Allowed {
    names: Vec<String>,
    addresses: Vec<IpAddr>,
}

/// Why a host has no address to connect to.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAddress {
    /// The rule refuses it.
    #[error("{0}")]
    Refused(String),
    /// The name could not be looked up.
    #[error("cannot look up the name {0:?}")]
    Lookup(String, #[source] io::Error),
    /// The name exists but has no address.
    #[error("the name {0:?} has no address")]
    None(String),
}

impl NoAddress {
    /// The refusal in the causes of an error of the HTTP client, where there is one.
    pub(super) fn refusal_in<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(refused @ Self::Refused(_)) = error.downcast_ref() {
                return Some(refused);
            }
            cause = error.source();
        }
        None
    }

    pub(super) fn into_sink_error(self) -> SinkError {
        match self {
            Self::Refused(words) => SinkError::halt(words),
            Self::Lookup(name, error) => {
                SinkError::reconnect(format!("cannot look up the name {name:?}")).because(error)
            }
            Self::None(_) => SinkError::reconnect(self.to_string()),
        }
    }
}

impl Egress {
    pub(super) fn new(host: String, options: &Options, lookup: Arc<dyn Lookup>) -> Result<Self, BuildError> {
        let items = options.list("allow_hosts");
        let allowed = if items.is_empty() {
            None
        } else {
            Some(Allowed::read(options, items)?)
        };
        Ok(Self(Arc::new(Rule { host, allowed, lookup })))
    }

    pub(super) fn host(&self) -> &str {
        &self.0.host
    }

    pub(super) fn has_list(&self) -> bool {
        self.0.allowed.is_some()
    }

    /// The addresses of the URL's host that may be connected to; at least one.
    pub(super) async fn addresses(&self) -> Result<Vec<IpAddr>, NoAddress> {
        let host = &self.0.host;
        let found = match host.parse() {
            Ok(address) => vec![address],
            Err(_) => {
                // A name that no entry could allow is not even looked up: a lookup alone can carry data out.
                self.0.check_name()?;
                let found = self.0.lookup.lookup(host).await;
                found.map_err(|error| NoAddress::Lookup(host.clone(), error))?
            }
        };
        let mut refusal = NoAddress::None(host.clone());
        let mut passed = Vec::with_capacity(found.len());
        for address in found {
            match self.0.check(address) {
                Ok(()) => passed.push(address),
                Err(error) => refusal = error,
            }
        }
        if passed.is_empty() { Err(refusal) } else { Ok(passed) }
    }
}

impl Resolve for Egress {
    fn resolve(&self, name: Name) -> Resolving {
        let egress = self.clone();
        Box::pin(async move {
            if !name.as_str().trim_end_matches('.').eq_ignore_ascii_case(egress.host()) {
                let words = format!("{:?} is not the host of this sink's url", name.as_str());
                return Err(NoAddress::Refused(words).into());
            }
            let addresses = egress.addresses().await?;
            let addresses: Addrs = Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

impl Allowed {
    fn read(options: &Options, items: &[String]) -> Result<Self, BuildError> {
        let mut allowed = Self::default();
        for item in items {
            let bare = item.trim_start_matches('[').trim_end_matches(']');
            if let Ok(address) = bare.parse::<IpAddr>() {
                allowed.addresses.push(address.to_canonical());
            } else if !item.is_empty()
                && item
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            {
                allowed.names.push(normal(item));
            } else {
                return Err(BuildError::new(
                    options,
                    "allow_hosts",
                    format!(
                        "holds {item:?}; expected host names or IP addresses, without port, path, range or wildcard"
                    ),
                ));
            }
        }
        Ok(allowed)
    }
}

impl Rule {
    fn listed_name(&self) -> bool {
        let allowed = self.allowed.as_ref();
        allowed.is_some_and(|allowed| allowed.names.contains(&self.host))
    }

    fn check_name(&self) -> Result<(), NoAddress> {
        match &self.allowed {
            Some(allowed) if !self.listed_name() && allowed.addresses.is_empty() => Err(NoAddress::Refused(format!(
                "the host {:?} is not in allow_hosts; add it, or change the url",
                self.host
            ))),
            _ => Ok(()),
        }
    }

    fn check(&self, address: IpAddr) -> Result<(), NoAddress> {
        let plain = plain(address);
        let allowed = self.allowed.as_ref();
        if allowed.is_some_and(|allowed| allowed.addresses.contains(&plain)) {
            return Ok(());
        }
        let host = &self.host;
        if let Some(what) = forbidden(plain) {
            return Err(NoAddress::Refused(format!(
                "the host {host:?} is at {address}, {what}, where no events go; if that is meant, put {plain} into allow_hosts"
            )));
        }
        if allowed.is_some() && !self.listed_name() {
            return Err(NoAddress::Refused(format!(
                "the host {host:?} at {address} is not in allow_hosts; add it, or change the url"
            )));
        }
        Ok(())
    }
}

/// Checks the host and makes sure that one of its addresses takes a connection.
pub(super) async fn reach(settings: &Settings) -> Result<(), SinkError> {
    let reaching = async {
        let addresses = settings.egress.addresses().await.map_err(NoAddress::into_sink_error)?;
        let port = settings.url.port_or_known_default().unwrap_or(80);
        let mut refused = None;
        for address in addresses {
            match TcpStream::connect((address, port)).await {
                Ok(_) => return Ok(()),
                Err(error) => refused = Some(error),
            }
        }
        let error = SinkError::reconnect(format!("cannot connect to {}", settings.origin));
        Err(match refused {
            Some(cause) => error.because(cause),
            None => error,
        })
    };
    let reached = tokio::time::timeout(HTTP_CONNECT_TIMEOUT, reaching).await;
    reached.unwrap_or_else(|_| {
        Err(SinkError::reconnect(format!(
            "cannot connect to {}: no answer within {HTTP_CONNECT_TIMEOUT:?}",
            settings.origin
        )))
    })
}

/// The host of a URL: a name in lower case without a final dot, or an address without brackets.
pub(super) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    normal(host.trim_start_matches('[').trim_end_matches(']'))
}

fn normal(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// The address that is reached in the end: IPv4 inside of IPv6, mapped or through a translator (RFC 6052), taken out.
fn plain(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => match v6.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => IpAddr::V4(((u32::from(high) << 16) | u32::from(low)).into()),
            _ => IpAddr::V6(v6),
        },
        v4 => v4,
    }
}

/// What an address is that no events go to unless it is listed.
fn forbidden(address: IpAddr) -> Option<&'static str> {
    /// Metadata services outside the link-local ranges: Alibaba, Azure, Oracle; Amazon and Google over IPv6.
    const METADATA: [IpAddr; 5] = [
        IpAddr::V4(std::net::Ipv4Addr::new(100, 100, 100, 200)),
        IpAddr::V4(std::net::Ipv4Addr::new(168, 63, 129, 16)),
        IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 0, 192)),
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
        IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    ];
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    if link_local {
        Some("a link-local address")
    } else if METADATA.contains(&address) {
        Some("a metadata service of a cloud")
    } else if address.is_unspecified() || address.is_multicast() {
        Some("which is no single host's address")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_addresses_are_known_in_every_disguise() {
        for address in [
            "169.254.169.254",
            "169.254.0.1",
            "fe80::1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "fd00:ec2::254",
            "100.100.100.200",
            "0.0.0.0",
        ] {
            assert!(forbidden(plain(address.parse().unwrap())).is_some(), "{address}");
        }
        for address in ["127.0.0.1", "10.0.0.1", "::1", "8.8.8.8", "64:ff9b::808:808"] {
            assert!(forbidden(plain(address.parse().unwrap())).is_none(), "{address}");
        }
    }

    #[test]
    fn a_host_is_known_however_it_is_written() {
        for (url, host) in [
            ("http://Example.COM./x", "example.com"),
            ("http://0x7f.1/", "127.0.0.1"),
            ("http://[::1]:80/", "::1"),
        ] {
            assert_eq!(host_of(&Url::parse(url).unwrap()), host);
        }
    }
}
