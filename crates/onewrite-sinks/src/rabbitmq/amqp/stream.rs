//! A stream of bytes to a broker, encrypted or not.

use std::io;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::failure::Failure;
use crate::tls::TlsFiles;

/// Where a broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Whether TLS is spoken.
    pub encrypted: bool,
    /// Name or IP address, the latter without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The virtual host.
    pub virtual_host: String,
    /// The URL for people.
    pub shown: String,
}

/// Both directions of a connection.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// Connects, and greets with TLS where the address says so.
pub async fn open(address: &Address, tls: &TlsFiles) -> Result<Box<dyn Transport>, Failure> {
    let failed = |error| Failure::broken(format!("cannot connect to {}", address.shown), error);
    let stream = TcpStream::connect((address.host.as_str(), address.port))
        .await
        .map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    if !address.encrypted {
        return Ok(Box::new(stream));
    }
    let client = tls.client_aside().await.map_err(|error| Failure::Tls(error.into()))?;
    let name = ServerName::try_from(address.host.clone())
        .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    let encrypted = TlsConnector::from(std::sync::Arc::new(client))
        .connect(name, stream)
        .await;
    let encrypted = encrypted.map_err(|error| {
        let what = format!(
            "cannot speak TLS with {}; check ca_file and the certificates of both sides",
            address.shown
        );
        Failure::broken(what, error)
    })?;
    Ok(Box::new(encrypted))
}
