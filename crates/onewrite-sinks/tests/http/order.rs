//! Order, concurrency, cancellation and closing.

use std::sync::Arc;

use futures::FutureExt;
use onewrite_core::{Action, DeliveryReport, Event};
use uuid::Uuid;

use super::receiver::{Received, Receiver, Reply};
use super::sink;
use crate::support::{deliver, event, events, settle, words};

const KEYS: &[&str] = &["a", "b", "c", "d", "e", "f", "g"];

/// Answers as a bad day would have it.
fn bad_day(seed: u64) -> impl FnMut(&Received) -> Reply + Send {
    let mut random = fastrand::Rng::with_seed(seed);
    move |received| match random.u8(..20) {
        0 => Reply::Refuse(500, Vec::new(), String::new()),
        1 => Reply::Refuse(503, Vec::new(), String::new()),
        2 => Reply::Refuse(429, vec![("retry-after", "0".into())], String::new()),
        3 => Reply::Refuse(404, Vec::new(), String::new()),
        4 => Reply::Drop,
        5 | 6 => Reply::TakeAndDrop,
        7 => {
            let id = received.events[random.usize(..received.events.len())].0;
            Reply::TakeBut(vec![id], format!("{{\"failed\":[{{\"id\":\"{id}\"}}]}}"))
        }
        _ => Reply::Take(200),
    }
}

#[tokio::test]
async fn keys_stay_in_order_through_every_failure() {
    for (seed, texts) in [
        (1, &[("concurrency", "5")][..]),
        (2, &[]),
        (3, &[("mode", "batch"), ("max_batch_events", "3")]),
        (4, &[("mode", "batch"), ("concurrency", "2")]),
    ] {
        let receiver = Receiver::new().await;
        // In event mode any 2xx settles, whatever its body says, so there the receiver must not refuse in this way.
        let batched = texts.iter().any(|(_, value)| *value == "batch");
        let mut reply = bad_day(seed);
        receiver.script(move |received| match reply(received) {
            Reply::TakeBut(..) if !batched => Reply::Take(200),
            reply => reply,
        });
        let sink = sink(&receiver, texts).await;
        let batch = events(200, KEYS);
        let parked = settle(&*sink, &batch, 2_000).await;
        assert!(parked.is_empty());
        receiver.check_order();
        let taken = receiver.taken();
        for event in &batch {
            assert!(taken.contains(&event.id), "seed {seed}: {} is lost", event.id);
        }
    }
}

#[tokio::test]
async fn a_failure_stops_its_key_and_no_other() {
    let refused = Uuid::from_u128(3);
    for (status, word) in [(503, "retry"), (422, "park")] {
        let receiver = Receiver::scripted(move |received| {
            if received.events[0].0 == refused {
                Reply::Refuse(status, Vec::new(), String::new())
            } else {
                Reply::Take(200)
            }
        })
        .await;
        let sink = sink(&receiver, &[]).await;
        let (result, outcomes) = deliver(&*sink, &events(8, &["a", "b"])).await;
        result.unwrap();
        // Odd numbers are of key a.
        let expected = [
            "delivered",
            "delivered",
            word,
            "delivered",
            "unknown",
            "delivered",
            "unknown",
            "delivered",
        ];
        assert_eq!(words(&outcomes), expected);
        assert_eq!(receiver.seen().len(), 6);
    }
}

#[tokio::test]
async fn a_slow_key_holds_back_no_other_and_requests_have_a_limit() {
    let receiver = Receiver::scripted(|received| match received.header("onewrite-key") {
        Some("slow") => Reply::Gate,
        _ => Reply::Take(200),
    })
    .await;
    let sink: Arc<dyn onewrite_core::Sink> = sink(&receiver, &[("concurrency", "3")]).await.into();
    let run = |batch: Vec<Event>| {
        let sink = Arc::clone(&sink);
        tokio::spawn(async move { deliver(&*sink, &batch).await })
    };
    let mut first = vec![event(1, Some("slow")), event(2, Some("slow"))];
    first.extend((3..60).map(|number| event(number, None)));
    let second: Vec<_> = (60..120).map(|number| event(number, None)).collect();
    let (first, second) = (run(first), run(second));
    receiver.wait_taken(117).await;
    receiver.open_gate();
    for outcomes in [first.await.unwrap().1, second.await.unwrap().1] {
        assert!(words(&outcomes).iter().all(|word| *word == "delivered"));
    }
    assert_eq!(receiver.taken().len(), 119);
    assert!(receiver.most_under_way() <= 3, "{}", receiver.most_under_way());
}

