//! Replicas and disks that are waited for.

use onewrite_core::Action;
use onewrite_testkit::servers::{Redis, Reply};
use onewrite_testkit::wait;

use super::{connector, done, holds_in_order, numbers, refused};
use crate::support::{deliver, events, words};

/// A master and its replica, which has all there is.
async fn pair() -> (Redis, Redis) {
    let (master, replica) = (Redis::start(&[]).await, Redis::start(&[]).await);
    let port = master.port().to_string();
    done(&replica, &["REPLICAOF", "127.0.0.1", &port]).await;
    wait::until("the replica is in step", async || {
        let replicas = master.command(&["WAIT", "1", "10"]).await;
        (replicas == Reply::Integer(1)).then_some(())
    })
    .await;
    (master, replica)
}

#[tokio::test]
async fn what_is_delivered_is_on_the_replica() {
    let (master, replica) = pair().await;
    let sink = connector(&master.url(), &[("wait_replicas", "1"), ("wait_timeout", "10s")])
        .connect()
        .await
        .unwrap();
    let batch = events(1_000, &["a", "b", "c"]);
    let (result, outcomes) = deliver(&*sink, &batch).await;
    result.unwrap();
    assert_eq!(words(&outcomes), vec!["delivered"; 1_000]);
    holds_in_order(&replica, "shop.orders", 1_000, 3).await;
}

#[tokio::test]
async fn what_the_replica_does_not_have_in_time_is_not_delivered_and_nothing_more_is_written() {
    let (master, replica) = pair().await;
    let connector = connector(&master.url(), &[("wait_replicas", "1"), ("wait_timeout", "100ms")]);
    // On a busy machine a replica needs longer to answer, now and then.
    let connects = async || connector.connect().await.ok();
    let sink = wait::until("the replica answers in time", connects).await;
    replica.stop();
    let batch = events(4, &["a", "b"]);
    let (result, outcomes) = deliver(&*sink, &batch).await;
    let error = result.unwrap_err();
    assert_eq!(error.action, Action::Reconnect);
    assert!(error.to_string().contains("0 of 1 replicas answered"), "{error}");
    assert_eq!(words(&outcomes), ["unknown"; 4]);
    replica.kill9().await;
    wait::until("the master knows that the replica is gone", async || {
        let info = master.command(&["INFO", "replication"]).await.text();
        info.contains("connected_slaves:0").then_some(())
    })
    .await;
    for _ in 0..3 {
        assert_eq!(refused(&*connector).await.action, Action::Reconnect);
    }
    assert_eq!(numbers(&master, "shop.orders").await.len(), 4);
}

#[tokio::test]
async fn a_disk_is_waited_for_where_the_server_can() {
    let redis = Redis::start(&[]).await;
    let connector = connector(&redis.url(), &[("wait_for_disk", "true")]);
    match redis.command(&["WAITAOF", "0", "0", "1"]).await {
        Reply::Error(words) => {
            // Before Redis 7.2.
            assert!(words.contains("unknown command"), "{words}");
            let error = refused(&*connector).await;
            assert_eq!(error.action, Action::Halt);
            assert!(error.to_string().contains("needs Redis 7.2 or later"), "{error}");
        }
        _ => {
            let sink = connector.connect().await.unwrap();
            assert_eq!(words(&deliver(&*sink, &events(3, &["a"])).await.1), ["delivered"; 3]);
        }
    }
}
