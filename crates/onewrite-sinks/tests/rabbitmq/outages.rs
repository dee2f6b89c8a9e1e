//! A broker that dies, blocks, or cannot be heard.

use std::collections::HashSet;
use std::time::Duration;

use onewrite_core::sink::FindingLevel;
use onewrite_core::{Action, Event};
use onewrite_testkit::faults::{FaultProxy, ProxyMode};
use onewrite_testkit::servers::RabbitMq;

use super::{connector, events_for, ids, name, settle};
use crate::support::{deliver, word};

async fn killed_again_and_again(kind: &str) {
    let rabbit = RabbitMq::start(&[]).await;
    rabbit.create_queue("q", kind).await;
    let connector = connector(&rabbit.url(), &[]);
    let batch = events_for("q", 1, 6_000, 300);
    let mut delivered = Vec::new();
    for (round, part) in batch.chunks(2_000).enumerate() {
        let settling = settle(&*connector, part);
        let killing = async {
            // Somewhere in its midst, a little later each time.
            tokio::time::sleep(Duration::from_millis(60 + 90 * round as u64)).await; // slow on purpose
            rabbit.kill9().await;
            rabbit.restart().await;
        };
        let (settled, ()) = tokio::join!(settling, killing);
        assert!(settled.parked.is_empty(), "{:?}", settled.parked);
        delivered.extend(settled.delivered);
    }
    let there = ids(&rabbit, "q").await;
    holds_all_in_order(&batch, &there);
    let again = ids(&rabbit, "q").await;
    assert_eq!(there, again, "reading takes nothing and changes nothing");
    assert_eq!(delivered.len(), batch.len());
}

