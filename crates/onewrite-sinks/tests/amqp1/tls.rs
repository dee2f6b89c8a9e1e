//! TLS: whom the sink trusts.

use onewrite_core::Action;
use onewrite_core::error::chain;
use onewrite_testkit::servers::{Artemis, ArtemisSettings};
use rcgen::{CertificateParams, KeyPair};

use super::{LOGIN, connector, event_for, ids};
use crate::support::settle;

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_checked_and_a_trusted_one_works() {
    let directory = tempfile::tempdir().unwrap();
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let (both, trusted) = (directory.path().join("server.pem"), directory.path().join("ca.pem"));
    std::fs::write(&both, format!("{}{}", key.serialize_pem(), certificate.pem())).unwrap();
    std::fs::write(&trusted, certificate.pem()).unwrap();
    let settings = ArtemisSettings {
        tls: Some(both),
        ..ArtemisSettings::default()
    };
    let broker = Artemis::start(&settings).await;

    let error = connector(&broker.tls_url(), &LOGIN)
        .connect()
        .await
        .err()
        .expect("it is not trusted");
    assert_eq!(error.action, Action::Reconnect);
    assert!(chain(&error).contains("ca_file"), "{}", chain(&error));

    let texts = [&LOGIN[..], &[("ca_file", trusted.to_str().unwrap())]].concat();
    let sink = connector(&broker.tls_url(), &texts).connect().await.unwrap();
    assert!(settle(&*sink, &[event_for("by-tls", 1, None)], 1).await.is_empty());
    assert_eq!(ids(&broker.read_all("by-tls").await), [1]);
}
