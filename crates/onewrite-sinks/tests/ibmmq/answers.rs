//! What the sink makes of answers, and of their absence.

use onewrite_core::error::chain;
use onewrite_core::{Outcome, SinkError};
use onewrite_testkit::wait;

use super::stub::{Refusal, Stub};
use super::{QUEUE, sink};
use crate::support::{deliver, event, events, settle, words};

/// The word for the event and, where the delivery as a whole failed, that for the delivery.
fn fate(result: &Result<(), SinkError>, outcomes: &[Outcome]) -> (&'static str, Option<&'static str>) {
    let whole = result
        .as_ref()
        .err()
        .map(|error| words(&[Outcome::Failed(SinkError::new(error.action, ""))])[0]);
    (words(outcomes)[0], whole)
}

const ONE: Option<&str> = None;

#[tokio::test]
async fn each_reason_of_the_queue_manager_has_its_action() {
    let park = ("park", ONE);
    let later = ("retry", ONE);
    let elsewhere = ("unknown", Some("reconnect"));
    let cases: &[(Refusal, _)] = &[
        ((404, "MQWB0303E", 2085), park),
        ((403, "MQWB0303E", 2035), park),
        ((500, "MQWB0303E", 2030), park),
        ((500, "MQWB0303E", 2031), park),
        ((500, "MQWB0303E", 2218), park),
        ((500, "MQWB0303E", 2478), park),
        ((500, "MQWB0303E", 2053), later),
        ((405, "MQWB0303E", 2051), later),
        ((405, "MQWB0303E", 0), later),
        ((500, "MQWB0303E", 2192), later),
        ((500, "MQWB0303E", 2195), later),
        ((500, "MQWB0303E", 0), later),
        ((500, "MQWB0303E", 2102), ("unknown", Some("retry"))),
        ((503, "MQWB0300E", 2059), elsewhere),
        ((500, "MQWB0303E", 2009), elsewhere),
        ((500, "MQWB0303E", 2161), elsewhere),
        ((404, "MQWB0300E", 2058), elsewhere),
        ((503, "MQWB0300E", 0), elsewhere),
    ];
    for (refusal, expected) in cases {
        let stub = Stub::start(&[QUEUE]).await;
        let sink = sink(&stub, &[]).await;
        stub.with(|state| state.queues.get_mut(QUEUE).unwrap().refuses = Some(*refusal));
        let (result, outcomes) = deliver(&*sink, &[event(1, Some("a"))]).await;
        assert_eq!(fate(&result, &outcomes), *expected, "{refusal:?}");
        assert!(stub.messages(QUEUE).is_empty());
    }
}

#[tokio::test]
async fn each_status_without_a_reason_has_its_action() {
    for (status, expected) in [
        (200, ("unknown", Some("retry"))),
        (202, ("unknown", Some("retry"))),
        (302, ("unknown", Some("retry"))),
        // A proxy's, which answers so to everybody.
        (400, ("unknown", Some("retry"))),
        (406, ("unknown", Some("retry"))),
        (403, ("unknown", Some("halt"))),
        // A wrong path or version is not the event's fault.
        (404, ("unknown", Some("retry"))),
        (413, ("park", ONE)),
        (415, ("unknown", Some("retry"))),
        (429, ("unknown", Some("retry"))),
        (500, ("retry", ONE)),
        (502, ("unknown", Some("reconnect"))),
        (504, ("unknown", Some("reconnect"))),
    ] {
        let stub = Stub::start(&[QUEUE]).await;
        let sink = sink(&stub, &[]).await;
        stub.with(|state| state.instead = Some((status, "<html>a page</html>".to_owned())));
        let (result, outcomes) = deliver(&*sink, &[event(1, Some("a"))]).await;
        assert_eq!(fate(&result, &outcomes), expected, "{status}");
    }
}

