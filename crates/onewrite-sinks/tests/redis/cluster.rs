//! A cluster, also one whose slots move.

use std::collections::HashSet;
use std::process::Command;

use onewrite_core::sink::FindingLevel;
use onewrite_core::{Action, Event};
use onewrite_testkit::servers::{RedisCluster, Reply};

use super::{connector, done, event_for, refused};
use crate::support::{deliver, settle, words};

/// Events of few keys for many streams, which are on all servers.
fn spread(count: u128) -> Vec<Event> {
    (0..count)
        .map(|number| {
            let key = format!("key-{}", number % 20);
            event_for(&format!("stream-{}", number % 20), number + 1, Some(&key))
        })
        .collect()
}

/// The first arrivals in every stream are in order, and nothing is missing.
async fn all_there(cluster: &RedisCluster, count: u128) {
    let mut total = 0;
    for stream in 0..20 {
        let arrived = cluster.read_all(&format!("stream-{stream}")).await;
        let mut seen = HashSet::new();
        let numbers = arrived.iter().map(|arrived| arrived.id.as_u128());
        let first: Vec<u128> = numbers.filter(|number| seen.insert(*number)).collect();
        assert!(first.is_sorted(), "stream-{stream}: {first:?}");
        total += first.len();
    }
    assert_eq!(total as u128, count);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_found_and_followed_while_its_slots_move() {
    let cluster = RedisCluster::start().await;
    let url = cluster.servers[1].url();
    let connector = connector(&url, &[]);
    let findings = connector.probe(&["stream-1".to_owned()]).await;
    assert!(
        findings.iter().all(|finding| finding.level == FindingLevel::Works),
        "{findings:?}"
    );
    let sink = connector.connect().await.unwrap();
    let batch = spread(2_000);
    assert!(settle(&*sink, &batch[..1_000], 1).await.is_empty());

    // Moves half of one server's slots away, one after the other, while events go on.
    let from = cluster.servers[0].command(&["CLUSTER", "MYID"]).await.text();
    let to = cluster.servers[2].command(&["CLUSTER", "MYID"]).await.text();
    let address = format!("127.0.0.1:{}", cluster.servers[0].port());
    let moving = tokio::task::spawn_blocking(move || {
        let words = [
            "--cluster",
            "reshard",
            &address,
            "--cluster-from",
            &from,
            "--cluster-to",
            &to,
        ];
        let more = ["--cluster-slots", "2500", "--cluster-yes"];
        Command::new("redis-cli").args(words).args(more).output().unwrap()
    });
    let mut rest = batch[1_000..].chunks(20).cycle();
    while !moving.is_finished() {
        let some = rest.next().unwrap();
        assert!(settle(&*sink, some, 1_000).await.is_empty());
    }
    let moved = moving.await.unwrap();
    assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stdout));
    assert!(settle(&*sink, &batch[1_000..], 10).await.is_empty());
    all_there(&cluster, 2_000).await;

    // A server that is gone holds back its own streams; the cluster then refuses the rest, and all of it passes.
    cluster.servers[1].kill9().await;
    let (_, outcomes) = deliver(&*sink, &batch).await;
    assert!(!words(&outcomes).contains(&"park") && !words(&outcomes).contains(&"halt"));
    assert_eq!(refused(&*connector).await.action, Action::Reconnect);
}

#[tokio::test]
async fn a_slot_on_its_way_is_asked_for_where_it_goes() {
    let cluster = RedisCluster::start().await;
    let sink = connector(&cluster.servers[0].url(), &[("mode", "cluster")])
        .connect()
        .await
        .unwrap();
    let stream = "on-its-way";
    let Reply::Integer(slot) = cluster.servers[0].command(&["CLUSTER", "KEYSLOT", stream]).await else {
        panic!("no slot");
    };
    let slot = slot.to_string();
    let mut owner = 0;
    for (at, server) in cluster.servers.iter().enumerate() {
        if !matches!(server.command(&["TYPE", stream]).await, Reply::Error(_)) {
            owner = at;
        }
    }
    let (from, to) = (&cluster.servers[owner], &cluster.servers[(owner + 1) % 3]);
    let (from_id, to_id) = (
        from.command(&["CLUSTER", "MYID"]).await.text(),
        to.command(&["CLUSTER", "MYID"]).await.text(),
    );
    done(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).await;
    done(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).await;
    let batch: Vec<_> = (1..=4).map(|number| event_for(stream, number, Some("a"))).collect();
    // The stream is not there yet, so the old server sends what is new to the new one: several events, then a single one.
    assert!(settle(&*sink, &batch[..3], 1).await.is_empty());
    assert!(settle(&*sink, &batch[3..], 1).await.is_empty());
    for server in [to, from] {
        done(server, &["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]).await;
    }
    let arrived = cluster.read_all(stream).await;
    let numbers: Vec<_> = arrived.iter().map(|arrived| arrived.id.as_u128()).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_mode_that_does_not_fit_is_told() {
    let cluster = RedisCluster::start().await;
    let url = cluster.servers[0].url();
    let error = refused(&*connector(&url, &[("database", "1")])).await;
    assert_eq!(error.action, Action::Halt);
    assert!(
        error.to_string().contains("SELECT is not allowed in cluster mode"),
        "{error}"
    );
    let alone = onewrite_testkit::servers::Redis::shared().await;
    let error = refused(&*connector(&alone.url(), &[("mode", "cluster")])).await;
    assert_eq!(error.action, Action::Halt);
    assert!(error.to_string().contains("set mode = \"single\""), "{error}");
    // One server of a cluster alone: what is elsewhere needs a person, or a new look.
    let sink = connector(&url, &[("mode", "single")]).connect().await.unwrap();
    let all: Vec<_> = (1..=8)
        .map(|number| event_for(&format!("s{number}"), number, None))
        .collect();
    let (_, outcomes) = deliver(&*sink, &all).await;
    assert!(words(&outcomes).contains(&"reconnect"), "{outcomes:?}");
}
