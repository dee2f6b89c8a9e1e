//! TLS of every sink and of schema registries: whom it trusts, and who it says it is. Certificates are always checked, and nothing falls back to an
//! unencrypted connection.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::DateTime;
use onewrite_core::error::{BoxError, SinkError};
use onewrite_core::options::{BuildError, Field, Kind, Options, field};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// The option `ca_file`.
pub const CA_FILE: Field = file(
    "ca_file",
    "A PEM file of certificate authorities to trust besides the machine's own.",
);

/// The option `certificate_file`.
pub const CERTIFICATE_FILE: Field = file(
    "certificate_file",
    "A PEM file with the client certificate and its chain, for mutual TLS. Needs key_file.",
);

/// The option `key_file`.
pub const KEY_FILE: Field = file("key_file", "A PEM file with the private key of certificate_file.");

const fn file(name: &'static str, doc: &'static str) -> Field {
    field(name, Kind::Text, doc)
}

/// Where certificates and keys are.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    ca: Option<PathBuf>,
    /// Certificate and key.
    client: Option<(PathBuf, PathBuf)>,
    /// Whether TLS is spoken at all.
    encrypted: bool,
}

impl TlsFiles {
    /// Reads the options [`CA_FILE`], [`CERTIFICATE_FILE`] and [`KEY_FILE`], and the files that they name: a wrong path is told
    /// before the relay starts. The files are read again for each connection, so that renewed ones count. `plain` is the
    /// scheme that is not encrypted, where the URL has it, and the scheme that would be.
    ///
    /// # Errors
    /// The first option that does not hold together with the others, or whose file cannot be used.
    pub fn read(options: &Options, plain: Option<(&str, &str)>) -> Result<Self, BuildError> {
        let file = |key: &'static str| options.text(key).map(PathBuf::from);
        if let Some((plain, encrypted)) = plain {
            let keys = ["ca_file", "certificate_file", "key_file"];
            if let Some(key) = keys.into_iter().find(|key| file(key).is_some()) {
                let words = format!("is set, but the url is {plain}://, which is not encrypted; use {encrypted}://");
                return Err(BuildError::new(options, key, words));
            }
        }
        let client = match (file("certificate_file"), file("key_file")) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => {
                let words = "needs key_file, the private key that belongs to it";
                return Err(BuildError::new(options, "certificate_file", words));
            }
            (None, Some(_)) => {
                let words = "needs certificate_file, the certificate that it belongs to";
                return Err(BuildError::new(options, "key_file", words));
            }
        };
        let files = Self {
            ca: file("ca_file"),
            client,
            encrypted: plain.is_none(),
        };
        match files.configuration() {
            Ok(_) => Ok(files),
            Err(problem) => Err(BuildError::new(options, problem.key, problem.words).because(problem.source)),
        }
    }

    /// Whether the client says who it is, by a certificate.
    pub fn has_client_certificate(&self) -> bool {
        self.client.is_some()
    }

    /// The configuration of a client, from the files as they are now. Reads files: not for a thread of the runtime.
    ///
    /// # Errors
    /// To connect anew later: the files could be used when the relay started.
    pub fn client(&self) -> Result<ClientConfig, SinkError> {
        let unusable = "the TLS settings cannot be used";
        self.configuration()
            .map_err(|problem| SinkError::reconnect(unusable).because(problem))
    }

    /// The same, for a thread of the runtime.
    ///
    /// # Errors
    /// As for [`client`](Self::client).
    pub async fn client_aside(&self) -> Result<ClientConfig, SinkError> {
        let files = self.clone();
        let read = tokio::task::spawn_blocking(move || files.client()).await;
        read.unwrap_or_else(|error| Err(SinkError::reconnect("reading the TLS files broke off").because(error)))
    }

    fn configuration(&self) -> Result<ClientConfig, TlsProblem> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider supports TLS 1.2 and 1.3");
        let roots = if self.encrypted {
            roots(self.ca.as_deref())?
        } else {
            RootCertStore::empty()
        };
        let builder = builder.with_root_certificates(roots);
        let Some((certificate, key)) = &self.client else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = certificates("certificate_file", certificate)?;
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| {
            let words = "holds no private key that can be read; expected PEM";
            TlsProblem::file("key_file", key, words, error)
        })?;
        builder
            .with_client_auth_cert(chain, private)
            .map_err(|error| TlsProblem::file("key_file", key, "does not belong to certificate_file", error))
    }
}

