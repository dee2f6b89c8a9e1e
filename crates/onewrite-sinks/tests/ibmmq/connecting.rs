//! Connecting: credentials, certificates, addresses; cut connections; and what a check finds.

use onewrite_core::Action;
use onewrite_core::error::chain;
use onewrite_core::sink::{Finding, FindingLevel};
use onewrite_testkit::faults::{FaultProxy, ProxyMode};

use super::stub::Stub;
use super::{QUEUE, connector};
use crate::authority::Authority;
use crate::support::{deliver, event, events, settle, words};

fn level(findings: &[Finding], subject: &str) -> FindingLevel {
    let found = findings.iter().find(|finding| finding.subject.starts_with(subject));
    found.unwrap_or_else(|| panic!("no {subject} in {findings:?}")).level
}

#[tokio::test]
async fn a_wrong_password_halts_and_is_not_shown() {
    let stub = Stub::start(&[QUEUE]).await;
    let connector = connector(&stub.url(), &[("password", "wrong-secret")]);
    let error = connector.connect().await.err().unwrap();
    assert_eq!(error.action, Action::Halt);
    assert!(!chain(&error).contains("wrong-secret"), "{}", chain(&error));
    let findings = connector.probe(&[QUEUE.to_owned()]).await;
    assert_eq!(level(&findings, "server"), FindingLevel::Broken);
}

#[tokio::test]
async fn a_server_that_is_away_is_passed_over() {
    let mut away = Stub::start(&[QUEUE]).await;
    let there = Stub::start(&[QUEUE]).await;
    away.stop().await;
    let connector = connector(&format!("{},{}", away.url(), there.url()), &[]);
    let sink = connector.connect().await.unwrap();
    assert_eq!(words(&deliver(&*sink, &[event(1, None)]).await.1), ["delivered"]);
    let findings = connector.probe(&[QUEUE.to_owned()]).await;
    assert_eq!(
        level(&findings, &format!("server {}", away.url())),
        FindingLevel::Broken
    );
    assert_eq!(level(&findings, "queue shop.orders of QM.1"), FindingLevel::Works);
}

#[tokio::test]
async fn a_check_tells_of_queues_and_of_what_loses_messages() {
    let stub = Stub::start(&[QUEUE, "SECRET"]).await;
    stub.with(|state| state.queues.get_mut("SECRET").unwrap().refuses = Some((403, "MQWB0303E", 2035)));
    let topics = ["shop.orders", "MISSING", "SECRET", "not a name"].map(str::to_owned);
    let findings = connector(&stub.url(), &[("persistent", "false")]).probe(&topics).await;
    for (subject, expected) in [
        ("url http", FindingLevel::Warning),
        ("server http", FindingLevel::Works),
        ("persistent", FindingLevel::Warning),
        ("queue shop.orders", FindingLevel::Works),
        ("queue MISSING", FindingLevel::Broken),
        ("queue SECRET", FindingLevel::Warning),
        ("queue not a name", FindingLevel::Broken),
    ] {
        assert_eq!(level(&findings, subject), expected, "{subject}: {findings:?}");
    }
    let findings = connector(&stub.url(), &[("destination", "topic")]).probe(&topics).await;
    assert_eq!(level(&findings, "destination"), FindingLevel::Warning);
    assert!(stub.messages(QUEUE).is_empty(), "a check sends nothing");
}

#[tokio::test]
async fn a_connection_cut_in_either_direction_loses_nothing_and_repeats_under_the_same_id() {
    let stub = Stub::start(&[QUEUE]).await;
    let proxy = FaultProxy::start(stub.address).await.unwrap();
    let connector = connector(&format!("http://{}", proxy.address()), &[("timeout", "500ms")]);
    let batch = events(40, &["a", "b", "c", "d"]);
    for mode in [
        ProxyMode::Limit(5_000),
        ProxyMode::Reset,
        ProxyMode::HalfOpen,
        ProxyMode::DropReplies,
    ] {
        stub.with(|state| state.queues.get_mut(QUEUE).unwrap().messages.clear());
        proxy.set(ProxyMode::Pass);
        let sink = connector.connect().await.unwrap();
        proxy.set(mode);
        let (result, outcomes) = deliver(&*sink, &batch).await;
        assert_eq!(result.unwrap_err().action, Action::Reconnect, "{mode:?}");
        let told = words(&outcomes);
        let delivered = told.iter().filter(|word| **word == "delivered").count();
        assert!(stub.messages(QUEUE).len() >= delivered, "{mode:?}");
        assert!(
            told.iter().all(|word| ["delivered", "unknown"].contains(word)),
            "{mode:?} {told:?}"
        );
        proxy.set(ProxyMode::Pass);
        let left: Vec<_> = batch
            .iter()
            .zip(&told)
            .filter(|(_, word)| **word != "delivered")
            .collect();
        let left: Vec<_> = left.into_iter().map(|(event, _)| event.clone()).collect();
        let sink = connector.connect().await.unwrap();
        assert!(settle(&*sink, &left, 3).await.is_empty());
        let mut ids: Vec<_> = stub
            .messages(QUEUE)
            .into_iter()
            .map(|message| message.correlation)
            .collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 40, "{mode:?}");
    }
}

#[tokio::test]
async fn certificates_are_checked_on_both_sides() {
    let (authority, other) = (Authority::new("ours"), Authority::new("another"));
    let stub = Stub::encrypted(&[QUEUE], authority.acceptor()).await;
    authority.sign("relay", "client");
    let [ca, certificate, key] = ["ca.pem", "client.pem", "client.key"].map(|name| authority.file(name));
    let all = [
        ("ca_file", ca.as_str()),
        ("certificate_file", &certificate),
        ("key_file", &key),
    ];
    let trusted = connector(&stub.url(), &all);
    let sink = trusted.connect().await.unwrap();
    assert_eq!(words(&deliver(&*sink, &[event(1, None)]).await.1), ["delivered"]);
    let findings = trusted.probe(&[QUEUE.to_owned()]).await;
    assert!(
        findings.iter().all(|finding| finding.level == FindingLevel::Works),
        "{findings:?}"
    );

    let stranger = other.file("ca.pem");
    let error = connector(&stub.url(), &[("ca_file", &stranger)])
        .connect()
        .await
        .err()
        .unwrap();
    assert_eq!(error.action, Action::Reconnect);
    assert!(chain(&error).contains("UnknownIssuer"), "{}", chain(&error));
    assert_eq!(stub.messages(QUEUE).len(), 1);
}
