//! Servers that take nothing, for a while or for ever.

use onewrite_core::Action;
use onewrite_core::error::chain;
use onewrite_testkit::faults::{FaultProxy, ProxyMode};
use onewrite_testkit::servers::Redis;

use super::{connected, connector, done, event_for, holds_in_order, numbers, refused};
use crate::support::{deliver, events, settle, word, words};

#[tokio::test]
async fn a_full_memory_is_waited_for() {
    let redis = Redis::start(&[]).await;
    let sink = connected(&redis.url(), &[]).await;
    done(&redis, &["CONFIG", "SET", "maxmemory", "1"]).await;
    let batch = events(40, &["a", "b", "c", "d"]);
    let (result, outcomes) = deliver(&*sink, &batch).await;
    result.unwrap();
    assert_eq!(words(&outcomes[..4]), ["retry"; 4]);
    assert_eq!(words(&outcomes[4..]), ["unknown"; 36]);
    let onewrite_core::Outcome::Failed(error) = &outcomes[0] else {
        panic!("it failed")
    };
    assert!(error.to_string().contains("OOM command not allowed"), "{error}");
    assert!(error.to_string().contains("raise maxmemory"), "{error}");
    assert_eq!(numbers(&redis, "shop.orders").await, []);

    done(&redis, &["CONFIG", "SET", "maxmemory", "0"]).await;
    assert!(settle(&*sink, &batch, 1).await.is_empty());
    assert_eq!(numbers(&redis, "shop.orders").await, (1..=40).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_memory_that_fills_and_empties_again_and_again_reorders_nothing() {
    let redis = Redis::start(&[]).await;
    let sink = connected(&redis.url(), &[]).await;
    let batch = events(2_000, &["a", "b", "c", "d", "e", "f", "g"]);
    let shaking = async {
        for limit in ["1", "0"].into_iter().cycle().take(60) {
            done(&redis, &["CONFIG", "SET", "maxmemory", limit]).await;
        }
    };
    let (parked, ()) = tokio::join!(settle(&*sink, &batch, 10_000), shaking);
    assert!(parked.is_empty());
    holds_in_order(&redis, "shop.orders", 2_000, 7).await;
}

#[tokio::test]
async fn a_server_without_its_replicas_is_waited_for() {
    let redis = Redis::start(&[]).await;
    let sink = connected(&redis.url(), &[]).await;
    done(&redis, &["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    let (_, outcomes) = deliver(&*sink, &events(3, &["a"])).await;
    assert_eq!(words(&outcomes), ["retry", "unknown", "unknown"]);
    done(&redis, &["CONFIG", "SET", "min-replicas-to-write", "0"]).await;
    assert!(settle(&*sink, &events(3, &["a"]), 1).await.is_empty());
}

#[tokio::test]
async fn a_master_that_became_a_replica_is_left_for_the_new_one() {
    let (old, new) = (Redis::start(&[]).await, Redis::start(&[]).await);
    let urls = format!("{},{}", old.url(), new.url());
    let connector = connector(&urls, &[("wait_timeout", "1s")]);
    let sink = connector.connect().await.unwrap();
    assert!(settle(&*sink, &events(2, &["a"]), 1).await.is_empty());
    let port = new.port().to_string();
    done(&old, &["REPLICAOF", "127.0.0.1", &port]).await;
    let (_, outcomes) = deliver(&*sink, &events(2, &["a"])).await;
    assert_eq!(words(&outcomes), ["reconnect", "unknown"]);
    let sink = connector.connect().await.unwrap();
    assert!(settle(&*sink, &events(2, &["a"]), 1).await.is_empty());
    assert_eq!(numbers(&new, "shop.orders").await, [1, 2]);
    let error = refused(&*super::connector(&old.url(), &[])).await;
    assert!(error.to_string().contains("is a replica"), "{error}");
    assert_eq!(error.action, Action::Reconnect);
}

#[tokio::test]
async fn a_frozen_server_makes_everything_unknown() {
    let redis = Redis::start(&[]).await;
    let connector = connector(&redis.url(), &[("timeout", "200ms")]);
    let sink = connector.connect().await.unwrap();
    redis.stop();
    let (result, outcomes) = deliver(&*sink, &events(4, &["a", "b"])).await;
    redis.continue_();
    let error = result.unwrap_err();
    assert_eq!(error.action, Action::Reconnect);
    assert!(error.to_string().contains("did not answer within 200ms"), "{error}");
    assert_eq!(words(&outcomes), ["unknown"; 4]);
}

#[tokio::test]
async fn a_connection_cut_in_either_direction_loses_nothing() {
    let redis = Redis::shared().await;
    let proxy = FaultProxy::start(([127, 0, 0, 1], redis.port()).into()).await.unwrap();
    let connector = connector(
        &format!("redis://{}", proxy.address()),
        &[("timeout", "500ms"), ("stream", "cut")],
    );
    let batch = events(600, &["a", "b", "c"]);
    // Before anything, within the transaction, within the answer, and for good.
    let modes = [
        ProxyMode::Reset,
        ProxyMode::Limit(1_000),
        ProxyMode::Limit(50_000),
        ProxyMode::HalfOpen,
        ProxyMode::DropReplies,
    ];
    for mode in modes {
        let sink = connector.connect().await.unwrap();
        proxy.set(mode);
        let (result, outcomes) = deliver(&*sink, &batch).await;
        assert_eq!(result.unwrap_err().action, Action::Reconnect, "{mode:?}");
        assert!(outcomes.iter().all(|outcome| word(outcome) == "unknown"), "{mode:?}");
        proxy.set(ProxyMode::Pass);
    }
    let sink = connected(&redis.url(), &[("timeout", "30s"), ("stream", "cut")]).await;
    assert!(settle(&*sink, &batch, 1).await.is_empty());
    holds_in_order(&redis, "cut", 600, 3).await;
}

#[tokio::test]
async fn a_payload_over_the_servers_limit_is_parked_without_asking_for_its_settings() {
    let redis = Redis::start(&[("proto-max-bulk-len", "2mb")]).await;
    done(
        &redis,
        &[
            "ACL", "SETUSER", "relay", "on", ">secret", "~*", "+xadd", "+multi", "+exec", "+ping",
        ],
    )
    .await;
    let sink = connected(&redis.url(), &[("user", "relay"), ("password", "secret")]).await;
    let sized = |number, bytes: usize| {
        let mut event = event_for("sized", number, Some("a"));
        event.payload = vec![b'x'; bytes].into();
        event
    };
    let batch = [sized(1, 2 << 20), sized(2, (2 << 20) + 1), sized(3, 1)];
    let (result, outcomes) = deliver(&*sink, &batch).await;
    result.unwrap();
    assert_eq!(words(&outcomes), ["delivered", "park", "unknown"]);
    let onewrite_core::Outcome::Failed(error) = &outcomes[1] else {
        panic!("it failed")
    };
    assert!(chain(error).contains("invalid bulk length"), "{error}");
    assert_eq!(words(&deliver(&*sink, &batch[2..]).await.1), ["delivered"]);
    assert_eq!(numbers(&redis, "sized").await, [1, 3]);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_tried_again() {
    let redis = Redis::start(&[]).await;
    redis.kill9().await;
    let error = refused(&*connector(&redis.url(), &[])).await;
    assert_eq!(error.action, Action::Reconnect);
    redis.restart().await;
    let sink = connected(&redis.url(), &[]).await;
    assert!(settle(&*sink, &events(1, &["a"]), 1).await.is_empty());
}