/// A file or a setting that no TLS can be made of.
#[derive(Debug, thiserror::Error)]
#[error("{key} {words}")]
struct TlsProblem {
    key: &'static str,
    words: String,
    #[source]
    source: BoxError,
}

impl TlsProblem {
    fn file(key: &'static str, path: &Path, words: &str, source: impl Into<BoxError>) -> Self {
        Self {
            key,
            words: format!("{} {words}", path.display()),
            source: source.into(),
        }
    }
}

/// The end of a certificate's validity, where it can be read.
pub fn valid_until(certificate: &[u8]) -> Option<Timestamp> {
    // RFC 5280: Certificate { tbsCertificate { [0] version, serial, signature, issuer, validity { notBefore, notAfter } … } … }
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let (_, certificate, _) = der(certificate).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (_, mut rest, _) = der(certificate).filter(|(tag, ..)| *tag == SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        rest = der(rest)?.2;
    }
    for _ in 0..3 {
        rest = der(rest)?.2;
    }
    let (_, validity, _) = der(rest).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (_, _, after) = der(validity)?;
    let (tag, text, _) = der(after)?;
    der_time(tag, std::str::from_utf8(text).ok()?)
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, TlsProblem> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    if let Some(path) = ca {
        for certificate in certificates("ca_file", path)? {
            roots.add(certificate).map_err(|error| {
                TlsProblem::file("ca_file", path, "holds a certificate that no authority can have", error)
            })?;
        }
    }
    if roots.is_empty() {
        let source: BoxError = match native.errors.into_iter().next() {
            Some(error) => error.into(),
            None => "the system's store is empty".into(),
        };
        return Err(TlsProblem {
            key: "ca_file",
            words:
                "is not set, and this machine trusts no authority; install its package of CA certificates, or set it"
                    .to_owned(),
            source,
        });
    }
    Ok(roots)
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
    let unreadable = |error| TlsProblem::file(key, path, "cannot be read; expected PEM certificates", error);
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(unreadable)?.collect();
    let read = read.map_err(unreadable)?;
    if read.is_empty() {
        return Err(TlsProblem::file(
            key,
            path,
            "holds no certificate",
            "no PEM section CERTIFICATE was found",
        ));
    }
    Ok(read)
}

/// The first element of DER: its tag, its content, and what follows it.
fn der(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, short], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = if short < 0x80 {
        (usize::from(short), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
        let length = digits.iter().try_fold(0_usize, |length, digit| {
            Some(length.checked_mul(256)? + usize::from(*digit))
        })?;
        (length, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn der_time(tag: u8, text: &str) -> Option<Timestamp> {
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    let text = match tag {
        // Two digits of the year: RFC 5280 puts 50 to 99 into the last century.
        UTC_TIME if text.get(..2)? >= "50" => format!("19{text}"),
        UTC_TIME => format!("20{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let time = DateTime::strptime("%Y%m%d%H%M%SZ", &text).ok()?;
    jiff::tz::TimeZone::UTC.to_timestamp(time).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_end_of_validity_is_read_from_a_certificate() {
        for (year, expected) in [(2031, "2031-05-06T00:00:00Z"), (2099, "2099-05-06T00:00:00Z")] {
            let mut parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
            parameters.not_after = rcgen::date_time_ymd(year, 5, 6);
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = parameters.self_signed(&key).unwrap();
            assert_eq!(valid_until(certificate.der()), Some(expected.parse().unwrap()));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_fail(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = valid_until(&bytes);
        }
    }
}