#[tokio::test]
async fn a_full_queue_takes_the_rest_once_there_is_room() {
    let stub = Stub::start(&[QUEUE, "OTHER"]).await;
    let sink = sink(&stub, &[]).await;
    stub.with(|state| {
        let queue = state.queues.get_mut(QUEUE).unwrap();
        (queue.refuses, queue.after) = (Some((500, "MQWB0303E", 2053)), 3);
    });
    let mut batch = events(6, &["a", "b"]);
    for event in &mut batch[4..] {
        (event.topic, event.key) = ("OTHER".into(), Some("c".into()));
    }
    let (_, outcomes) = deliver(&*sink, &batch).await;
    let told = words(&outcomes);
    assert_eq!(told.iter().filter(|word| **word == "delivered").count(), 5, "{told:?}");
    let Some(Outcome::Failed(error)) = outcomes.iter().find(|outcome| matches!(outcome, Outcome::Failed(_))) else {
        panic!("{told:?}")
    };
    assert!(chain(error).contains("raise MAXDEPTH"), "{}", chain(error));
    assert!(chain(error).contains("(reason 2053)"), "{}", chain(error));

    stub.with(|state| state.queues.get_mut(QUEUE).unwrap().refuses = None);
    let left: Vec<_> = batch
        .into_iter()
        .zip(&told)
        .filter(|(_, word)| **word != "delivered")
        .collect();
    let left: Vec<_> = left.into_iter().map(|(event, _)| event).collect();
    assert!(settle(&*sink, &left, 1).await.is_empty());
    assert_eq!(stub.messages(QUEUE).len(), 4);
}

#[tokio::test]
async fn a_lost_answer_is_unknown_and_the_repetition_has_the_same_correlation() {
    let stub = Stub::start(&[QUEUE]).await;
    let sink = sink(&stub, &[]).await;
    stub.with(|state| state.lose_answers = true);
    let (result, outcomes) = deliver(&*sink, &events(3, &["a"])).await;
    assert_eq!(fate(&result, &outcomes), ("unknown", Some("reconnect")));
    assert_eq!(words(&outcomes), ["unknown"; 3], "nothing later of its key was sent");
    stub.with(|state| state.lose_answers = false);
    assert!(settle(&*sink, &events(3, &["a"]), 1).await.is_empty());
    let correlations: Vec<_> = stub
        .messages(QUEUE)
        .into_iter()
        .map(|message| message.correlation)
        .collect();
    assert_eq!(correlations.len(), 4);
    assert_eq!(correlations[0], correlations[1]);
}

#[tokio::test]
async fn a_queue_deleted_in_mid_run_parks_its_own_events_alone() {
    let stub = Stub::start(&[QUEUE, "OTHER"]).await;
    let sink = sink(&stub, &[]).await;
    assert_eq!(words(&deliver(&*sink, &[event(1, Some("a"))]).await.1), ["delivered"]);
    stub.with(|state| state.queues.remove(QUEUE));
    let mut other = event(3, Some("b"));
    other.topic = "OTHER".into();
    let (result, outcomes) = deliver(&*sink, &[event(2, Some("a")), other]).await;
    result.unwrap();
    assert_eq!(words(&outcomes), ["park", "delivered"]);
}

#[tokio::test]
async fn credentials_revoked_in_mid_run_halt_the_route_and_are_not_repeated() {
    let stub = Stub::start(&[QUEUE]).await;
    let sink = sink(&stub, &[]).await;
    assert_eq!(words(&deliver(&*sink, &[event(1, None)]).await.1), ["delivered"]);
    stub.with(|state| state.password = "another".to_owned());
    let (result, outcomes) = deliver(&*sink, &[event(2, None)]).await;
    assert_eq!(fate(&result, &outcomes), ("unknown", Some("halt")));
    let said = chain(&result.unwrap_err());
    assert!(said.contains("MQWB0104E") && said.contains("you sent …"), "{said}");

    stub.with(|state| (state.password, state.role) = (super::PASSWORD.to_owned(), false));
    let (result, outcomes) = deliver(&*sink, &[event(2, None)]).await;
    assert_eq!(fate(&result, &outcomes), ("unknown", Some("halt")));
    assert!(chain(&result.unwrap_err()).contains("the role MQWebUser"));
}

#[tokio::test]
async fn a_queue_manager_that_moves_is_found_at_the_next_address() {
    let (first, second) = (Stub::start(&[QUEUE]).await, Stub::start(&[QUEUE]).await);
    let connector = super::connector(&format!("{},{}", first.url(), second.url()), &[]);
    let sink = connector.connect().await.unwrap();
    assert_eq!(words(&deliver(&*sink, &[event(1, None)]).await.1), ["delivered"]);
    first.with(|state| state.queues.get_mut(QUEUE).unwrap().refuses = Some((503, "MQWB0300E", 2059)));
    let (result, _) = deliver(&*sink, &events(20, &["a", "b", "c"])).await;
    assert_eq!(result.unwrap_err().action, onewrite_core::Action::Reconnect);
    let sink = wait::until("the other server", async || connector.connect().await.ok()).await;
    assert!(settle(&*sink, &events(20, &["a", "b", "c"]), 1).await.is_empty());
    assert_eq!((first.messages(QUEUE).len(), second.messages(QUEUE).len()), (1, 20));
}
