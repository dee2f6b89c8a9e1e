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
async fn a_topic_that_is_taken_for_a_queue_is_told_by_the_check() {
    let broker = ActiveMq::shared().await;
    let findings = connector(&broker.url(), &LOGIN)
        .probe(&["topic://news".to_owned()])
        .await;
    let worst = findings.iter().map(|finding| finding.level).max();
    assert!(worst > Some(FindingLevel::Works), "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_user_may_not_send_to_is_parked_with_words() {
    let broker = ActiveMq::shared().await;
    let sink = connector(&broker.url(), &LOGIN).connect().await.unwrap();
    let (_, outcomes) = deliver(
        &*sink,
        &[event_for("forbidden", 1, None), event_for("allowed", 2, None)],
    )
    .await;
    assert_eq!(words(&outcomes)[0], "park", "{}", said(&outcomes[0]));
    assert!(said(&outcomes[0]).contains("unauthorized"), "{}", said(&outcomes[0]));
    assert!(settle(&*sink, &[event_for("allowed", 2, None)], 2).await.is_empty());
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
