//! Connecting, and what is told when it fails.

use krafka::testing::FakeBroker;
use onewrite_core::sink::FindingLevel;
use onewrite_core::{Action, error::chain};

use super::{connector, fake};
use crate::support::{deliver, event};

async fn refusal(brokers: &str, texts: &[(&str, &str)]) -> String {
    let error = connector(brokers, texts).connect().await.err().expect("no connection");
    assert_eq!(error.action, Action::Retry { after: None });
    chain(&error)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_as_such() {
    let broker = FakeBroker::start().await.unwrap();
    broker.require_sasl_plain("relay", "right");
    broker.create_topic("shop.orders", 1);
    let brokers = broker.bootstrap_servers();
    let login = |password| {
        [
            ("sasl_mechanism", "PLAIN"),
            ("username", "relay"),
            ("password", password),
        ]
    };
    let told = refusal(&brokers, &login("hunter2")).await;
    assert!(
        told.contains("SASL") && told.contains("check sasl_mechanism, username, password"),
        "{told}"
    );
    assert!(!told.contains("hunter2"), "{told}");
    let sink = connector(&brokers, &login("right")).connect().await.unwrap();
    assert!(deliver(&*sink, &[event(1, Some("a"))]).await.0.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there_is_told_with_the_reason() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let told = refusal(&free.to_string(), &[]).await;
    assert!(
        told.contains(&free.to_string()) && told.contains("Connection refused"),
        "{told}"
    );
    let told = refusal("no-such-host.invalid:9092", &[]).await;
    assert!(
        told.contains("Failed to resolve") && told.contains("check the name in brokers"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_read_are_named() {
    let told = refusal("127.0.0.1:1", &[("tls", "true"), ("ca_file", "/no/such/ca.pem")]).await;
    assert!(told.contains("/no/such/ca.pem"), "{told}");
    let token = [("sasl_mechanism", "OAUTHBEARER"), ("token_file", "/no/such/token")];
    let told = refusal("127.0.0.1:1", &token).await;
    assert!(told.contains("token_file /no/such/token"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_tells_of_brokers_and_topics_and_creates_none() {
    let broker = fake("shop.orders", 3).await;
    broker.with_state(|state| state.auto_create_topics = true);
    let connector = connector(&broker.bootstrap_servers(), &[]);
    let findings = connector.probe(&["shop.orders".into(), "shop.missing".into()]).await;
    let about = |subject: &str| findings.iter().find(|finding| finding.subject == subject).unwrap();
    let orders = about("topic shop.orders");
    assert_eq!(orders.level, FindingLevel::Works, "{findings:?}");
    assert!(orders.message.contains("3 partitions, 1 replicas"), "{findings:?}");
    assert!(
        about("topic shop.missing").message.contains("is missing"),
        "{findings:?}"
    );
    assert!(broker.topic_id("shop.missing").is_none(), "looking created the topic");

    broker.crash(0);
    let findings = connector.probe(&[]).await;
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].level, FindingLevel::Broken);
}
