//! Messages that go into no queue: the broker acknowledges them all the same.

use onewrite_core::Event;
use onewrite_testkit::servers::{RabbitMq, Table};

use super::{connector, events_for, ids, name, settle, to};
use crate::support::{deliver, word, words};

/// Most of them for `queue`, and every 29th for a queue that is not there, each with a key of its own.
fn mixed(queue: &str, nowhere: &str, count: u128) -> Vec<Event> {
    (1..=count)
        .map(|number| match number % 29 {
            7 => to(nowhere, number, Some(&format!("key-{number}"))),
            _ => to(queue, number, Some(&format!("key-{number}"))),
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn among_thousands_exactly_the_unroutable_are_parked_however_the_rest_is_acknowledged() {
    let rabbit = RabbitMq::shared().await;
    for kind in ["classic", "quorum"] {
        let (queue, nowhere) = (name("returns"), name("nowhere"));
        rabbit.create_queue(&queue, kind).await;
        let sink = connector(&rabbit.url(), &[]).connect().await.unwrap();
        let batch = mixed(&queue, &nowhere, 3_000);
        let (result, outcomes) = deliver(&*sink, &batch).await;
        assert!(result.is_ok(), "{result:?}");
        for (event, outcome) in batch.iter().zip(&outcomes) {
            let expected = if *event.topic == *nowhere { "park" } else { "delivered" };
            assert_eq!(word(outcome), expected, "{} {outcome:?}", event.id);
        }
        let routable = batch.iter().filter(|event| *event.topic == *queue).count();
        assert_eq!(ids(&rabbit, &queue).await.len(), routable);
        sink.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_returned_message_is_known_where_a_format_lays_down_all_headers() {
    let rabbit = RabbitMq::shared().await;
    let (queue, nowhere) = (name("bare"), name("nowhere"));
    rabbit.create_queue(&queue, "classic").await;
    let sink = connector(&rabbit.url(), &[]).connect().await.unwrap();
    let mut batch = mixed(&queue, &nowhere, 600);
    for event in &mut batch {
        event.headers_complete = true;
    }
    let (result, outcomes) = deliver(&*sink, &batch).await;
    assert!(result.is_ok(), "{result:?}");
    for (event, outcome) in batch.iter().zip(&outcomes) {
        let expected = if *event.topic == *nowhere { "park" } else { "delivered" };
        assert_eq!(word(outcome), expected, "{} {outcome:?}", event.id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_deleted_in_mid_run_makes_its_events_poison_in_the_brokers_words() {
    let rabbit = RabbitMq::shared().await;
    let queue = name("deleted");
    rabbit.create_queue(&queue, "quorum").await;
    let sink = connector(&rabbit.url(), &[]).connect().await.unwrap();
    let batch = events_for(&queue, 1, 40, 4);
    assert!(deliver(&*sink, &batch[..20]).await.0.is_ok());
    rabbit.delete_queue(&queue).await;
    let (result, outcomes) = deliver(&*sink, &batch[20..24]).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(words(&outcomes), ["park"; 4]);
    assert!(format!("{outcomes:?}").contains("312 NO_ROUTE"), "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_can_wait_for_a_queue_that_is_made_later() {
    let rabbit = RabbitMq::shared().await;
    let queue = name("later");
    let connector = connector(&rabbit.url(), &[("on_unroutable", "retry")]);
    let sink = connector.connect().await.unwrap();
    let batch = events_for(&queue, 1, 6, 2);
    let (_, outcomes) = deliver(&*sink, &batch).await;
    assert_eq!(
        words(&outcomes),
        ["retry", "retry", "unknown", "unknown", "unknown", "unknown"]
    );
    rabbit.create_queue(&queue, "quorum").await;
    let settled = settle(&*connector, &batch).await;
    assert!(settled.parked.is_empty(), "{settled:?}");
    assert_eq!(ids(&rabbit, &queue).await.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_that_refuses_holds_events_back_and_parks_none() {
    let rabbit = RabbitMq::shared().await;
    let queue = name("full");
    let limits = Table::new()
        .number("x-max-length", 5)
        .text("x-overflow", "reject-publish");
    rabbit.create_queue_with(&queue, "classic", limits.clone()).await;
    let connector = connector(&rabbit.url(), &[]);
    let sink = connector.connect().await.unwrap();
    let batch = events_for(&queue, 1, 200, 100);
    let (result, outcomes) = deliver(&*sink, &batch).await;
    assert!(result.is_err(), "too many refusals end a delivery");
    let delivered: Vec<_> = batch
        .iter()
        .zip(&outcomes)
        .filter(|(_, outcome)| word(outcome) == "delivered")
        .collect();
    assert!(!delivered.is_empty());
    assert!(outcomes.iter().all(|outcome| word(outcome) != "park"), "{outcomes:?}");
    let there = ids(&rabbit, &queue).await;
    assert!(
        delivered.iter().all(|(event, _)| there.contains(&event.id)),
        "what is called delivered is there"
    );

    rabbit.delete_queue(&queue).await;
    rabbit.create_queue(&queue, "classic").await;
    let left: Vec<_> = batch
        .iter()
        .filter(|event| !there.contains(&event.id))
        .cloned()
        .collect();
    let settled = settle(&*connector, &left).await;
    assert!(settled.parked.is_empty(), "{settled:?}");
    assert_eq!(ids(&rabbit, &queue).await.len(), left.len());
}
