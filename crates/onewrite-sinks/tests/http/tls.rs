//! Encrypted connections: whom the sink trusts, and who it says it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use onewrite_core::Action;
use onewrite_core::error::chain;
use onewrite_core::sink::FindingLevel;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use super::connector;
use super::receiver::Receiver;
use crate::support::{deliver, event, words};

/// An authority, and what it signed, as files.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    directory: TempDir,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new([]).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = parameters.self_signed(&key).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), certificate.pem()).unwrap();
        Self {
            certificate: certificate.der().clone(),
            issuer: Issuer::new(parameters, key),
            directory,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn sign(&self, name: &str) -> (CertificateDer<'static>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new([name.to_owned()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(2099, 5, 6);
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.file("client.pem"), certificate.pem()).unwrap();
        std::fs::write(self.file("client.key"), key.serialize_pem()).unwrap();
        (certificate.der().clone(), key)
    }

    /// A server that shows a certificate for 127.0.0.1 and asks for one of the same authority.
    async fn server(&self) -> Receiver {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let (certificate, key) = self.sign("127.0.0.1");
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
        let configuration = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        Receiver::encrypted(TlsAcceptor::from(Arc::new(configuration))).await
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn both_sides_show_certificates_of_an_authority_that_the_other_trusts() {
    let (authority, other) = (Authority::new("ours"), Authority::new("another"));
    let receiver = authority.server().await;
    let url = format!("https://{}/events", receiver.address);
    authority.sign("relay");
    let [ca, certificate, key] = ["ca.pem", "client.pem", "client.key"].map(|name| text(&authority.file(name)));

    let all = [
        ("ca_file", ca.as_str()),
        ("certificate_file", &certificate),
        ("key_file", &key),
    ];
    let connector_ = connector(&url, &all);
    let sink = connector_.connect().await.unwrap();
    assert_eq!(words(&deliver(&*sink, &[event(1, None)]).await.1), ["delivered"]);
    let findings = connector_.probe(&[]).await;
    assert!(
        findings.iter().all(|finding| finding.level == FindingLevel::Works),
        "{findings:?}"
    );
    assert!(findings[2].message.contains("2099-05-06"), "{findings:?}");

    // An authority that is not trusted: nothing is sent, and the words name the cause.
    let stranger = text(&other.file("ca.pem"));
    let sink = connector(&url, &[("ca_file", &stranger)]).connect().await.unwrap();
    let (result, outcomes) = deliver(&*sink, &[event(2, None)]).await;
    let error = result.unwrap_err();
    assert_eq!(error.action, Action::Reconnect);
    assert!(chain(&error).contains("UnknownIssuer"), "{}", chain(&error));
    assert_eq!(words(&outcomes), ["unknown"]);

    // No client certificate: the server ends the connection.
    let sink = connector(&url, &all[..1]).connect().await.unwrap();
    let (result, outcomes) = deliver(&*sink, &[event(3, None)]).await;
    assert!(result.is_err());
    assert_eq!(words(&outcomes), ["unknown"]);
    assert_eq!(receiver.taken().len(), 1);
}

#[tokio::test]
async fn a_key_that_does_not_belong_to_the_certificate_is_told() {
    let (authority, other) = (Authority::new("ours"), Authority::new("another"));
    authority.sign("relay");
    other.sign("relay");
    let [ca, certificate] = ["ca.pem", "client.pem"].map(|name| text(&authority.file(name)));
    let key = text(&other.file("client.key"));
    let texts = [
        ("ca_file", ca.as_str()),
        ("certificate_file", &certificate),
        ("key_file", &key),
    ];
    let error = onewrite_sinks::http::build(&super::options("https://example.com", &texts))
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("does not belong to certificate_file"),
        "{error}"
    );
}