#[tokio::test]
async fn the_limit_of_requests_is_that_of_all_deliveries_together() {
    let receiver = Receiver::scripted(|received| match received.header("onewrite-key") {
        Some("other") => Reply::Take(200),
        _ => Reply::Gate,
    })
    .await;
    let limited: Arc<dyn onewrite_core::Sink> = sink(&receiver, &[("concurrency", "2")]).await.into();
    let deliveries: Vec<_> = (0..3)
        .map(|first| {
            let limited = Arc::clone(&limited);
            let batch: Vec<_> = (1..=4).map(|number| event(first * 4 + number, None)).collect();
            tokio::spawn(async move { deliver(&*limited, &batch).await })
        })
        .collect();
    receiver.wait_seen(2).await;
    // Requests that come and go by another sink give one too many the time to show up.
    let other = sink(&receiver, &[]).await;
    deliver(&*other, &events(20, &["other"])).await.0.unwrap();
    assert_eq!(receiver.most_under_way(), 3);
    receiver.open_gate();
    for delivery in deliveries {
        assert_eq!(words(&delivery.await.unwrap().1), ["delivered"; 4]);
    }
    assert!(receiver.most_under_way() <= 3, "{}", receiver.most_under_way());
}

#[tokio::test]
async fn outcomes_are_noted_as_they_come_and_a_cancelled_delivery_can_be_repeated() {
    let receiver = Receiver::scripted(|received| match received.events[0].0.as_u128() {
        5 => Reply::Hang,
        _ => Reply::Take(200),
    })
    .await;
    let sink = sink(&receiver, &[]).await;
    let batch = events(12, &["a", "b", "c"]);
    let mut report = DeliveryReport::new(batch.len());
    tokio::select! {
        _ = sink.deliver(&batch, &mut report) => panic!("the delivery ended"),
        // Keys a and c are through, and b stands at its second event.
        () = async { receiver.wait_taken(9).await; receiver.wait_seen(10).await } => {}
    }
    let outcomes = report.into_outcomes();
    // The second event of b could be on its way only because the first was noted.
    assert_eq!(crate::support::word(&outcomes[1]), "delivered");
    for (event, word) in batch.iter().zip(words(&outcomes)) {
        assert!(word == "delivered" || word == "unknown");
        assert!(word == "unknown" || receiver.taken().contains(&event.id));
    }
    receiver.script(|_| Reply::Take(200));
    let left: Vec<_> = batch
        .into_iter()
        .zip(&outcomes)
        .filter(|(_, outcome)| crate::support::word(outcome) == "unknown")
        .map(|(event, _)| event)
        .collect();
    assert!(settle(&*sink, &left, 3).await.is_empty());
    receiver.check_first_takings();
    for number in 1..=12 {
        assert!(receiver.taken().contains(&Uuid::from_u128(number)));
    }
}

#[tokio::test]
async fn closing_waits_for_what_is_under_way_and_may_be_repeated() {
    let receiver = Receiver::scripted(|_| Reply::Gate).await;
    let sink: Arc<dyn onewrite_core::Sink> = sink(&receiver, &[]).await.into();
    let delivering = {
        let sink = Arc::clone(&sink);
        tokio::spawn(async move { deliver(&*sink, &[event(1, None)]).await })
    };
    receiver.wait_seen(1).await;
    let mut closing = sink.close();
    assert!(closing.as_mut().now_or_never().is_none());
    receiver.open_gate();
    closing.await.unwrap();
    assert_eq!(words(&delivering.await.unwrap().1), ["delivered"]);
    sink.close().await.unwrap();
    let (result, outcomes) = deliver(&*sink, &[event(2, None)]).await;
    assert_eq!(result.unwrap_err().action, Action::Reconnect);
    assert_eq!(words(&outcomes), ["unknown"]);
    assert_eq!(receiver.taken().len(), 1);
}

#[tokio::test]
async fn an_empty_batch_is_nothing() {
    let receiver = Receiver::new().await;
    let sink = sink(&receiver, &[]).await;
    deliver(&*sink, &[]).await.0.unwrap();
    assert!(receiver.seen().is_empty());
}
