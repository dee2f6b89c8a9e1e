//! What the sink makes of calls that fail, are not answered, or are given up.

use std::time::Duration;

use onewrite_core::error::chain;
use onewrite_core::{Action, DeliveryReport, Outcome, SinkError};
use onewrite_testkit::wait;

use super::stub::Stub;
use super::{QUEUE, connector, sink};
use crate::support::{deliver, event, events, settle, word, words};

fn action(result: Result<(), SinkError>) -> &'static str {
    match result {
        Ok(()) => "none",
        Err(error) => word(&Outcome::Failed(error)),
    }
}

#[tokio::test]
async fn each_reason_of_a_put_has_its_action() {
    for (call, reason, outcome, whole) in [
        ("MQPUT", 2_053, "retry", "none"),
        ("MQPUT", 2_051, "retry", "none"),
        ("MQPUT", 2_192, "retry", "none"),
        ("MQPUT", 2_024, "retry", "none"),
        // It may be in the unit of work or not.
        ("MQPUT", 2_195, "unknown", "reconnect"),
        ("MQPUT", 2_030, "park", "none"),
        ("MQPUT", 2_031, "park", "none"),
        ("MQPUT", 2_218, "park", "none"),
        ("MQOPEN", 2_085, "park", "none"),
        ("MQOPEN", 2_035, "park", "none"),
        ("MQSETMP", 2_442, "park", "none"),
        ("MQPUT", 2_102, "unknown", "retry"),
        ("MQPUT", 2_003, "unknown", "retry"),
        ("MQPUT", 2_009, "unknown", "reconnect"),
        ("MQPUT", 2_161, "unknown", "reconnect"),
        ("MQPUT", 2_203, "unknown", "reconnect"),
        ("MQOPEN", 2_018, "unknown", "reconnect"),
    ] {
        let stub = Stub::with(&[QUEUE]);
        let sink = sink(&stub, &[]).await;
        stub.fail(call, "", reason, 0, -1);
        let (result, outcomes) = deliver(&*sink, &[event(1, Some("a"))]).await;
        assert_eq!(
            (words(&outcomes)[0], action(result)),
            (outcome, whole),
            "{call} {reason}"
        );
        assert!(stub.messages(QUEUE).is_empty());
    }
}

#[tokio::test]
async fn a_refusal_inside_a_batch_stops_its_key_and_the_rest_is_committed() {
    let stub = Stub::with(&[QUEUE]);
    let sink = sink(&stub, &[]).await;
    stub.fail("MQPUT", QUEUE, 2_053, 2, 1);
    let batch = events(6, &["a", "b"]);
    let (result, outcomes) = deliver(&*sink, &batch).await;
    result.unwrap();
    let expected = ["delivered", "delivered", "retry", "delivered", "unknown", "delivered"];
    assert_eq!(words(&outcomes), expected);
    let Outcome::Failed(error) = &outcomes[2] else { panic!() };
    assert!(
        chain(error).contains("2053 MQRC_Q_FULL; the queue is full"),
        "{}",
        chain(error)
    );
    assert_eq!((stub.messages(QUEUE).len(), stub.count("commits")), (4, 1));
    assert!(
        settle(&*sink, &[batch[2].clone(), batch[4].clone()], 1)
            .await
            .is_empty()
    );
    assert_eq!(stub.messages(QUEUE).len(), 6);
}

#[tokio::test]
async fn a_queue_that_stays_full_is_not_tried_with_the_whole_batch() {
    let stub = Stub::with(&[QUEUE]);
    let sink = sink(&stub, &[]).await;
    stub.fail("MQPUT", QUEUE, 2_053, 0, -1);
    let batch: Vec<_> = (1..=50).map(|number| event(number, None)).collect();
    let told = deliver(&*sink, &batch).await.1;
    assert_eq!(words(&told).iter().filter(|word| **word == "retry").count(), 8);
}

#[tokio::test]
async fn a_unit_backed_out_at_commit_is_put_again() {
    let stub = Stub::with(&[QUEUE]);
    let sink = sink(&stub, &[]).await;
    stub.fail("MQCMIT", "", 2_003, 0, 1);
    let batch = events(3, &["a"]);
    let (result, outcomes) = deliver(&*sink, &batch).await;
    assert_eq!((words(&outcomes), action(result)), (vec!["unknown"; 3], "retry"));
    assert!(stub.messages(QUEUE).is_empty());
    assert!(settle(&*sink, &batch, 1).await.is_empty());
    assert_eq!(stub.messages(QUEUE).len(), 3);
}

