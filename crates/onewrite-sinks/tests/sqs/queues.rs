//! Queues that are there, are not, or go away; and connections that break.

use onewrite_core::Action;
use onewrite_core::sink::FindingLevel;
use onewrite_testkit::faults::{FaultProxy, ProxyMode};
use onewrite_testkit::servers::ElasticMq;

use super::connector;
use crate::support::{deliver, event, events, settle, words};

#[tokio::test(flavor = "multi_thread")]
async fn queues_and_connections_that_fail_lose_nothing() {
    let server = ElasticMq::start().await;
    for queue in ["standard", "orders.fifo", "cut.fifo", "gone"] {
        server.create_queue(queue).await;
    }
    a_standard_queue_takes_batches(&server).await;
    a_deleted_queue_parks_its_own_events(&server).await;
    a_replay_arrives_again_where_a_repetition_does_not(&server).await;
    a_cut_connection_loses_nothing(&server).await;
    a_check_tells_of_queues(&server).await;
}

async fn a_standard_queue_takes_batches(server: &ElasticMq) {
    let sink = connector(&server.address(), &server.queue_url("standard"), &[])
        .connect()
        .await
        .unwrap();
    let mut batch = events(100, &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"]);
    batch.push(event(101, None));
    let (result, outcomes) = deliver(&*sink, &batch).await;
    result.unwrap();
    assert_eq!(words(&outcomes), vec!["delivered"; 101]);
    let mut ids: Vec<_> = server
        .read_all("standard")
        .await
        .into_iter()
        .map(|arrived| arrived.id)
        .collect();
    ids.sort();
    assert_eq!(ids, batch.iter().map(|event| event.id).collect::<Vec<_>>());
}

async fn a_deleted_queue_parks_its_own_events(server: &ElasticMq) {
    let sink = connector(&server.address(), &server.queue_url("{type}"), &[])
        .connect()
        .await
        .unwrap();
    let to = |number, queue: &str| {
        let mut event = event(number, Some(queue));
        event.event_type = Some(queue.into());
        event
    };
    assert_eq!(words(&deliver(&*sink, &[to(1, "gone")]).await.1), ["delivered"]);
    server.delete_queue("gone").await;
    let batch = [to(2, "gone"), to(3, "orders.fifo"), to(4, "not a name"), to(5, "gone")];
    let (result, outcomes) = deliver(&*sink, &batch).await;
    result.unwrap();
    assert_eq!(words(&outcomes), ["park", "delivered", "park", "unknown"]);
}

async fn a_replay_arrives_again_where_a_repetition_does_not(server: &ElasticMq) {
    let sink = connector(&server.address(), &server.queue_url("orders.fifo"), &[])
        .connect()
        .await
        .unwrap();
    let before = server.read_all("orders.fifo").await.len();
    let mut sent = event(7, Some("a"));
    for _ in 0..2 {
        assert!(settle(&*sink, &[sent.clone()], 1).await.is_empty());
    }
    sent.replay = Some(1);
    assert!(settle(&*sink, &[sent], 1).await.is_empty());
    assert_eq!(server.read_all("orders.fifo").await.len(), before + 2);
}

async fn a_cut_connection_loses_nothing(server: &ElasticMq) {
    let proxy = FaultProxy::start(server.address().parse().unwrap()).await.unwrap();
    let texts = [("timeout", "1s")];
    let connector = connector(&proxy.address().to_string(), &server.queue_url("cut.fifo"), &texts);
    let batch = events(60, &["a", "b", "c", "d"]);
    for mode in [
        ProxyMode::Limit(5_000),
        ProxyMode::Reset,
        ProxyMode::HalfOpen,
        ProxyMode::DropReplies,
    ] {
        proxy.set(ProxyMode::Pass);
        let sink = connector.connect().await.unwrap();
        proxy.set(mode);
        let (result, outcomes) = deliver(&*sink, &batch).await;
        assert_eq!(result.unwrap_err().action, Action::Reconnect, "{mode:?}");
        let told = words(&outcomes);
        assert!(
            told.iter().all(|word| ["delivered", "unknown"].contains(word)),
            "{mode:?} {told:?}"
        );
    }
    proxy.set(ProxyMode::Pass);
    let sink = connector.connect().await.unwrap();
    assert!(settle(&*sink, &batch, 1).await.is_empty());
    assert_eq!(server.read_all("cut.fifo").await.len(), 60);
}

async fn a_check_tells_of_queues(server: &ElasticMq) {
    let connector = connector(&server.address(), &server.queue_url("{topic}"), &[]);
    let topics = ["orders.fifo", "missing", "not.a.name"].map(str::to_owned);
    let findings = connector.probe(&topics).await;
    let levels: Vec<_> = findings.iter().map(|finding| finding.level).collect();
    let expected = [
        FindingLevel::Works,
        FindingLevel::Works,
        FindingLevel::Broken,
        FindingLevel::Broken,
    ];
    assert_eq!(levels, expected, "{findings:?}");
}
