//! Encrypted connections: whom the sink trusts, and who it says it is.

use onewrite_core::Action;
use onewrite_core::error::chain;
use onewrite_core::sink::FindingLevel;

use super::connector;
use super::receiver::Receiver;
use crate::authority::Authority;
use crate::support::{deliver, event, words};

#[tokio::test]
async fn both_sides_show_certificates_of_an_authority_that_the_other_trusts() {
    let (authority, other) = (Authority::new("ours"), Authority::new("another"));
    let receiver = Receiver::encrypted(authority.acceptor()).await;
    let url = format!("https://{}/events", receiver.address);
    authority.sign("relay", "client");
    let [ca, certificate, key] = ["ca.pem", "client.pem", "client.key"].map(|name| authority.file(name));

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
    let stranger = other.file("ca.pem");
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
    authority.sign("relay", "client");
    other.sign("relay", "client");
    let [ca, certificate] = ["ca.pem", "client.pem"].map(|name| authority.file(name));
    let key = other.file("client.key");
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
