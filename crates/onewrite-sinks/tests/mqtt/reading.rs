//! What `onewrite verify` reads back: everything since it began to read, through broken connections, or that nobody can say.

use std::time::Duration;

use onewrite_core::verify::Reading;
use onewrite_testkit::faults::{FaultProxy, ProxyMode};
use onewrite_testkit::servers::Mosquitto;
use onewrite_testkit::wait::until;

use super::{connected, connector, event_for};
use crate::support::{deliver, words};

const TOPIC: &str = "onewrite.verify.20261126055833-0007-ff";
const PLACE: &str = "onewrite/verify/20261126055833-0007-ff";
const WAIT: Duration = Duration::from_millis(200);

/// Delivers events of these numbers, and expects that the broker keeps them.
async fn send(broker: &Mosquitto, numbers: std::ops::Range<u128>) {
    let sink = connected(&broker.url(), &[]).await;
    let batch: Vec<_> = numbers.map(|number| event_for(PLACE, number, Some("k"))).collect();
    let (_, outcomes) = deliver(&*sink, &batch).await;
    assert_eq!(words(&outcomes), vec!["delivered"; batch.len()]);
    sink.close().await.expect("it ends");
}

/// The numbers of the next messages, once there are some.
async fn read(reading: &mut dyn Reading) -> Vec<u128> {
    let mut came = Vec::new();
    while came.is_empty() {
        let arrived = reading.read(WAIT).await.unwrap_or_else(|error| panic!("{error}"));
        came.extend(arrived.iter().map(|arrived| arrived.id.expect("an id").as_u128()));
    }
    came
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_is_gone_on_with_where_it_was() {
    let broker = Mosquitto::start(&[], &[]).await;
    let proxy = FaultProxy::start(([127, 0, 0, 1], broker.port()).into()).await.unwrap();
    let through = connector(&format!("mqtt://{}", proxy.address()), &[("keep_alive", "2s")]);
    let read_back = through.read_back().expect("it can be read back");
    let mut reading = read_back.open(TOPIC).await.expect("a subscription");
    send(&broker, 1..4).await;
    let mut came = Vec::new();
    while came.len() < 3 {
        came.extend(read(&mut *reading).await);
    }
    assert_eq!(came, [1, 2, 3]);
    proxy.set(ProxyMode::Reset);
    send(&broker, 4..6).await;
    let error = until("the connection is found broken", async || {
        reading.read(WAIT).await.err()
    });
    assert!(error.await.to_string().contains("broke"));
    proxy.set(ProxyMode::Pass);
    let mut came = Vec::new();
    while came.last() != Some(&5) {
        came.extend(read(&mut *reading).await);
    }
    // What was not acknowledged in time comes again.
    came.retain(|number| *number > 3);
    assert_eq!(came, [4, 5]);
    // A connection that has fallen silent is left as well.
    proxy.set(ProxyMode::HalfOpen);
    let error = until("the silence is noticed", async || reading.read(WAIT).await.err());
    assert!(error.await.to_string().contains("broke"));
    drop(reading);
    proxy.set(ProxyMode::Pass);
    assert!(broker.is_subscribed(PLACE).await);
    read_back.remove(TOPIC).await.expect("it is removed");
    assert!(!broker.is_subscribed(PLACE).await);
    read_back.remove(TOPIC).await.expect("and once more, where nothing is");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_broker_lost_is_told_for_good() {
    let broker = Mosquitto::start(&[], &[]).await;
    let read_back = connector(&broker.url(), &[]).read_back().expect("it can be read back");
    let mut reading = read_back.open(TOPIC).await.expect("a subscription");
    // It had not been written to the disk.
    broker.kill9().await;
    broker.restart().await;
    let lost = |error: onewrite_core::SinkError| error.to_string().contains("did not keep the session").then_some(());
    until("the loss is told", async || {
        reading.read(WAIT).await.err().and_then(lost)
    })
    .await;
    for _ in 0..2 {
        let told = reading.read(WAIT).await.err().and_then(lost);
        assert!(told.is_some(), "no later look takes a new session for the old one");
    }
}
