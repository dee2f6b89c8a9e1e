//! The option `expect_last_sequence`.

use std::time::Duration;

use onewrite_core::error::Action;
use onewrite_testkit::faults::{FaultProxy, ProxyMode};
use onewrite_testkit::servers::Nats;
use serde_json::json;

use super::{connector, ids, to};
use crate::support::{deliver, event, settle};

/// How long the streams of these tests know an event again: the least that a server takes.
const WINDOW: Duration = Duration::from_millis(100);

/// Loses an answer, waits until the stream has forgotten the event's id, and delivers it again, after an event of another key;
/// what was sent, and what the stream then holds.
async fn after_the_window(nats: &Nats, stream: &str, guarded: bool) -> (Vec<uuid::Uuid>, Vec<uuid::Uuid>) {
    let subject = format!("{}.orders", stream.to_ascii_lowercase());
    let settings = json!({ "duplicate_window": WINDOW.as_nanos() as u64 });
    nats.create_stream(stream, &[&subject], settings).await;
    let proxy = FaultProxy::start(nats.address().parse().unwrap()).await.unwrap();
    let guarded = if guarded { "true" } else { "false" };
    let texts = [
        ("ack_timeout", "500ms"),
        ("stream", stream),
        ("expect_last_sequence", guarded),
    ];
    let connector = connector(&format!("nats://{}", proxy.address()), &texts);
    let batch: Vec<_> = (1..=4)
        .map(|number| to(&subject, event(number, Some(["a", "b"][number as usize % 2]))))
        .collect();
    let sink = connector.connect().await.unwrap();
    assert!(settle(&*sink, &batch[..2], 1).await.is_empty());
    proxy.set(ProxyMode::DropReplies);
    let (result, _) = deliver(&*sink, &batch[2..3]).await;
    assert_eq!(result.unwrap_err().action, Action::Reconnect);
    proxy.set(ProxyMode::Pass);
    tokio::time::sleep(5 * WINDOW).await; // slow on purpose
    let sink = connector.connect().await.unwrap();
    assert!(settle(&*sink, &batch[3..], 1).await.is_empty());
    assert!(settle(&*sink, &batch[2..3], 1).await.is_empty());
    let sent = batch.iter().map(|event| event.id).collect();
    let mut found = ids(&nats.read_all(stream).await);
    // Of different keys, in whatever order.
    found.sort_unstable();
    (sent, found)
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_window_of_duplicates_an_event_is_kept_once_with_it_and_twice_without() {
    let nats = Nats::shared().await;
    let (sent, found) = after_the_window(&nats, "GUARDED", true).await;
    assert_eq!(found, sent);
    let (mut sent, found) = after_the_window(&nats, "UNGUARDED", false).await;
    sent.insert(2, sent[2]);
    assert_eq!(found, sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_writer_is_noticed_and_passed() {
    let nats = Nats::shared().await;
    nats.create_stream("WRITERS", &["writers.orders"], json!({})).await;
    let texts = [("stream", "WRITERS"), ("expect_last_sequence", "true")];
    let (one, two) = (connector(&nats.url(), &texts), connector(&nats.url(), &texts));
    let (one, two) = (one.connect().await.unwrap(), two.connect().await.unwrap());
    let batch: Vec<_> = (1..=40)
        .map(|number| to("writers.orders", event(number, None)))
        .collect();
    for pair in batch.chunks(4) {
        assert!(settle(&*one, &pair[..2], 1).await.is_empty());
        assert!(settle(&*two, &pair[2..], 1).await.is_empty());
        // What the first knows to be the last is not.
        assert!(settle(&*one, &pair[..2], 1).await.is_empty());
    }
    let mut found = ids(&nats.read_all("WRITERS").await);
    found.sort_unstable();
    assert_eq!(found, batch.iter().map(|event| event.id).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_starts_anew_does_not_repeat_the_last_event() {
    let nats = Nats::shared().await;
    let settings = json!({ "duplicate_window": WINDOW.as_nanos() as u64 });
    nats.create_stream("RESTARTED", &["restarted.orders"], settings).await;
    let texts = [("stream", "RESTARTED"), ("expect_last_sequence", "true")];
    let batch: Vec<_> = (1..=3)
        .map(|number| to("restarted.orders", event(number, None)))
        .collect();
    let sink = connector(&nats.url(), &texts).connect().await.unwrap();
    assert!(settle(&*sink, &batch[..1], 1).await.is_empty());
    tokio::time::sleep(5 * WINDOW).await; // slow on purpose
    let sink = connector(&nats.url(), &texts).connect().await.unwrap();
    // Another comes first.
    assert!(settle(&*sink, &batch[1..2], 1).await.is_empty());
    assert!(
        settle(&*sink, &[batch[0].clone(), batch[2].clone()], 1)
            .await
            .is_empty()
    );
    let sent: Vec<_> = batch.iter().map(|event| event.id).collect();
    assert_eq!(ids(&nats.read_all("RESTARTED").await), sent);
    // What an operator has replayed is wanted once more.
    let mut replayed = batch[0].clone();
    replayed.replay = Some(1);
    // Whatever the format makes of it.
    replayed.headers_complete = true;
    assert!(settle(&*sink, &[replayed], 1).await.is_empty());
    assert_eq!(nats.read_all("RESTARTED").await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_answers_of_one_subject_that_are_lost_repeat_none_of_its_events() {
    const LOST: u128 = 20;
    let nats = Nats::shared().await;
    let settings = json!({ "duplicate_window": WINDOW.as_nanos() as u64 });
    nats.create_stream("LOSING", &["losing.orders"], settings).await;
    let proxy = FaultProxy::start(nats.address().parse().unwrap()).await.unwrap();
    let texts = [
        ("ack_timeout", "300ms"),
        ("stream", "LOSING"),
        ("expect_last_sequence", "true"),
    ];
    let connector = connector(&format!("nats://{}", proxy.address()), &texts);
    let all: Vec<_> = (1..=2 * LOST)
        .map(|number| to("losing.orders", event(number, None)))
        .collect();
    for pair in all.chunks(2) {
        proxy.set(ProxyMode::Pass);
        let sink = connector.connect().await.unwrap();
        assert!(settle(&*sink, &pair[..1], 1).await.is_empty());
        proxy.set(ProxyMode::DropReplies);
        let (result, _) = deliver(&*sink, &pair[1..]).await;
        assert_eq!(result.unwrap_err().action, Action::Reconnect);
    }
    proxy.set(ProxyMode::Pass);
    tokio::time::sleep(5 * WINDOW).await; // slow on purpose
    let lost: Vec<_> = all.iter().skip(1).step_by(2).cloned().collect();
    let sink = connector.connect().await.unwrap();
    assert!(settle(&*sink, &lost, 1).await.is_empty());
    let sent: Vec<_> = all.iter().map(|event| event.id).collect();
    assert_eq!(ids(&nats.read_all("LOSING").await), sent);
}
