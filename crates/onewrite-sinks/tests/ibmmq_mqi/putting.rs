//! What a message looks like, how many are committed at once, and what a check finds.

use onewrite_core::sink::FindingLevel;
use onewrite_testkit::wait;

use super::stub::{Stub, arrived};
use super::{QUEUE, connector, sink};
use crate::support::{deliver, event, events, words};

#[tokio::test]
async fn a_message_is_persistent_and_carries_the_id_and_all_headers() {
    let stub = Stub::with(&[QUEUE]);
    let mut sent = event(7, Some("käse"));
    sent.headers = vec![("X_Odd".into(), "a \"quoted\"; value".into())];
    let sink = sink(&stub, &[]).await;
    assert_eq!(words(&deliver(&*sink, &[sent]).await.1), ["delivered"]);
    let message = &stub.messages(QUEUE)[0];
    assert_eq!(message.body, b"{\"number\": 7}");
    assert_eq!(message.format, "MQSTR   ");
    assert_eq!((message.persistence, message.expiry, message.priority), (1, -1, -1));
    assert_eq!(message.properties["content_type"], "application/json");
    assert_eq!(message.properties["X$5fOdd"], "a%20%22quoted%22%3B%20value");
    assert_eq!(arrived(message).key.as_deref(), Some("käse"));
    assert_eq!(stub.text("connection_name"), "mq.example.com(1415)");
}

#[tokio::test]
async fn options_of_the_message_and_of_tls_are_given() {
    let stub = Stub::with(&["a/b%c.D"]);
    let texts = [
        ("queue", "a/b%c.D"),
        ("expiry", "2010ms"),
        ("priority", "7"),
        ("persistent", "false"),
        ("cipher_spec", "ANY_TLS12_OR_HIGHER"),
        ("key_repository", "/keys/key"),
        ("urls", "mq://[::1]"),
    ];
    let mut binary = event(1, None);
    binary.payload = vec![0xff, 0].into();
    let sink = sink(&stub, &texts).await;
    assert_eq!(words(&deliver(&*sink, &[binary]).await.1), ["delivered"]);
    let message = &stub.messages("a/b%c.D")[0];
    assert_eq!((message.persistence, message.expiry, message.priority), (0, 21, 7));
    assert_eq!((message.format.trim(), &message.body[..]), ("", &[0xff, 0][..]));
    assert_eq!(stub.text("cipher_spec"), "ANY_TLS12_OR_HIGHER");
    assert_eq!(stub.text("key_repository"), "/keys/key");
    assert_eq!(stub.text("connection_name"), "::1(1414)");
}

#[tokio::test]
async fn a_topic_is_published_to_by_its_string() {
    let stub = Stub::with(&["shop/orders"]);
    let texts = [("destination", "topic"), ("topic_string", "shop/orders")];
    let sink = sink(&stub, &texts).await;
    assert_eq!(words(&deliver(&*sink, &[event(1, None)]).await.1), ["delivered"]);
    assert_eq!(stub.messages("shop/orders").len(), 1);
}

#[tokio::test]
async fn a_batch_is_one_unit_of_work_unless_the_queue_manager_takes_less() {
    let stub = Stub::with(&[QUEUE]);
    let sink = sink(&stub, &[]).await;
    let batch = events(100, &["a", "b"]);
    assert!(
        words(&deliver(&*sink, &batch).await.1)
            .iter()
            .all(|word| *word == "delivered")
    );
    assert_eq!(stub.count("commits"), 1);
    stub.set("unit", 30);
    assert!(
        words(&deliver(&*sink, &batch).await.1)
            .iter()
            .all(|word| *word == "delivered")
    );
    assert_eq!((stub.count("commits"), stub.messages(QUEUE).len()), (5, 200));
}

#[tokio::test]
async fn more_queues_than_a_connection_may_hold_open_are_all_reached() {
    let names: Vec<_> = (0..100).map(|number| format!("Q.{number}")).collect();
    let stub = Stub::with(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let sink = sink(&stub, &[]).await;
    let mut batch = events(100, &["a"]);
    for (event, name) in batch.iter_mut().zip(&names) {
        event.topic = name.as_str().into();
    }
    assert!(
        words(&deliver(&*sink, &batch).await.1)
            .iter()
            .all(|word| *word == "delivered")
    );
    assert!(names.iter().all(|name| stub.messages(name).len() == 1));
}

#[tokio::test]
async fn closing_and_dropping_disconnect() {
    let stub = Stub::with(&[QUEUE]);
    let closed = sink(&stub, &[]).await;
    closed.close().await.unwrap();
    closed.close().await.unwrap();
    assert_eq!(stub.count("connections"), 0);
    let (result, _) = deliver(&*closed, &[event(1, None)]).await;
    assert_eq!(result.unwrap_err().action, onewrite_core::Action::Reconnect);
    drop(sink(&stub, &[]).await);
    wait::until("nobody is connected", async || {
        (stub.count("connections") == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_check_tells_what_may_be_put_to_and_sends_nothing() {
    let stub = Stub::with(&[QUEUE, "SECRET"]);
    stub.fail("MQOPEN", "SECRET", 2_035, 0, -1);
    let topics = [QUEUE, "MISSING", "SECRET", "not a name"].map(str::to_owned);
    let findings = connector(&stub, &[("persistent", "false")]).probe(&topics).await;
    for (subject, expected) in [
        ("cipher_spec", FindingLevel::Warning),
        ("credentials", FindingLevel::Warning),
        ("persistent", FindingLevel::Warning),
        ("server mq.example.com(1415)", FindingLevel::Works),
        ("queue shop.orders of QM.1", FindingLevel::Works),
        ("queue MISSING", FindingLevel::Broken),
        ("queue SECRET", FindingLevel::Broken),
        ("queue not a name", FindingLevel::Broken),
    ] {
        let found = findings.iter().find(|finding| finding.subject.starts_with(subject));
        let found = found.unwrap_or_else(|| panic!("no {subject} in {findings:?}"));
        assert_eq!(found.level, expected, "{found:?}");
    }
    assert_eq!((stub.messages(QUEUE).len(), stub.count("connections")), (0, 0));
}
