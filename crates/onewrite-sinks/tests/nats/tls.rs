//! Certificates, on both sides.

use onewrite_core::error::{Action, chain};
use onewrite_testkit::servers::Nats;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::json;
use tempfile::TempDir;

use super::{connector, to};
use crate::support::{event, settle};

/// An authority, and what it signed, as files.
struct Keys {
    directory: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Keys {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, "authority");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let keys = Self {
            directory: tempfile::tempdir().unwrap(),
            authority: CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap(),
        };
        keys.write("ca.pem", &keys.authority.pem());
        for name in ["server", "relay"] {
            let key = KeyPair::generate().unwrap();
            let names = [name.to_owned(), "127.0.0.1".to_owned()];
            let mut parameters = CertificateParams::new(names).unwrap();
            // A name of its own: the default is the authority's too, which looks as if it had signed itself.
            parameters.distinguished_name.push(DnType::CommonName, name);
            let certificate = parameters.signed_by(&key, &keys.authority).unwrap();
            keys.write(&format!("{name}.pem"), &certificate.pem());
            keys.write(&format!("{name}.key"), &key.serialize_pem());
        }
        keys
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.directory.path().join(name), text).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }

    /// The server's block of settings.
    fn settings(&self, more: &str) -> String {
        format!(
            "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", {more} }}",
            self.path("server.pem"),
            self.path("server.key"),
            self.path("ca.pem")
        )
    }
}

async fn refusal(url: &str, texts: &[(&str, &str)]) -> (Action, String) {
    let error = connector(url, texts).connect().await.err().expect("no connection");
    (error.action, chain(&error))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_server_is_connected_to_and_no_other() {
    let keys = Keys::new();
    // The fixture itself is let in unencrypted.
    let nats = Nats::start(&format!("{}\nallow_non_tls: true", keys.settings(""))).await;
    nats.create_stream("EVENTS", &["shop.orders"], json!({})).await;
    let url = format!("tls://{}", nats.address());
    let ca_file = keys.path("ca.pem");
    let sink = connector(&url, &[("ca_file", &ca_file)]).connect().await.unwrap();
    assert!(settle(&*sink, &[to("shop.orders", event(1, None))], 1).await.is_empty());
    assert_eq!(nats.read_all("EVENTS").await.len(), 1);

    let (action, told) = refusal(&url, &[]).await;
    assert_eq!(action, Action::Reconnect);
    assert!(told.contains("UnknownIssuer"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_not_spoken_to_in_the_clear() {
    let nats = Nats::shared().await;
    let (action, told) = refusal(&format!("tls://{}", nats.address()), &[("token", "hunter2hunter2")]).await;
    assert_eq!(action, Action::Reconnect);
    assert!(told.contains("cannot connect to tls://"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_tls_or_a_certificate_says_so() {
    let keys = Keys::new();
    let nats = Nats::start(&keys.settings("verify: true")).await;
    let (ca, certificate, key) = (keys.path("ca.pem"), keys.path("relay.pem"), keys.path("relay.key"));
    let url = format!("tls://{}", nats.address());
    let (action, told) = refusal(&nats.url(), &[]).await;
    assert_eq!(action, Action::Halt);
    assert!(told.contains("use tls://"), "{told}");
    let (action, told) = refusal(&url, &[("ca_file", &ca)]).await;
    assert_eq!(action, Action::Reconnect);
    assert!(told.to_lowercase().contains("certificate"), "{told}");
    let identity = [
        ("ca_file", ca.as_str()),
        ("certificate_file", &certificate),
        ("key_file", &key),
    ];
    connector(&url, &identity).connect().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_can_begin_before_the_servers_first_word() {
    let keys = Keys::new();
    let nats = Nats::start(&keys.settings("handshake_first: true")).await;
    let url = format!("tls://{}", nats.address());
    let ca_file = keys.path("ca.pem");
    connector(&url, &[("ca_file", &ca_file), ("tls_first", "true")])
        .connect()
        .await
        .unwrap();
}
