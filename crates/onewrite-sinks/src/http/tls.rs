//! The HTTP client and its TLS: whom it trusts, and who it says it is.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::DateTime;
use onewrite_core::error::{BoxError, SinkError};
use reqwest::Client;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::settings::Settings;
use crate::limits::HTTP_CONNECT_TIMEOUT;

/// A file or a setting that no TLS can be made of.
#[derive(Debug, thiserror::Error)]
#[error("{key} {words}")]
pub(super) struct TlsProblem {
    pub key: &'static str,
    pub words: String,
    #[source]
    pub source: BoxError,
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

/// Reads the files that the settings name, and says what is wrong with them.
pub(super) fn check_files(settings: &Settings) -> Result<(), TlsProblem> {
    configuration(settings).map(drop)
}

/// A client of this route: no redirects, no proxy, no repetition of its own, and names looked up by the route's rule.
pub(super) async fn client(settings: Arc<Settings>, with_certificates: bool) -> Result<Client, SinkError> {
    let unusable = "the TLS settings cannot be used";
    let built = tokio::task::spawn_blocking(move || {
        let tls = configuration(&settings).map_err(|problem| SinkError::reconnect(unusable).because(problem))?;
        Client::builder()
            .tls_backend_preconfigured(tls)
            .tls_info(with_certificates)
            .dns_resolver(settings.egress.clone())
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .user_agent(concat!("onewrite/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(HTTP_CONNECT_TIMEOUT.min(settings.timeout))
            .timeout(settings.timeout)
            .build()
            .map_err(|error| SinkError::reconnect("cannot make an HTTP client").because(error))
    });
    built
        .await
        .unwrap_or_else(|error| Err(SinkError::reconnect("making an HTTP client broke off").because(error)))
}

/// The end of a certificate's validity, where it can be read.
pub(super) fn valid_until(certificate: &[u8]) -> Option<Timestamp> {
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

fn configuration(settings: &Settings) -> Result<ClientConfig, TlsProblem> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider supports TLS 1.2 and 1.3");
    let roots = if settings.url.scheme() == "https" {
        roots(settings.tls.ca.as_deref())?
    } else {
        RootCertStore::empty()
    };
    let builder = builder.with_root_certificates(roots);
    let Some((certificate, key)) = &settings.tls.client else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates("certificate_file", certificate)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| {
        TlsProblem::file(
            "key_file",
            key,
            "holds no private key that can be read; expected PEM",
            error,
        )
    })?;
    builder
        .with_client_auth_cert(chain, private)
        .map_err(|error| TlsProblem::file("key_file", key, "does not belong to certificate_file", error))
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
