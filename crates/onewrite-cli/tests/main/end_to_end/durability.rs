//! What a database forgets in a crash must not be at the broker.

use crate::end_to_end::world::{Setup, World};
use onewrite_chaos::shop::{Load, Writers, prepare};

const CRASHES: u64 = 5;

/// Endless; the test stops the writers.
const LOAD: Load = Load {
    synchronous_commit: "off",
    ..Load::ENDLESS
};

#[tokio::test(flavor = "multi_thread")]
async fn polling_brings_nothing_to_the_broker_that_a_crashed_database_forgot() {
    nothing_is_at_the_broker_that_the_database_forgot("poll").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_brings_nothing_to_the_broker_that_a_crashed_database_forgot() {
    nothing_is_at_the_broker_that_the_database_forgot("wal").await;
}

async fn nothing_is_at_the_broker_that_the_database_forgot(feed: &'static str) {
    let world = World::start(Setup::new(16, feed, "shop.accounts")).await;
    prepare(&world.database, LOAD.keys).await;
    let writers = Writers::start(&world.database, LOAD);
    let relay = world.start_relay();
    for _ in 0..CRASHES {
        let (delivered, written) = (world.delivered(), writers.written());
        world
            .wait("events are written and delivered", || {
                writers.written() > written + 500 && world.delivered() > delivered
            })
            .await;
        world.postgres.kill9().await;
        world.postgres.restart().await;
    }
    writers.stop();
    let rolled_back = writers.finish().await;
    world.drained().await;
    world.stop(relay).await;
    let verdict = world.judge(&rolled_back).await;
    println!("{CRASHES} crashes of PostgreSQL under synchronous_commit = off\n{verdict}");
    assert!(verdict.holds() && verdict.committed > 1_000, "{verdict}");
}
