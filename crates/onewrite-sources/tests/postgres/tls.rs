//! TLS: the certificate is checked, against the authorities named and the host's name.

use onewrite_core::error::chain;
use onewrite_core::{StoreError, StoreFailure};
use onewrite_testkit::servers::{Database, Postgres};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::fixture::{Fixture, TTL, open};

/// A server whose certificate, for this name, an authority of the test's own signed; and the authority's certificate.
async fn server(name: &str) -> (Postgres, String) {
    let key = KeyPair::generate().expect("a key");
    let mut authority = CertificateParams::new(Vec::new()).expect("an authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&key).expect("the authority's certificate");
    let (issuer, server_key) = (Issuer::new(authority, key), KeyPair::generate().expect("a key"));
    let server = CertificateParams::new(vec![name.to_owned()]).expect("a server");
    let signed = server
        .signed_by(&server_key, &issuer)
        .expect("the server's certificate");
    let files = [("server.crt", signed.pem()), ("server.key", server_key.serialize_pem())];
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, content)| (*name, content.as_bytes()))
        .collect();
    (
        Postgres::start_with_files(17, &[("ssl", "on")], &files).await,
        certificate.pem(),
    )
}

async fn connect(database: &Database, ca_file: Option<&str>) -> Result<(), StoreError> {
    let url = format!("{}?sslmode=verify-full&application_name=encrypted", database.url);
    let mut texts = vec![("url", url.as_str())];
    texts.extend(ca_file.map(|path| ("ca_file", path)));
    open(&texts)?.acquire("r", "h", TTL).await.map(|_| ())
}

#[tokio::test]
async fn a_certificate_is_taken_from_the_named_authority_alone_and_for_the_host_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let ca_file = directory.path().join("ca.pem");
    let path = ca_file.to_str().expect("a path");
    for (name, right) in [("127.0.0.1", true), ("db.example", false)] {
        let (server, authority) = server(name).await;
        std::fs::write(&ca_file, authority).expect("a file");
        let fixture = Fixture::of(server.database().await).await;
        let result = connect(&fixture.database, Some(path)).await;
        assert_eq!(result.is_ok(), right, "{name}: {result:?}");
        for error in [result.err(), connect(&fixture.database, None).await.err()]
            .into_iter()
            .flatten()
        {
            assert_eq!(error.failure, StoreFailure::Refused);
            assert!(
                chain(&error).contains("certificate is not trusted"),
                "{}",
                chain(&error)
            );
        }
    }
}
