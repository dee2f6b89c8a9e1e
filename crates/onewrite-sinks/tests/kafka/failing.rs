//! Brokers that answer late, wrongly or not at all.

use std::time::{Duration, Instant};

use krafka::error::ErrorCode;
use krafka::testing::{ApiKey, Control, FakeBroker};
use onewrite_core::{Action, DeliveryReport, Event};

use super::driver::check;
use super::{fake, id, log, sink, to};
use crate::support::{deliver, event, events, word, words};

/// How long a fact may take to come true.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until the broker has seen so many requests to produce.
async fn produced(broker: &FakeBroker, count: usize) {
    let seen = broker.wait_for_requests(ApiKey::Produce, count, PATIENCE).await;
    assert!(seen, "no {count} requests in {PATIENCE:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_acknowledgements_lose_and_repeat_nothing() {
    let broker = fake("shop.orders", 4).await;
    let sink = sink(&broker, &[]).await;
    broker.on(ApiKey::Produce, |info| {
        if info.api_call_index % 5 == 4 {
            Control::ApplyThen(Box::new(Control::Disconnect))
        } else {
            Control::Pass
        }
    });
    let batch = events(4_000, &["a", "b", "c", "d", "e", "f", "g"]);
    for part in batch.chunks(500) {
        let (result, outcomes) = deliver(&*sink, part).await;
        assert!(result.is_ok(), "{result:?}");
        assert!(outcomes.iter().all(|outcome| word(outcome) == "delivered"));
    }
    let log = log(&broker, "shop.orders");
    assert_eq!(check(&batch, &log, &[]), 0, "the producer is idempotent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_cannot_now_is_asked_again_in_order() {
    let broker = fake("shop.orders", 1).await;
    let sink = sink(&broker, &[]).await;
    for code in [
        ErrorCode::NotEnoughReplicas,
        ErrorCode::NotLeaderForPartition,
        ErrorCode::RequestTimedOut,
        ErrorCode::NotEnoughReplicasAfterAppend,
    ] {
        broker.on_once(ApiKey::Produce, move |_| Control::Error(code));
    }
    let batch = events(500, &["a", "b"]);
    let (result, outcomes) = deliver(&*sink, &batch).await;
    assert!(result.is_ok(), "{result:?}");
    assert!(outcomes.iter().all(|outcome| word(outcome) == "delivered"));
    check(&batch, &log(&broker, "shop.orders"), &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_follows_the_first_record_of_a_partition_until_it_is_acknowledged() {
    let broker = fake("shop.orders", 1).await;
    let sink = sink(&broker, &[]).await;
    // This broker, as Kafka does, takes any sequence number of a producer that it does not know yet: what came behind a
    // refused first request would be taken.
    broker.on_once(ApiKey::Produce, |_| {
        Control::DelayThen(
            Duration::from_millis(300),
            Box::new(Control::Error(ErrorCode::UnknownServerError)),
        )
    });
    let (result, outcomes) = deliver(&*sink, &events(500, &["a", "b"])).await;
    assert_eq!(result.unwrap_err().action, Action::Reconnect);
    assert!(words(&outcomes).iter().all(|word| *word == "unknown"));
    sink.close().await.unwrap();
    assert_eq!(broker.request_count(ApiKey::Produce), 1);
    assert!(log(&broker, "shop.orders").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_ends_every_delivery_of_the_sink() {
    let broker = fake("shop.orders", 2).await;
    let sink = sink(&broker, &[]).await;
    assert!(deliver(&*sink, &events(20, &["a", "b", "c", "d"])).await.0.is_ok());
    broker.on_once(ApiKey::Produce, |_| Control::Error(ErrorCode::UnknownServerError));
    broker.on(ApiKey::Produce, |_| Control::Delay(Duration::from_secs(20)));
    let (first, second) = (events(10, &["a", "b", "c", "d"]), events(10, &["e", "f", "g", "h"]));
    let (first, second) = tokio::join!(deliver(&*sink, &first), deliver(&*sink, &second));
    for (result, _) in [first, second] {
        assert_eq!(result.unwrap_err().action, Action::Reconnect);
    }
    let (result, _) = deliver(&*sink, &[event(99, Some("z"))]).await;
    assert_eq!(result.unwrap_err().action, Action::Reconnect);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_of_a_delivery_that_is_given_up_is_reported() {
    let broker = FakeBroker::start_cluster(2).await.unwrap();
    broker.create_topic("shop.orders", 1);
    broker.create_topic("shop.slow", 1);
    broker.set_leader("shop.orders", 0, 0);
    broker.set_leader("shop.slow", 0, 1);
    let sink = sink(&broker, &[]).await;
    broker.on(ApiKey::Produce, |info| {
        if info.node_id == 1 {
            Control::Silence
        } else {
            Control::Pass
        }
    });
    let batch = [
        event(1, Some("a")),
        to("shop.slow", event(2, Some("b"))),
        event(3, Some("a")),
    ];
    let mut report = DeliveryReport::new(3);
    let witness = async {
        produced(&broker, 2).await;
        // Behind the others in the same partition: once it is acknowledged, so are they.
        let deadline = Instant::now() + PATIENCE;
        while !log(&broker, "shop.orders").contains(&batch[2].id) {
            assert!(
                Instant::now() < deadline,
                "the third event has not arrived in {PATIENCE:?}"
            );
            tokio::task::yield_now().await;
        }
        assert!(deliver(&*sink, &[event(4, Some("a"))]).await.0.is_ok());
    };
    tokio::select! {
        _ = sink.deliver(&batch, &mut report) => panic!("the slow topic answered"),
        () = witness => {}
    }
    assert_eq!(words(&report.into_outcomes()), ["delivered", "unknown", "delivered"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_given_up_is_overtaken_by_none_on_this_sink_or_another() {
    let broker = fake("shop.orders", 1).await;
    let first = sink(&broker, &[]).await;
    let batch = events(200, &["a", "b"]);
    assert!(deliver(&*first, &batch[..10]).await.0.is_ok());
    broker.on_once(ApiKey::Produce, |_| {
        Control::DelayThen(
            Duration::from_millis(500),
            Box::new(Control::Error(ErrorCode::NotEnoughReplicas)),
        )
    });
    let mut report = DeliveryReport::new(190);
    tokio::select! {
        _ = first.deliver(&batch[10..], &mut report) => panic!("it was not given up"),
        () = produced(&broker, 3) => {}
    }
    assert!(deliver(&*first, &batch[10..100]).await.0.is_ok());
    drop(first);
    let second = sink(&broker, &[]).await;
    assert!(deliver(&*second, &batch[100..]).await.0.is_ok());
    check(&batch, &log(&broker, "shop.orders"), &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_its_way_is_sent_whole_when_the_events_of_a_given_up_delivery_are_gone() {
    let broker = fake("shop.orders", 1).await;
    let sink = sink(&broker, &[]).await;
    assert!(deliver(&*sink, &[event(1, Some("a"))]).await.0.is_ok());
    // Asked again, the client reads the payloads once more.
    broker.on_once(ApiKey::Produce, |_| {
        Control::DelayThen(
            Duration::from_millis(200),
            Box::new(Control::Error(ErrorCode::NotEnoughReplicas)),
        )
    });
    let payload = |number: u128| format!("{number:04}").repeat(1_000);
    let large = |number| Event {
        payload: payload(number).into(),
        ..event(number, Some("a"))
    };
    let batch: Vec<Event> = (2..=100).map(large).collect();
    let mut report = DeliveryReport::new(batch.len());
    tokio::select! {
        _ = sink.deliver(&batch, &mut report) => panic!("it was not given up"),
        () = produced(&broker, 2) => {}
    }
    drop(batch);
    let _in_their_place: Vec<String> = (0..200).map(|_| "gone".repeat(1_000)).collect();
    assert!(deliver(&*sink, &[event(101, Some("a"))]).await.0.is_ok());
    for record in &broker.all_records("shop.orders").unwrap()[1..100] {
        let value = record.value.as_deref().unwrap();
        assert!(value == payload(id(record).as_u128()).as_bytes(), "{:?}", &value[..8]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_dies_in_mid_batch_and_returns_loses_and_reorders_nothing() {
    let broker = fake("shop.orders", 2).await;
    let sink = sink(&broker, &[]).await;
    let batch = events(3_000, &["a", "b", "c", "d", "e"]);
    broker.on(ApiKey::Produce, |_| Control::Delay(Duration::from_millis(20)));
    let crash = async {
        produced(&broker, 4).await;
        broker.crash(0);
        broker.clear_hooks();
        broker.restart(0);
    };
    let ((result, outcomes), ()) = tokio::join!(deliver(&*sink, &batch), crash);
    assert!(result.is_ok(), "{result:?}");
    assert!(outcomes.iter().all(|outcome| word(outcome) == "delivered"));
    assert_eq!(check(&batch, &log(&broker, "shop.orders"), &[]), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stays_away_ends_the_delivery_with_the_clients_words() {
    let broker = fake("shop.orders", 1).await;
    let sink = sink(&broker, &[]).await;
    assert!(deliver(&*sink, &[event(1, Some("a"))]).await.0.is_ok());
    broker.crash(0);
    let (result, outcomes) = deliver(&*sink, &[event(2, Some("a"))]).await;
    let error = result.unwrap_err();
    assert_eq!(error.action, Action::Reconnect);
    assert!(error.to_string().contains("nothing was acknowledged for"), "{error}");
    assert_eq!(words(&outcomes), ["unknown"]);
    sink.close().await.unwrap();
}
