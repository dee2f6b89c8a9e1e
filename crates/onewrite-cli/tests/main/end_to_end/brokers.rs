//! Each broker at the end of the way, killed like the relay in the middle of it: what the promise says of it is what an
//! independent reader finds there.

use std::time::Duration;

use onewrite_testkit::servers::{Artemis, ArtemisSettings, Kafka, RabbitMq, Redis};

use crate::end_to_end::world::{Setup, World};
use onewrite_chaos::broker::{Broker, Stream, Subscribed};
use onewrite_chaos::limits::IN_FLIGHT;
use onewrite_chaos::receiver::Receiver;
use onewrite_chaos::shop::{Load, Writers, prepare};

/// Kills of the relay, and as many of the broker.
const KILLS: u64 = 3;

/// Claimed by transactions, of which a tenth rolls back.
const EVENTS: u64 = 58_000;

const TOPIC: &str = "shop.accounts";

/// The writers stop when the events are there.
const LOAD: Load = Load {
    events: EVENTS,
    keys: 500,
    long: 1,
    ..Load::ENDLESS
};

#[tokio::test(flavor = "multi_thread")]
async fn to_kafka() {
    let kafka = Kafka::start(&[]).await;
    kafka.create_topic(TOPIC, 8, &[]).await;
    nothing_is_lost_invented_or_reordered_on_the_way(kafka).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_rabbitmq() {
    let rabbitmq = RabbitMq::start(&[]).await;
    rabbitmq.create_queue(TOPIC, "quorum").await;
    nothing_is_lost_invented_or_reordered_on_the_way(rabbitmq).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_nats() {
    nothing_is_lost_invented_or_reordered_on_the_way(Stream::start(TOPIC).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_artemis() {
    let artemis = Artemis::start(&ArtemisSettings::default()).await;
    nothing_is_lost_invented_or_reordered_on_the_way(artemis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_redis() {
    nothing_is_lost_invented_or_reordered_on_the_way(Redis::start(&[]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_mosquitto() {
    nothing_is_lost_invented_or_reordered_on_the_way(Subscribed::start(TOPIC).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_http() {
    nothing_is_lost_invented_or_reordered_on_the_way(Receiver::start().await).await;
}

async fn nothing_is_lost_invented_or_reordered_on_the_way(broker: impl Broker) {
    let setup = Setup {
        // A broker that comes back is noticed soon, so that the kills, and not the waits, fill the time.
        route: "backoff_max = \"2s\"",
        ..Setup::new(16, "auto", TOPIC)
    };
    let world = World::with(broker, setup).await;
    prepare(&world.database, LOAD.keys).await;
    let mut relay = world.start_relay();
    let writers = Writers::start(&world.database, LOAD);
    let mut random = fastrand::Rng::with_seed(5);
    for kill in 0..2 * KILLS {
        let delivered = world.delivered();
        let share = EVENTS * (kill + 1) / (2 * KILLS + 1);
        world.wait("the writers go on", || writers.written() >= share).await;
        world
            .wait("the relay delivers again", || world.delivered() > delivered)
            .await;
        if kill % 2 == 0 {
            relay.kill();
            relay = world.start_relay();
        } else {
            world.broker.kill().await;
            // Not a wait for something: how long the broker is away.
            tokio::time::sleep(Duration::from_millis(random.u64(0..1_000))).await; // slow on purpose
            world.broker.start_again().await;
        }
    }
    let rolled_back = writers.finish().await;
    world.drained().await;
    world.stop(relay).await;
    let verdict = world.judge(&rolled_back).await;
    println!("{KILLS} kills of the relay, {KILLS} of the broker\n{verdict}");
    assert!(verdict.holds(), "{verdict}");
    assert!(
        verdict.parked == 0 && verdict.committed > 50_000 && verdict.rolled_back > 0,
        "{verdict}"
    );
    assert!(verdict.duplicates <= 2 * KILLS * IN_FLIGHT, "{verdict}");
}