#[tokio::test]
async fn a_commit_that_is_not_answered_is_unknown_and_repeated_under_the_same_correlation() {
    for reason in [2_009, 2_059, 2_161, 2_162, 2_202, 2_203, 2_124] {
        let stub = Stub::with(&[QUEUE]);
        let connector = connector(&stub, &[]);
        let sink = connector.connect().await.unwrap();
        let applied = reason == 2_009;
        if applied {
            stub.set("lose", 1);
        } else {
            stub.fail("MQCMIT", "", reason, 0, 1);
        }
        let batch = events(2, &["a"]);
        let (result, outcomes) = deliver(&*sink, &batch).await;
        assert_eq!(
            (words(&outcomes), action(result)),
            (vec!["unknown"; 2], "reconnect"),
            "{reason}"
        );
        stub.set("lose", 0);
        assert!(settle(&*connector.connect().await.unwrap(), &batch, 1).await.is_empty());
        let all: Vec<_> = stub
            .messages(QUEUE)
            .into_iter()
            .map(|message| message.correlation)
            .collect();
        assert_eq!(all.len(), if applied { 4 } else { 2 }, "{reason}");
        assert_eq!(all[0], all[all.len() - 2]);
    }
}

#[tokio::test]
async fn a_connection_lost_in_mid_batch_leaves_nothing_of_the_unit() {
    let stub = Stub::with(&[QUEUE]);
    let connector = connector(&stub, &[]);
    let sink = connector.connect().await.unwrap();
    stub.fail("MQPUT", QUEUE, 2_009, 5, 1);
    let batch = events(10, &["a", "b"]);
    let (result, outcomes) = deliver(&*sink, &batch).await;
    assert_eq!((words(&outcomes), action(result)), (vec!["unknown"; 10], "reconnect"));
    assert!(stub.messages(QUEUE).is_empty());
    assert!(settle(&*connector.connect().await.unwrap(), &batch, 1).await.is_empty());
    assert_eq!(stub.messages(QUEUE).len(), 10);
}

#[tokio::test]
async fn a_delivery_that_was_given_up_is_not_committed_with_the_next() {
    let stub = Stub::with(&[QUEUE]);
    let sink = sink(&stub, &[]).await;
    stub.set("slow", 30);
    let batch = events(20, &["a"]);
    let mut report = DeliveryReport::new(batch.len());
    let given_up = tokio::time::timeout(Duration::from_millis(150), sink.deliver(&batch, &mut report)).await;
    assert!(given_up.is_err());
    wait::until("what was put is backed out", async || {
        (stub.count("discarded") > 0).then_some(())
    })
    .await;
    stub.set("slow", 0);
    assert_eq!(words(&deliver(&*sink, &[event(50, None)]).await.1), ["delivered"]);
    assert_eq!(stub.messages(QUEUE).len(), 1, "the second delivery alone");
}

#[tokio::test]
async fn a_call_that_does_not_return_in_time_is_unknown_and_the_connection_is_given_up() {
    let stub = Stub::with(&[QUEUE]);
    let sink = sink(&stub, &[("timeout", "100ms")]).await;
    stub.set("slow", 1_000);
    let (result, outcomes) = deliver(&*sink, &[event(1, None)]).await;
    let error = result.unwrap_err();
    assert!(
        chain(&error).contains("did not answer within 100ms"),
        "{}",
        chain(&error)
    );
    assert_eq!((words(&outcomes)[0], error.action), ("unknown", Action::Reconnect));
    let (result, _) = deliver(&*sink, &[event(2, None)]).await;
    assert_eq!(
        action(result),
        "reconnect",
        "nothing more is given to a thread that hangs"
    );
    stub.set("slow", 0);
    drop(sink);
    wait::until("the thread ends", async || {
        (stub.count("connections") == 0).then_some(())
    })
    .await;
    assert!(stub.messages(QUEUE).is_empty(), "nobody waited for the commit");
}

#[tokio::test]
async fn a_wrong_password_halts_and_is_not_shown() {
    let stub = Stub::with(&[QUEUE]);
    stub.credentials("app", "right-secret");
    let right = [("user", "app"), ("password", "right-secret")];
    assert_eq!(
        words(&deliver(&*sink(&stub, &right).await, &[event(1, None)]).await.1),
        ["delivered"]
    );
    let wrong = [("user", "app"), ("password", "wrong-secret")];
    let error = connector(&stub, &wrong).connect().await.err().unwrap();
    assert_eq!(error.action, Action::Halt);
    assert!(!chain(&error).contains("wrong-secret"), "{}", chain(&error));
}

#[tokio::test]
async fn an_address_that_fails_is_passed_over() {
    let stub = Stub::with(&[QUEUE]);
    stub.fail("MQCONNX", "", 2_538, 0, 1);
    let connector = connector(&stub, &[("urls", "mq://one:1414,mq://two:1414")]);
    let sink = connector.connect().await.unwrap();
    assert_eq!(stub.text("connection_name"), "two(1414)");
    stub.fail("MQPUT", "", 2_161, 0, 1);
    assert_eq!(action(deliver(&*sink, &[event(1, None)]).await.0), "reconnect");
    connector.connect().await.unwrap();
    assert_eq!(
        stub.text("connection_name"),
        "one(1414)",
        "the next after the one that failed"
    );
}
