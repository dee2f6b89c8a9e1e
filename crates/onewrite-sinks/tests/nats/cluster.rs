//! A stream on three servers.

use onewrite_core::SinkConnector;
use onewrite_core::error::Action;
use onewrite_testkit::servers::NatsCluster;
use onewrite_testkit::wait;
use serde_json::json;

use super::{connector, ids, to, told};
use crate::support::{deliver, events, settle, word};

/// Delivers until everything is delivered, connecting anew where the sink asks for it, as core does.
async fn deliver_all(connector: &dyn SinkConnector, batch: Vec<onewrite_core::Event>) {
    let mut left = batch;
    let mut sink = None;
    wait::until("everything is delivered", async || {
        if sink.is_none() {
            match connector.connect().await {
                Ok(connected) => sink = Some(connected),
                Err(error) => {
                    assert_ne!(error.action, Action::Halt, "{error}");
                    return None;
                }
            }
        }
        let (result, outcomes) = deliver(&**sink.as_ref()?, &left).await;
        let words: Vec<_> = outcomes.iter().map(word).collect();
        assert!(!words.contains(&"park") && !words.contains(&"halt"), "{outcomes:?}");
        let mut outcome = words.iter();
        left.retain(|_| outcome.next() != Some(&"delivered"));
        if result.is_err_and(|error| error.action == Action::Reconnect) {
            sink = None;
        }
        left.is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_killed_in_mid_delivery_loses_and_reorders_nothing() {
    let cluster = NatsCluster::start().await;
    cluster.create_stream("EVENTS", &["shop.>"]).await;
    let leader = cluster.leader("EVENTS").await;
    // The sink's own server is another, so that what it sees is a stream without a leader.
    let mut urls = cluster.urls();
    urls.rotate_left(leader + 1);
    let connector = connector(&urls.join(","), &[("ack_timeout", "2s")]);
    let keys: Vec<String> = (0..20).map(|key| format!("key-{key}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let batch: Vec<_> = events(6_000, &keys)
        .into_iter()
        .map(|event| to("shop.orders", event))
        .collect();
    let first = connector.connect().await.unwrap();
    assert!(settle(&*first, &batch[..100], 1).await.is_empty());
    first.close().await.unwrap();

    let kill = async {
        let half_way = wait::until("some of it has arrived", async || {
            let arrived = cluster.read_all("EVENTS").await.len();
            (arrived > 500).then_some(arrived)
        });
        assert!(
            half_way.await < batch.len(),
            "the leader is to be killed in mid-delivery"
        );
        cluster.kill9(leader).await;
    };
    tokio::join!(deliver_all(&*connector, batch[100..].to_vec()), kill);
    let arrived = cluster.read_all("EVENTS").await;
    cluster.restart(leader).await;

    let sent: Vec<_> = batch.iter().map(|event| event.id).collect();
    let mut found = ids(&arrived);
    for key in &keys {
        let of_key = |all: &[onewrite_testkit::conformance::sink::Arrived]| -> Vec<_> {
            all.iter()
                .filter(|event| event.key.as_deref() == Some(*key))
                .map(|event| event.id)
                .collect()
        };
        let sent: Vec<_> = batch
            .iter()
            .filter(|event| event.key.as_deref() == Some(*key))
            .map(|event| event.id)
            .collect();
        assert_eq!(
            of_key(&arrived),
            sent,
            "key {key}: in order and, inside the window of duplicates, once"
        );
    }
    found.sort_unstable();
    assert_eq!(found.len(), sent.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_is_passed_over_when_connecting() {
    let cluster = NatsCluster::start().await;
    cluster.create_stream("EVENTS", &["shop.>"]).await;
    cluster.kill9(0).await;
    let connector = connector(&cluster.urls().join(","), &[]);
    deliver_all(&*connector, events(100, &["a", "b"])).await;
    assert_eq!(cluster.read_all("EVENTS").await.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_nothing_is_delivered_and_nothing_parked() {
    let cluster = NatsCluster::start().await;
    cluster.create_stream("EVENTS", &["shop.>"]).await;
    let connector = connector(&cluster.urls().join(","), &[("ack_timeout", "1s")]);
    let leader = cluster.leader("EVENTS").await;
    let alone = connector.connect().await.unwrap();
    let batch = events(50, &["a", "b"]);
    assert!(settle(&*alone, &batch[..10], 1).await.is_empty());
    for server in (0..3).filter(|server| *server != leader) {
        cluster.kill9(server).await;
    }
    // Its own server may be the one that is left or not, and that one may still think that it leads.
    for sink in [Ok(alone), connector.connect().await] {
        let sink = match sink {
            Ok(sink) => sink,
            Err(error) => {
                assert_eq!(error.action, Action::Reconnect, "{error}");
                continue;
            }
        };
        let (_, outcomes) = deliver(&*sink, &batch[10..]).await;
        for outcome in &outcomes {
            assert!(["unknown", "retry"].contains(&word(outcome)), "{outcome:?}");
        }
    }
    for server in (0..3).filter(|server| *server != leader) {
        cluster.restart(server).await;
    }
    deliver_all(&*connector, batch[10..].to_vec()).await;
    let sent: Vec<_> = batch.iter().map(|event| event.id).collect();
    let mut found = ids(&cluster.read_all("EVENTS").await);
    found.sort_unstable();
    assert_eq!(found, sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_only_server_is_away_holds_its_events_back() {
    let cluster = NatsCluster::start().await;
    let single = json!({ "name": "SINGLE", "subjects": ["shop.>"], "num_replicas": 1 });
    cluster.api("STREAM.CREATE.SINGLE", single).await;
    let leader = cluster.leader("SINGLE").await;
    let mut urls = cluster.urls();
    urls.rotate_left(leader + 1);
    let connector = connector(&urls.join(","), &[("ack_timeout", "2s")]);
    cluster.kill9(leader).await;
    let batch = events(4, &["a"]);
    let words_of = wait::until("the stream is known to have no leader", async || {
        let sink = connector.connect().await.ok()?;
        let (_, outcomes) = deliver(&*sink, &batch).await;
        match word(&outcomes[0]) {
            "retry" => Some(told(&outcomes[0])).filter(|words| words.contains("no leader")),
            "unknown" => None,
            _ => panic!("{outcomes:?}"),
        }
    });
    assert!(words_of.await.contains("stream SINGLE takes subject shop.orders"));
    cluster.restart(leader).await;
    deliver_all(&*connector, batch.clone()).await;
    let sent: Vec<_> = batch.iter().map(|event| event.id).collect();
    assert_eq!(ids(&cluster.read_all("SINGLE").await), sent);
}
