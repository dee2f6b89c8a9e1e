//! Where requests may go.

use onewrite_core::Action;
use onewrite_core::sink::FindingLevel;

use super::receiver::{Receiver, Reply};
use super::{Fixed, connector, connector_with};
use crate::support::{deliver, event, words};

fn named(receiver: &Receiver) -> String {
    format!("http://events.example:{}/", receiver.address.port())
}

#[tokio::test]
async fn only_listed_hosts_are_connected_to() {
    let receiver = Receiver::new().await;
    for (list, allowed) in [
        ("127.0.0.1", true),
        ("example.com,127.0.0.1", true),
        ("example.com", false),
        ("127.0.0.2", false),
        ("localhost", false),
    ] {
        let connected = connector(&receiver.url(), &[("allow_hosts", list)]).connect().await;
        assert_eq!(connected.is_ok(), allowed, "{list}");
        if let Err(error) = connected {
            assert_eq!(error.action, Action::Halt);
            assert!(error.to_string().contains("allow_hosts"), "{error}");
        }
    }
    for (list, allowed) in [("Events.Example.", true), ("127.0.0.1", true), ("other.example", false)] {
        let connected = connector(&named(&receiver), &[("allow_hosts", list)]).connect().await;
        assert_eq!(connected.is_ok(), allowed, "{list}");
    }
    receiver.wait_connections(4).await;
    assert_eq!(receiver.connections(), 4);
}

#[tokio::test]
async fn a_name_that_no_entry_allows_is_not_even_looked_up() {
    let url = "http://secret-data.attacker.example/";
    let refused = connector_with(url, &[("allow_hosts", "example.com")], Fixed::new(&[]))
        .connect()
        .await;
    assert_eq!(refused.err().unwrap().action, Action::Halt);
}

#[tokio::test]
async fn metadata_addresses_are_refused_after_the_lookup() {
    for address in ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "fd00:ec2::254"] {
        for texts in [&[][..], &[("allow_hosts", "events.example")]] {
            let lookup = Fixed::new(&[&[address]]);
            let refused = connector_with("http://events.example/", texts, lookup)
                .connect()
                .await
                .err()
                .unwrap();
            assert_eq!(refused.action, Action::Halt);
            assert!(refused.to_string().contains("where no events go"), "{refused}");
        }
    }
    let literal = connector("http://169.254.169.254/latest", &[])
        .connect()
        .await
        .err()
        .unwrap();
    assert_eq!(literal.action, Action::Halt);
}

#[tokio::test]
async fn a_name_that_moves_to_a_metadata_address_after_the_check_is_refused() {
    let receiver = Receiver::new().await;
    let lookup = Fixed::new(&[&["127.0.0.1"], &["169.254.169.254"]]);
    let sink = connector_with(&named(&receiver), &[], lookup).connect().await.unwrap();
    let (result, outcomes) = deliver(&*sink, &[event(1, None)]).await;
    let refused = result.unwrap_err();
    assert_eq!(refused.action, Action::Halt);
    assert!(refused.to_string().contains("169.254.169.254"), "{refused}");
    assert_eq!(words(&outcomes), ["unknown"]);
    assert!(receiver.seen().is_empty());
}

#[tokio::test]
async fn a_forbidden_address_beside_a_good_one_is_passed_over() {
    let receiver = Receiver::new().await;
    let lookup = Fixed::new(&[&["169.254.169.254", "127.0.0.1"]]);
    let sink = connector_with(&named(&receiver), &[], lookup).connect().await.unwrap();
    assert_eq!(words(&deliver(&*sink, &[event(1, None)]).await.1), ["delivered"]);
    assert_eq!(
        receiver.seen()[0].header("host"),
        Some(format!("events.example:{}", receiver.address.port()).as_str())
    );
}

#[tokio::test]
async fn a_check_finds_out_without_sending_an_event() {
    let receiver = Receiver::scripted(|_| Reply::Refuse(401, Vec::new(), String::new())).await;
    let findings = connector(&receiver.url(), &[("allow_hosts", "127.0.0.1")])
        .probe(&[])
        .await;
    let levels: Vec<_> = findings.iter().map(|finding| finding.level).collect();
    assert_eq!(levels, [FindingLevel::Works, FindingLevel::Warning], "{findings:?}");
    assert!(findings[1].message.contains("401"), "{findings:?}");
    assert!(
        receiver
            .seen()
            .iter()
            .all(|received| received.method == "OPTIONS" && received.body.is_empty())
    );

    let findings = connector("http://169.254.169.254/", &[]).probe(&[]).await;
    assert_eq!(findings[0].level, FindingLevel::Broken);

    let findings = connector_with("http://events.example:1/", &[], Fixed::new(&[]))
        .probe(&[])
        .await;
    assert!(findings[0].message.contains("cannot look up"), "{findings:?}");
}
