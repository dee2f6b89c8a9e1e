//! What streams and servers refuse.

use onewrite_core::Outcome;
use onewrite_testkit::faults::FaultProxy;
use onewrite_testkit::servers::Nats;
use serde_json::json;

use super::{connector, ids, to, told};
use crate::support::{deliver, event, settle, words};

#[tokio::test(flavor = "multi_thread")]
async fn what_no_stream_takes_is_parked_and_stops_its_key() {
    let nats = Nats::shared().await;
    nats.create_stream("UNROUTABLE", &["unroutable.orders"], json!({}))
        .await;
    let sink = connector(&nats.url(), &[]).connect().await.unwrap();
    let batch = [
        to("unroutable.elsewhere", event(1, Some("a"))),
        to("unroutable.orders", event(2, Some("a"))),
        to("unroutable.orders", event(3, Some("b"))),
    ];
    let (result, outcomes) = deliver(&*sink, &batch).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(words(&outcomes), ["park", "unknown", "delivered"]);
    let words = told(&outcomes[0]);
    assert!(
        words.contains("no stream listens to subject unroutable.elsewhere"),
        "{words}"
    );
    assert_eq!(ids(&nats.read_all("UNROUTABLE").await), [batch[2].id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_is_no_stream_acknowledges_nothing() {
    let nats = Nats::shared().await;
    let client = async_nats::connect(nats.url()).await.unwrap();
    let mut subscriber = client.subscribe("service.orders").await.unwrap();
    client.flush().await.unwrap();
    let answering = tokio::spawn(async move {
        use futures::StreamExt;
        let asked = subscriber.next().await.unwrap();
        client.publish(asked.reply.unwrap(), "+OK".into()).await.unwrap();
        client.flush().await.unwrap();
    });
    let sink = connector(&nats.url(), &[]).connect().await.unwrap();
    let (_, outcomes) = deliver(&*sink, &[to("service.orders", event(1, None))]).await;
    assert_eq!(words(&outcomes), ["retry"]);
    assert!(told(&outcomes[0]).contains("no JetStream acknowledgement"));
    answering.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_holds_events_back_until_there_is_room() {
    let nats = Nats::shared().await;
    let settings = json!({ "max_msgs": 2, "discard": "new" });
    nats.create_stream("FULL", &["full.orders"], settings).await;
    let sink = connector(&nats.url(), &[]).connect().await.unwrap();
    let batch: Vec<_> = (1..=4)
        .map(|number| to("full.orders", event(number, Some("a"))))
        .collect();
    let (_, outcomes) = deliver(&*sink, &batch).await;
    assert_eq!(words(&outcomes), ["delivered", "delivered", "retry", "unknown"]);
    let words = told(&outcomes[2]);
    assert!(words.contains("maximum messages exceeded"), "{words}");
    nats.api("STREAM.PURGE.FULL", json!({})).await;
    assert!(settle(&*sink, &batch[2..], 1).await.is_empty());
    assert_eq!(ids(&nats.read_all("FULL").await), [batch[2].id, batch[3].id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_larger_than_the_server_takes_is_parked_alone_and_the_connection_lives() {
    let nats = Nats::shared().await;
    nats.create_stream("LARGE", &["large.orders"], json!({})).await;
    let proxy = FaultProxy::start(nats.address().parse().unwrap()).await.unwrap();
    let url = format!("nats://{}", proxy.address());
    let sink = connector(&url, &[]).connect().await.unwrap();
    // Just at the server's limit, headers and all, is the largest that passes.
    let most = 1024 * 1024;
    let mut large = to("large.orders", event(1, Some("a")));
    large.payload = vec![b'x'; most].into();
    let (_, outcomes) = deliver(&*sink, &[large.clone()]).await;
    let words_of = told(&outcomes[0]);
    let headers: usize = words_of
        .split_whitespace()
        .find_map(|word| word.parse::<usize>().ok())
        .unwrap()
        - most;
    for (over, expected) in [(1, "park"), (0, "delivered")] {
        large.payload = vec![b'x'; most - headers + over].into();
        let batch = [large.clone(), to("large.orders", event(2 + over as u128, Some("b")))];
        let (result, outcomes) = deliver(&*sink, &batch).await;
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(words(&outcomes), [expected, "delivered"]);
    }
    assert!(words_of.contains("max_payload"), "{words_of}");
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_larger_than_the_stream_takes_is_parked_alone() {
    let nats = Nats::shared().await;
    nats.create_stream("SMALL", &["small.orders"], json!({ "max_msg_size": 2_000 }))
        .await;
    let sink = connector(&nats.url(), &[]).connect().await.unwrap();
    let mut large = to("small.orders", event(1, Some("a")));
    large.payload = vec![b'x'; 3_000].into();
    let (_, outcomes) = deliver(&*sink, &[large, to("small.orders", event(2, Some("b")))]).await;
    assert_eq!(words(&outcomes), ["park", "delivered"]);
    let words = told(&outcomes[0]);
    assert!(
        words.contains("message size exceeds maximum allowed (10054)"),
        "{words}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_sank_since_connecting_parks_the_message_and_ends_the_connection() {
    let nats = Nats::start("max_payload: 100000").await;
    nats.create_stream("SUNK", &["sunk.orders"], json!({})).await;
    let connector = connector(&nats.url(), &[]);
    let sink = connector.connect().await.unwrap();
    nats.reload("max_payload: 5000").await;
    let mut large = to("sunk.orders", event(1, Some("a")));
    large.payload = vec![b'x'; 20_000].into();
    let (_, outcomes) = deliver(&*sink, &[large]).await;
    assert_eq!(words(&outcomes), ["park"]);
    assert!(told(&outcomes[0]).contains("Maximum Payload Violation"));
    let sink = connector.connect().await.unwrap();
    assert!(
        settle(&*sink, &[to("sunk.orders", event(2, Some("a")))], 1)
            .await
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_deleted_in_mid_run_holds_back_what_comes_after() {
    let nats = Nats::shared().await;
    nats.create_stream("DELETED", &["deleted.orders"], json!({})).await;
    let connector = connector(&nats.url(), &[]);
    let sink = connector.connect().await.unwrap();
    let batch = [to("deleted.orders", event(1, Some("a")))];
    assert!(settle(&*sink, &batch, 1).await.is_empty());
    nats.delete_stream("DELETED").await;
    // What was taken once is known over connections.
    let sink = connector.connect().await.unwrap();
    let batch = [to("deleted.orders", event(2, Some("a")))];
    let (_, outcomes) = deliver(&*sink, &batch).await;
    assert_eq!(words(&outcomes), ["retry"]);
    nats.create_stream("DELETED", &["deleted.orders"], json!({})).await;
    assert!(settle(&*sink, &batch, 1).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapped_subject_that_nobody_listens_to_holds_its_events_back() {
    let nats = Nats::start("mappings: { \"mapped.in\": \"mapped.kept\" }").await;
    let sink = connector(&nats.url(), &[("stream", "MAPPED")]).connect().await.unwrap();
    let batch = [to("mapped.in", event(1, Some("a")))];
    let (_, outcomes) = deliver(&*sink, &batch).await;
    assert_eq!(words(&outcomes), ["retry"]);
    nats.create_stream("MAPPED", &["mapped.kept"], json!({})).await;
    assert!(settle(&*sink, &batch, 1).await.is_empty());
    assert_eq!(ids(&nats.read_all("MAPPED").await), [batch[0].id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_of_another_stream_than_the_one_named_is_parked() {
    let nats = Nats::shared().await;
    nats.create_stream("OTHER", &["other.orders"], json!({})).await;
    let sink = connector(&nats.url(), &[("stream", "MINE")]).connect().await.unwrap();
    let (_, outcomes) = deliver(&*sink, &[to("other.orders", event(1, Some("a")))]).await;
    assert_eq!(words(&outcomes), ["park"]);
    assert!(told(&outcomes[0]).contains("expected stream does not match"));
    assert!(nats.read_all("OTHER").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn subjects_and_headers_that_cannot_be_are_parked_with_words() {
    let nats = Nats::shared().await;
    nats.create_stream("SUBJECTS", &["subjects.>"], json!({})).await;
    let sink = connector(&nats.url(), &[("subject", "subjects.{topic}.{key}")])
        .connect()
        .await
        .unwrap();
    for (key, expected) in [
        ("a b", "holds blanks"),
        ("a..b", "empty part"),
        ("*", "wildcard"),
        (">", "wildcard"),
        ("", "key"),
    ] {
        let (_, outcomes) = deliver(&*sink, &[event(1, Some(key))]).await;
        assert_eq!(words(&outcomes), ["park"], "{key:?}");
        assert!(told(&outcomes[0]).contains(expected), "{}", told(&outcomes[0]));
    }
    let mut header = event(2, Some("a"));
    header.headers = vec![("a:b".into(), "x".into())];
    let (_, outcomes) = deliver(&*sink, &[header]).await;
    assert!(told(&outcomes[0]).contains("\"a:b\" cannot be the name of a NATS header"));

    let mut rollup = event(3, Some("Grüße"));
    rollup.headers = vec![
        ("Nats-Rollup".into(), "all".into()),
        ("traceparent".into(), "00-1-2-01".into()),
    ];
    let (_, outcomes) = deliver(&*sink, &[rollup]).await;
    assert!(matches!(outcomes[0], Outcome::Delivered), "{outcomes:?}");
    let arrived = nats.read_all("SUBJECTS").await;
    assert_eq!(arrived[0].headers["traceparent"], "00-1-2-01");
    assert_eq!(arrived[0].key.as_deref(), Some("Grüße"));
}
