//! Who may connect and write, and whom the sink trusts.

use std::path::Path;

use onewrite_core::Action;
use onewrite_core::error::chain;
use onewrite_core::sink::FindingLevel;
use onewrite_testkit::servers::RabbitMq;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::{connector, events_for, ids, name, settle, to};
use crate::support::{deliver, word, words};

/// An authority in `ca.pem`, and what it signed for each name in `NAME.pem` and `NAME.key`.
fn authority(directory: &Path, called: &str, names: &[&str]) {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new([]).unwrap();
    parameters.distinguished_name.push(DnType::CommonName, called);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = parameters.self_signed(&key).unwrap();
    std::fs::write(directory.join("ca.pem"), certificate.pem()).unwrap();
    let issuer = Issuer::new(parameters, key);
    for name in names {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new([(*name).to_owned()]).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, *name);
        let certificate = parameters.signed_by(&key, &issuer).unwrap();
        std::fs::write(directory.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(directory.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_both_sides_are_who_they_say() {
    let (ours, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    authority(ours.path(), "ours", &["127.0.0.1", "relay"]);
    authority(other.path(), "another", &[]);
    let file = |name: &str| ours.path().join(name).to_str().unwrap().to_owned();
    let rabbit = RabbitMq::start(&[
        ("listeners.ssl.1", "127.0.0.1:{encrypted_port}"),
        ("ssl_options.cacertfile", &file("ca.pem")),
        ("ssl_options.certfile", &file("127.0.0.1.pem")),
        ("ssl_options.keyfile", &file("127.0.0.1.key")),
        ("ssl_options.verify", "verify_peer"),
        ("ssl_options.fail_if_no_peer_cert", "false"),
    ])
    .await;
    rabbit.create_queue("q", "quorum").await;
    let url = rabbit.encrypted_url();

    // A password over an encrypted connection.
    let ca = file("ca.pem");
    let sink = connector(&url, &[("ca_file", &ca)]).connect().await.unwrap();
    assert_eq!(words(&deliver(&*sink, &[to("q", 1, None)]).await.1), ["delivered"]);

    // An authority that is not trusted: the words name the cause.
    let stranger = other.path().join("ca.pem").to_str().unwrap().to_owned();
    let error = connector(&url, &[("ca_file", &stranger)])
        .connect()
        .await
        .err()
        .unwrap();
    assert_eq!(error.action, Action::Reconnect);
    assert!(chain(&error).contains("UnknownIssuer"), "{}", chain(&error));

    // The certificate says who the client is, once the broker knows that user.
    let (certificate, key) = (file("relay.pem"), file("relay.key"));
    let certified = [
        ("ca_file", ca.as_str()),
        ("certificate_file", &certificate),
        ("key_file", &key),
    ];
    let connector_ = connector(&url, &certified);
    let error = connector_.connect().await.err().unwrap();
    assert_eq!(error.action, Action::Halt, "{}", chain(&error));
    rabbit.control(&["add_user", "relay", "not used"]).await;
    rabbit.control(&["set_permissions", "relay", "", ".*", ""]).await;
    let sink = connector_.connect().await.unwrap();
    assert_eq!(words(&deliver(&*sink, &[to("q", 2, None)]).await.1), ["delivered"]);
    assert_eq!(ids(&rabbit, "q").await.len(), 2);

    // Without a certificate there is no way in for SASL EXTERNAL, and a plain connection offers none.
    let findings = connector(&rabbit.url(), &[]).probe(&[]).await;
    assert!(
        findings.iter().all(|finding| finding.level == FindingLevel::Works),
        "{findings:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_or_virtual_host_halts_and_the_password_is_never_told() {
    let rabbit = RabbitMq::shared().await;
    let wrong = connector(&rabbit.url(), &[("user", "guest"), ("password", "hunter2")]);
    let error = wrong.connect().await.err().unwrap();
    assert_eq!(error.action, Action::Halt);
    let words = chain(&error);
    assert!(
        words.contains("403 ACCESS_REFUSED") && !words.contains("hunter2"),
        "{words}"
    );
    let findings = wrong.probe(&[]).await;
    assert_eq!(findings[0].level, FindingLevel::Broken);
    assert!(!format!("{findings:?}").contains("hunter2"));

    let error = connector(&format!("{}/nowhere", rabbit.url()), &[])
        .connect()
        .await
        .err()
        .unwrap();
    assert_eq!(error.action, Action::Halt);
    assert!(chain(&error).contains("nowhere"), "{}", chain(&error));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_deleted_in_mid_run_halts_and_loses_nothing() {
    let rabbit = RabbitMq::shared().await;
    let (user, queue) = (name("user"), name("revoked"));
    rabbit.create_queue(&queue, "quorum").await;
    rabbit.control(&["add_user", &user, "secret"]).await;
    rabbit.control(&["set_permissions", &user, "", ".*", ""]).await;
    let connector_ = connector(&rabbit.url(), &[("user", &user), ("password", "secret")]);
    let sink = connector_.connect().await.unwrap();
    let batch = events_for(&queue, 1, 40, 4);
    assert!(deliver(&*sink, &batch[..20]).await.0.is_ok());
    rabbit.control(&["delete_user", &user]).await;
    // The broker may close the connection a moment later than it forgets the user.
    let refused = onewrite_testkit::wait::until("the user is gone", async || connector_.connect().await.err()).await;
    assert_eq!(refused.action, Action::Halt, "{}", chain(&refused));
    let (_, outcomes) = deliver(&*sink, &batch[20..]).await;
    assert!(outcomes.iter().all(|outcome| word(outcome) != "park"), "{outcomes:?}");
    let there = ids(&rabbit, &queue).await;
    for (event, outcome) in batch[20..].iter().zip(&outcomes) {
        assert!(word(outcome) != "delivered" || there.contains(&event.id));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_permission_to_write_an_events_own_exchange_parks_it_and_the_configurations_halts() {
    let rabbit = RabbitMq::shared().await;
    let (user, open, closed) = (name("user"), name("open"), name("closed"));
    for exchange in [&open, &closed] {
        rabbit.create_exchange(exchange, "topic").await;
        rabbit.create_queue(exchange, "classic").await;
        rabbit.bind(exchange, exchange, "#").await;
    }
    rabbit.control(&["add_user", &user, "secret"]).await;
    rabbit
        .control(&["set_permissions", &user, "", &format!("^{open}$"), ""])
        .await;
    let login = [("user", user.as_str()), ("password", "secret")];

    let by_topic = [login[0], login[1], ("exchange", "{topic}")];
    let mut batch = events_for(&open, 1, 40, 10);
    batch.splice(20..20, events_for(&closed, 100, 3, 100));
    let settled = settle(&*connector(&rabbit.url(), &by_topic), &batch).await;
    let parked: Vec<_> = settled.parked.iter().map(|(id, _)| id.as_u128()).collect();
    assert_eq!(parked, [100, 101, 102]);
    assert!(settled.parked[0].1.contains("ACCESS_REFUSED"), "{:?}", settled.parked);
    assert_eq!(ids(&rabbit, &open).await.len(), 40);

    let configured = [login[0], login[1], ("exchange", closed.as_str())];
    let sink = connector(&rabbit.url(), &configured).connect().await.unwrap();
    let (result, outcomes) = deliver(&*sink, &events_for("t", 1, 5, 5)).await;
    let error = result.unwrap_err();
    assert_eq!(error.action, Action::Halt);
    assert!(error.context.contains("give the user the permission"), "{error}");
    assert!(
        outcomes.iter().all(|outcome| word(outcome) == "unknown"),
        "{outcomes:?}"
    );
}
