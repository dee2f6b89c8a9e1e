//! What ActiveMQ Classic does that a sink must not take for an acknowledgement.

use onewrite_core::Action;
use onewrite_core::sink::FindingLevel;
use onewrite_testkit::servers::ActiveMq;

use super::{LOGIN, connector, event_for, ids, said};
use crate::support::{deliver, settle, words};

#[tokio::test(flavor = "multi_thread")]
async fn a_name_without_a_prefix_is_a_queue_and_keeps_events() {
    let broker = ActiveMq::shared().await;
    let sink = connector(&broker.url(), &LOGIN).connect().await.unwrap();
    let batch = [event_for("plain-name", 1, None), event_for("queue://prefixed", 2, None)];
    assert!(settle(&*sink, &batch, 1).await.is_empty());
    assert_eq!(ids(&broker.read_all("plain-name").await), [1]);
    assert_eq!(ids(&broker.read_all("prefixed").await), [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_not_sent_to_unless_it_was_asked_for() {
    let broker = ActiveMq::shared().await;
    let connector = connector(&broker.url(), &LOGIN);
    let findings = connector.probe(&["topic://news".to_owned()]).await;
    let broken = findings.iter().find(|finding| finding.level == FindingLevel::Broken);
    assert!(
        broken.is_some_and(|finding| finding.message.contains("it is a topic")),
        "{findings:?}"
    );
    let sink = connector.connect().await.unwrap();
    let (_, outcomes) = deliver(&*sink, &[event_for("topic://news", 1, None)]).await;
    assert_eq!(words(&outcomes), ["retry"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_user_may_not_send_to_is_parked_with_words() {
    let broker = ActiveMq::shared().await;
    let connector = connector(&broker.url(), &LOGIN);
    let sink = connector.connect().await.unwrap();
    let (_, outcomes) = deliver(&*sink, &[event_for("forbidden.orders", 1, None)]).await;
    assert_eq!(words(&outcomes), ["park"], "{}", said(&outcomes[0]));
    assert!(said(&outcomes[0]).contains("unauthorized"), "{}", said(&outcomes[0]));
    // Classic may end the connection over it.
    let sink = connector.connect().await.unwrap();
    assert!(settle(&*sink, &[event_for("allowed", 2, None)], 1).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_halts() {
    let broker = ActiveMq::shared().await;
    let texts = [("user", "relay"), ("password", "wrong-password")];
    let error = connector(&broker.url(), &texts)
        .connect()
        .await
        .err()
        .expect("it is refused");
    assert_eq!(error.action, Action::Halt, "{error}");
}