/// Every event is there, and first arrivals are in order for each key.
fn holds_all_in_order(batch: &[Event], there: &[uuid::Uuid]) {
    let mut seen = HashSet::new();
    let first: Vec<u128> = there
        .iter()
        .filter(|id| seen.insert(**id))
        .map(|id| id.as_u128())
        .collect();
    assert_eq!(first.len(), batch.len(), "every event is there");
    for key in 0..300 {
        let of_key: Vec<u128> = first.iter().copied().filter(|number| number % 300 == key).collect();
        assert!(of_key.is_sorted(), "key {key}: {of_key:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_in_mid_batch_loses_nothing_of_a_quorum_queue() {
    killed_again_and_again("quorum").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_in_mid_batch_loses_nothing_of_a_durable_classic_queue() {
    killed_again_and_again("classic").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_short_of_memory_holds_events_back_and_parks_none() {
    let rabbit = RabbitMq::start(&[]).await;
    rabbit.create_queue("q", "quorum").await;
    let connector = connector(&rabbit.url(), &[]);
    let sink = connector.connect().await.unwrap();
    let batch = events_for("q", 1, 3_000, 100);
    assert!(deliver(&*sink, &batch[..100]).await.0.is_ok());
    rabbit.memory_alarm(true).await;
    // The first to publish is told.
    for part in [&batch[100..1_000], &batch[1_000..1_100]] {
        let (result, outcomes) = deliver(&*sink, part).await;
        let error = result.unwrap_err();
        assert!(matches!(error.action, Action::Retry { .. }), "{error}");
        assert!(
            error.context.contains("blocks publishers") && error.context.contains("memory"),
            "{error}"
        );
        assert!(
            outcomes.iter().all(|outcome| word(outcome) == "unknown"),
            "{outcomes:?}"
        );
    }
    let findings = connector.probe(&["q".to_owned()]).await;
    let broken = findings
        .iter()
        .find(|finding| finding.level == FindingLevel::Broken)
        .unwrap();
    assert!(broken.message.contains("blocks all publishers"), "{findings:?}");

    let lifting = async {
        rabbit.memory_alarm(false).await;
    };
    let (settled, ()) = tokio::join!(settle(&*connector, &batch[100..]), lifting);
    assert!(settled.parked.is_empty(), "{:?}", settled.parked);
    let there: HashSet<_> = ids(&rabbit, "q").await.into_iter().collect();
    assert_eq!(there.len(), batch.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_dies_while_it_blocks_is_left() {
    let rabbit = RabbitMq::start(&[]).await;
    rabbit.create_queue("q", "quorum").await;
    let sink = connector(&rabbit.url(), &[]).connect().await.unwrap();
    let batch = events_for("q", 1, 200, 100);
    assert!(deliver(&*sink, &batch[..100]).await.0.is_ok());
    rabbit.memory_alarm(true).await;
    let error = deliver(&*sink, &batch[100..]).await.0.unwrap_err();
    assert!(matches!(error.action, Action::Retry { .. }), "{error}");
    rabbit.kill9().await;
    let error = deliver(&*sink, &batch[100..]).await.0.unwrap_err();
    assert_eq!(error.action, Action::Reconnect, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_in_either_direction_at_any_byte_makes_nothing_delivered_that_is_not_there() {
    let rabbit = RabbitMq::shared().await;
    let queue = name("cut");
    rabbit.create_queue(&queue, "quorum").await;
    let proxy = FaultProxy::start(([127, 0, 0, 1], rabbit.port()).into()).await.unwrap();
    let connector = connector(&format!("amqp://{}", proxy.address()), &[]);
    let mut first = 1;
    // So many bytes in each direction: requests are cut at the small figures, answers at the smallest.
    for limit in [50, 700, 5_000, 60_000, 200_000] {
        proxy.set(ProxyMode::Pass);
        let sink = connector.connect().await.unwrap();
        let batch = events_for(&queue, first, 1_000, 100);
        first += 1_000;
        proxy.set(ProxyMode::Limit(limit));
        let (result, outcomes) = deliver(&*sink, &batch).await;
        let error = result.unwrap_err();
        assert_eq!(error.action, Action::Reconnect, "{error}");
        let there: HashSet<_> = ids(&rabbit, &queue).await.into_iter().collect();
        for (event, outcome) in batch.iter().zip(&outcomes) {
            match word(outcome) {
                "delivered" => assert!(there.contains(&event.id), "{} is there", event.id),
                word => assert_eq!(word, "unknown"),
            }
        }
        proxy.set(ProxyMode::Pass);
        assert!(settle(&*connector, &batch).await.parked.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_gives_no_sign_of_life_is_left() {
    let rabbit = RabbitMq::shared().await;
    let queue = name("silent");
    rabbit.create_queue(&queue, "classic").await;
    let proxy = FaultProxy::start(([127, 0, 0, 1], rabbit.port()).into()).await.unwrap();
    let connector = connector(&format!("amqp://{}", proxy.address()), &[("heartbeat", "1s")]);
    let sink = connector.connect().await.unwrap();
    let batch = events_for(&queue, 1, 20, 5);
    assert!(deliver(&*sink, &batch[..5]).await.0.is_ok());
    proxy.set(ProxyMode::HalfOpen);
    let (result, outcomes) = deliver(&*sink, &batch[5..]).await;
    let error = result.unwrap_err();
    assert_eq!(error.action, Action::Reconnect);
    let words = onewrite_core::error::chain(&error);
    assert!(words.contains("no sign of life for 2s"), "{words}");
    assert!(
        outcomes.iter().all(|outcome| word(outcome) == "unknown"),
        "{outcomes:?}"
    );
    proxy.set(ProxyMode::Pass);
    assert!(settle(&*connector, &batch[5..]).await.parked.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_a_person_closes_is_made_anew() {
    let rabbit = RabbitMq::shared().await;
    let (user, queue) = (name("user"), name("closed"));
    rabbit.create_queue(&queue, "quorum").await;
    rabbit.control(&["add_user", &user, "secret"]).await;
    rabbit.control(&["set_permissions", &user, "", ".*", ""]).await;
    let connector = connector(&rabbit.url(), &[("user", &user), ("password", "secret")]);
    let sink = connector.connect().await.unwrap();
    let batch = events_for(&queue, 1, 20, 4);
    assert!(deliver(&*sink, &batch[..10]).await.0.is_ok());
    rabbit
        .control(&["close_all_user_connections", &user, "for a test"])
        .await;
    // The broker says so a moment later.
    let again = async || deliver(&*sink, &batch[10..]).await.0.err();
    let error = onewrite_testkit::wait::until("the connection is closed", again).await;
    assert_eq!(error.action, Action::Reconnect);
    let words = onewrite_core::error::chain(&error);
    assert!(
        words.contains("320 CONNECTION_FORCED") && words.contains("for a test"),
        "{words}"
    );
    assert!(settle(&*connector, &batch[10..]).await.parked.is_empty());
    let there: HashSet<_> = ids(&rabbit, &queue).await.into_iter().collect();
    assert_eq!(there.len(), batch.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_kept_alive() {
    let rabbit = RabbitMq::shared().await;
    let queue = name("idle");
    rabbit.create_queue(&queue, "classic").await;
    let connector = connector(&rabbit.url(), &[("heartbeat", "1s")]);
    let sink = connector.connect().await.unwrap();
    let batch = events_for(&queue, 1, 2, 1);
    assert!(deliver(&*sink, &batch[..1]).await.0.is_ok());
    // Longer than the broker waits for a heartbeat.
    tokio::time::sleep(Duration::from_secs(4)).await; // slow on purpose
    assert!(deliver(&*sink, &batch[1..]).await.0.is_ok());
    sink.close().await.unwrap();
    let after = deliver(&*sink, &batch).await;
    assert_eq!(
        after.0.unwrap_err().action,
        Action::Reconnect,
        "a closed sink takes nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_addresses_are_tried_in_turn() {
    let rabbit = RabbitMq::shared().await;
    let proxy = FaultProxy::start(([127, 0, 0, 1], rabbit.port()).into()).await.unwrap();
    proxy.set(ProxyMode::Reset);
    let queue = name("turn");
    rabbit.create_queue(&queue, "classic").await;
    let urls = format!("amqp://{},{}", proxy.address(), rabbit.url());
    let connector = connector(&urls, &[]);
    for number in 1..=3 {
        let sink = connector.connect().await.unwrap();
        assert!(deliver(&*sink, &events_for(&queue, number, 1, 1)).await.0.is_ok());
    }
    assert_eq!(ids(&rabbit, &queue).await.len(), 3);
}
