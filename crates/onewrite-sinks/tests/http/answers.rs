//! What the sink makes of answers, and of their absence.

use std::time::Duration;

use onewrite_core::error::chain;
use onewrite_core::{Action, Outcome, SinkError};
use tokio::net::TcpListener;

use super::receiver::{Receiver, Reply};
use super::{connector, sink};
use crate::support::{deliver, event, events, words};

fn error(outcome: &Outcome) -> &SinkError {
    match outcome {
        Outcome::Failed(error) => error,
        other => panic!("expected a failure, found {other:?}"),
    }
}

async fn answered(status: u16, headers: &[(&'static str, &str)], body: &str) -> (Result<(), SinkError>, Vec<Outcome>) {
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    let body = body.to_owned();
    let receiver = Receiver::scripted(move |_| Reply::Refuse(status, headers.clone(), body.clone())).await;
    let sink = sink(
        &receiver,
        &[("bearer_token", "hunter2-secret"), ("headers", "x-api-key=key-secret")],
    )
    .await;
    deliver(&*sink, &[event(1, Some("a"))]).await
}

#[tokio::test]
async fn each_status_has_its_action() {
    let soon = |after| Action::Retry { after };
    for (status, expected, route_wide) in [
        (400, Action::Park, false),
        (409, Action::Park, false),
        (413, Action::Park, false),
        (422, Action::Park, false),
        (431, Action::Park, false),
        (408, soon(None), false),
        (425, soon(None), false),
        (500, soon(None), false),
        (501, soon(None), false),
        (503, soon(None), false),
        (429, soon(None), true),
        (401, soon(None), true),
        (403, soon(None), true),
        (404, soon(None), true),
        (407, soon(None), true),
        (302, soon(None), true),
        (307, soon(None), true),
        (301, Action::Halt, true),
        (308, Action::Halt, true),
        (410, Action::Halt, true),
    ] {
        let (result, outcomes) = answered(status, &[], "").await;
        assert_eq!(error(&outcomes[0]).action, expected, "{status}");
        assert_eq!(
            result.err().map(|error| error.action),
            route_wide.then_some(expected),
            "{status}"
        );
    }
    for status in [200, 201, 202, 204] {
        let (result, outcomes) = answered(status, &[], "").await;
        result.unwrap();
        assert_eq!(words(&outcomes), ["delivered"]);
    }
}

#[tokio::test]
async fn retry_after_is_honoured_and_capped() {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (status, after, seconds) in [
        (503, "7", 7),
        (429, "86400", 3600),
        (503, "Sun, 06 Nov 1994 08:50:37 GMT", 60),
    ] {
        let (result, outcomes) = answered(status, &[("retry-after", after), ("date", date)], "").await;
        let expected = Action::Retry {
            after: Some(Duration::from_secs(seconds)),
        };
        assert_eq!(error(&outcomes[0]).action, expected);
        assert_eq!(result.unwrap_err().action, expected);
    }
}

#[tokio::test]
async fn words_are_the_servers_without_secrets_and_control_characters() {
    let said = "no such\r\ncustomer; you sent hunter2-secret and key-secret";
    let (_, outcomes) = answered(422, &[], said).await;
    let words = chain(error(&outcomes[0]));
    assert!(words.contains("answered 422 Unprocessable Entity"), "{words}");
    assert!(words.contains("no such\\r\\ncustomer; you sent … and …"), "{words}");
    let (_, outcomes) = answered(400, &[], &"é".repeat(5_000)).await;
    let words = chain(error(&outcomes[0]));
    assert!((1_000..1_200).contains(&words.chars().count()), "{words}");
}

#[tokio::test]
async fn a_body_without_end_is_not_read_to_its_end() {
    let mut status = 400;
    let receiver = Receiver::scripted(move |_| {
        status += 22;
        Reply::Endless(if status == 422 { 422 } else { 200 })
    })
    .await;
    let sink = sink(&receiver, &[]).await;
    assert_eq!(words(&deliver(&*sink, &[event(1, None)]).await.1), ["park"]);
    assert_eq!(words(&deliver(&*sink, &[event(2, None)]).await.1), ["delivered"]);
}

#[tokio::test]
async fn a_redirect_is_named_and_not_followed() {
    let elsewhere = Receiver::new().await;
    let target = format!("{}?token=xyz", elsewhere.url());
    for status in [301, 302, 303, 307, 308] {
        let (result, outcomes) = answered(status, &[("location", &target)], "").await;
        let words = chain(error(&outcomes[0]));
        assert!(words.contains(&elsewhere.url()), "{words}");
        assert!(words.contains("redirects are not followed"), "{words}");
        assert!(!words.contains("xyz"), "{words}");
        assert!(result.is_err());
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn an_answer_that_does_not_come_leaves_its_event_unknown_and_its_key_stopped() {
    let receiver = Receiver::scripted(|received| match received.header("onewrite-key") {
        Some("hangs") => Reply::Hang,
        _ => Reply::Take(200),
    })
    .await;
    let sink = sink(&receiver, &[("timeout", "1s")]).await;
    let batch = [
        event(1, Some("hangs")),
        event(2, Some("a")),
        event(3, Some("hangs")),
        event(4, Some("a")),
    ];
    let (result, outcomes) = deliver(&*sink, &batch).await;
    result.unwrap();
    assert_eq!(words(&outcomes), ["unknown", "delivered", "unknown", "delivered"]);
    assert_eq!(receiver.seen().len(), 3);
    // Where nothing gets through, the route is told why.
    let (result, outcomes) = deliver(&*sink, &batch[..1]).await;
    assert_eq!(words(&outcomes), ["unknown"]);
    let told = result.unwrap_err();
    assert_eq!(told.action, Action::Retry { after: None });
    assert!(told.to_string().contains("did not answer within 1s"), "{told}");
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_its_event_unknown() {
    for reply in [Reply::Drop, Reply::TakeAndDrop] {
        let receiver = Receiver::scripted(move |_| reply.clone()).await;
        let sink = sink(&receiver, &[]).await;
        let (result, outcomes) = deliver(&*sink, &[event(1, Some("a")), event(2, Some("a"))]).await;
        assert_eq!(words(&outcomes), ["unknown", "unknown"]);
        assert!(
            result
                .unwrap_err()
                .to_string()
                .contains("whether the events arrived is unknown")
        );
        assert_eq!(receiver.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_asks_for_a_new_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let connector = connector(&url, &[]);
    let sink = connector.connect().await.unwrap();
    drop(listener);
    let (result, outcomes) = deliver(&*sink, &events(3, &["a", "b"])).await;
    assert_eq!(result.unwrap_err().action, Action::Reconnect);
    assert_eq!(words(&outcomes), ["unknown"; 3]);
    let refused = connector.connect().await.err().unwrap();
    assert_eq!(refused.action, Action::Reconnect);
    assert!(chain(&refused).contains("Connection refused"), "{}", chain(&refused));
}

#[tokio::test]
async fn a_server_that_asks_for_less_gets_nothing_more_in_this_delivery() {
    let receiver = Receiver::scripted(|_| Reply::Refuse(429, vec![("retry-after", "3".into())], String::new())).await;
    let sink = sink(&receiver, &[("concurrency", "2")]).await;
    let batch: Vec<_> = (1..=50).map(|number| event(number, None)).collect();
    let (result, outcomes) = deliver(&*sink, &batch).await;
    assert_eq!(
        result.unwrap_err().action,
        Action::Retry {
            after: Some(Duration::from_secs(3))
        }
    );
    assert!(receiver.seen().len() <= 3, "{}", receiver.seen().len());
    assert_eq!(
        words(&outcomes).iter().filter(|word| **word == "retry").count(),
        receiver.seen().len()
    );
}

#[tokio::test]
async fn a_server_in_trouble_is_not_flooded() {
    let receiver = Receiver::scripted(|_| Reply::Refuse(503, Vec::new(), String::new())).await;
    let sink = sink(&receiver, &[("concurrency", "4")]).await;
    let batch: Vec<_> = (1..=500).map(|number| event(number, None)).collect();
    let (result, _) = deliver(&*sink, &batch).await;
    assert_eq!(result.unwrap_err().action, Action::Retry { after: None });
    assert!(receiver.seen().len() <= 8 + 4, "{}", receiver.seen().len());
}
