//! Many messages and large ones: the fixtures' reader sees them all and leaves them where they are.

use futures::future::join_all;
use onewrite_testkit::conformance::sink::Arrived;
use onewrite_testkit::servers::{ActiveMq, Artemis, Qpid};

use super::{LOGIN, connector, event_for, ids};
use crate::support::settle;

const MANY: u128 = 6_000;

#[tokio::test(flavor = "multi_thread")]
async fn every_message_in_a_queue_of_artemis_is_read_and_stays() {
    let broker = Artemis::shared().await;
    every_message(&broker.url(), async || broker.read_all("many").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_in_a_queue_of_classic_is_read_and_stays() {
    let broker = ActiveMq::shared().await;
    every_message(&broker.url(), async || broker.read_all("many").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_in_a_queue_of_qpid_is_read_and_stays() {
    let broker = Qpid::shared().await;
    broker.put("queue/many", "{}").await;
    every_message(&broker.url(), async || broker.read_all("many").await).await;
}

async fn every_message(url: &str, read_all: impl AsyncFn() -> Vec<Arrived>) {
    let sink = connector(url, &LOGIN).connect().await.unwrap();
    let batch: Vec<_> = (1..=MANY)
        .map(|number| event_for("many", number, Some(&(number % 200).to_string())))
        .collect();
    assert!(settle(&*sink, &batch, 3).await.is_empty());
    for _ in 0..2 {
        let mut found = ids(&read_all().await);
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, (1..=MANY).collect::<Vec<_>>());
    }
    sink.close().await.unwrap();
}

/// Artemis sends them in several frames, between which it may call its reader's credit drained. Readers that disturb one another have it do so
/// once in some hundred times.
#[tokio::test(flavor = "multi_thread")]
async fn large_messages_in_a_queue_of_artemis_are_read_whole() {
    const BYTES: usize = 600_000;
    let broker = Artemis::shared().await;
    let sink = connector(&broker.url(), &LOGIN).connect().await.unwrap();
    let batch: Vec<_> = (1..=7)
        .map(|number| {
            let mut event = event_for("large", number, Some(&number.to_string()));
            event.payload = vec![number as u8; BYTES].into();
            event
        })
        .collect();
    assert!(settle(&*sink, &batch, 1).await.is_empty());
    for _ in 0..50 {
        for found in join_all((0..4).map(|_| broker.read_all("large"))).await {
            let lengths: Vec<usize> = found.iter().map(|found| found.payload.len()).collect();
            assert_eq!(lengths, [BYTES; 7]);
        }
    }
    sink.close().await.unwrap();
}
