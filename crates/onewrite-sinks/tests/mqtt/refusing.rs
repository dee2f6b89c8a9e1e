//! Brokers that take nothing, for a while or for ever.

use std::collections::HashSet;

use onewrite_core::{Action, Event, Outcome};
use onewrite_testkit::faults::{FaultProxy, ProxyMode};
use onewrite_testkit::servers::Mosquitto;

use super::{connected, connector, event_for, numbers, refused, settle_anew};
use crate::support::{deliver, settle, words};

fn events(topic: &str, count: u128) -> Vec<Event> {
    (1..=count)
        .map(|number| event_for(topic, number, Some(["c", "a", "b"][number as usize % 3])))
        .collect()
}

#[tokio::test]
async fn what_nobody_subscribes_to_is_tried_again_until_somebody_does() {
    let broker = Mosquitto::shared().await;
    let sink = connected(&broker.url(), &[]).await;
    let batch = events("nobody", 3);
    let (result, outcomes) = deliver(&*sink, &batch).await;
    result.unwrap();
    assert_eq!(words(&outcomes), ["retry"; 3]);
    let Outcome::Failed(error) = &outcomes[0] else {
        panic!("it failed")
    };
    assert!(error.to_string().contains("nobody subscribes to \"nobody\""), "{error}");
    broker.subscribe("nobody").await;
    assert!(settle(&*sink, &batch, 1).await.is_empty());
    assert_eq!(numbers(&broker, "nobody").await, [1, 2, 3]);
    // It goes away in mid-run.
    broker.unsubscribe("nobody").await;
    assert_eq!(words(&deliver(&*sink, &events("nobody", 1)).await.1), ["retry"]);
}

#[tokio::test]
async fn what_nobody_need_have_is_delivered_to_nobody() {
    let broker = Mosquitto::shared().await;
    let sink = connected(&broker.url(), &[("require_subscribers", "false")]).await;
    let batch = events("nobody-at-all", 3);
    assert_eq!(words(&deliver(&*sink, &batch).await.1), ["delivered"; 3]);
}

#[tokio::test]
async fn a_payload_over_a_limit_that_the_broker_does_not_tell_is_parked_alone() {
    let broker = Mosquitto::start(&[("message_size_limit", "2000")], &[]).await;
    broker.subscribe("limited").await;
    let mut batch = events("limited", 9);
    batch[4].payload = vec![b'x'; 2_001].into();
    let connector = connector(&broker.url(), &[]);
    assert_eq!(settle_anew(&*connector, batch).await, [5]);
    let arrived: HashSet<_> = numbers(&broker, "limited").await.into_iter().collect();
    assert_eq!(arrived, HashSet::from([1, 2, 3, 4, 6, 7, 8, 9]));
}

#[tokio::test]
async fn a_frozen_broker_makes_everything_unknown() {
    let broker = Mosquitto::start(&[], &[]).await;
    broker.subscribe("frozen").await;
    let sink = connected(&broker.url(), &[("timeout", "200ms")]).await;
    broker.stop();
    let (result, outcomes) = deliver(&*sink, &events("frozen", 6)).await;
    broker.continue_();
    let error = result.unwrap_err();
    assert_eq!(error.action, Action::Reconnect);
    assert!(
        error.to_string().contains("did not acknowledge within 200ms"),
        "{error}"
    );
    assert_eq!(words(&outcomes), ["unknown"; 6]);
}

#[tokio::test]
async fn a_connection_cut_in_either_direction_loses_nothing() {
    let broker = Mosquitto::shared().await;
    for qos in ["1", "2"] {
        let topic = format!("cut/{qos}");
        broker.subscribe(&topic).await;
        let proxy = FaultProxy::start(([127, 0, 0, 1], broker.port()).into()).await.unwrap();
        let url = format!("mqtt://{}", proxy.address());
        let connector = connector(&url, &[("timeout", "500ms"), ("qos", qos)]);
        let batch = events(&topic, 60);
        let modes = [
            ProxyMode::Reset,
            ProxyMode::Limit(3),
            ProxyMode::Limit(700),
            ProxyMode::HalfOpen,
            ProxyMode::DropReplies,
        ];
        for mode in modes {
            let sink = connector.connect().await.unwrap();
            proxy.set(mode);
            let (result, _) = deliver(&*sink, &batch).await;
            assert_eq!(result.unwrap_err().action, Action::Reconnect, "{mode:?}");
            proxy.set(ProxyMode::Pass);
        }
        let sink = connected(&broker.url(), &[("timeout", "30s"), ("qos", qos)]).await;
        assert!(settle(&*sink, &batch, 1).await.is_empty());
        let mut seen = HashSet::new();
        let arrived = numbers(&broker, &topic).await;
        let first: Vec<_> = arrived.iter().filter(|number| seen.insert(**number)).collect();
        assert_eq!(first.len(), 60);
        for key in 0..3 {
            assert!(first.iter().filter(|number| **number % 3 == key).is_sorted());
        }
    }
}

#[tokio::test]
async fn a_session_that_another_takes_over_is_begun_anew() {
    let broker = Mosquitto::shared().await;
    broker.subscribe("taken-over").await;
    let connector = connector(&broker.url(), &[("client_id", "the-relay")]);
    let first = connector.connect().await.unwrap();
    let second = connector.connect().await.unwrap();
    let batch = events("taken-over", 2);
    let (result, outcomes) = deliver(&*first, &batch).await;
    assert_eq!(result.unwrap_err().action, Action::Reconnect);
    assert_eq!(words(&outcomes), ["unknown"; 2]);
    assert!(settle(&*second, &batch, 1).await.is_empty());
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_tried_again() {
    let broker = Mosquitto::start(&[], &[]).await;
    broker.subscribe("back-again").await;
    broker.save().await;
    broker.kill9().await;
    let error = refused(&*connector(&broker.url(), &[])).await;
    assert_eq!(error.action, Action::Reconnect);
    broker.restart().await;
    let urls = format!("mqtt://127.0.0.1:1,{}", broker.url());
    let sink = connected(&urls, &[]).await;
    assert!(settle(&*sink, &events("back-again", 1), 1).await.is_empty());
    assert_eq!(numbers(&broker, "back-again").await, [1]);
}
