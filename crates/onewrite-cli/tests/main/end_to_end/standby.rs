//! Two processes of one name: one leads, the other stands by, and a leader that was held up harms nothing when it goes on.

use crate::end_to_end::world::{Setup, World};
use onewrite_chaos::shop::{Load, Writers, prepare};

const TAKEOVERS: u64 = 4;

/// Endless; the test stops the writers.
const LOAD: Load = Load {
    writers: 4,
    keys: 50,
    long: 5,
    ..Load::ENDLESS
};

#[tokio::test(flavor = "multi_thread")]
async fn a_polling_leader_that_is_held_up_is_replaced_and_breaks_nothing_when_it_wakes() {
    a_leader_that_is_held_up_is_replaced("poll").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_with_a_slot_that_is_held_up_is_replaced_and_breaks_nothing_when_it_wakes() {
    a_leader_that_is_held_up_is_replaced("wal").await;
}

async fn a_leader_that_is_held_up_is_replaced(feed: &'static str) {
    let world = World::start(Setup::new(17, feed, "shop.accounts")).await;
    prepare(&world.database, LOAD.keys).await;
    let writers = Writers::start(&world.database, LOAD);
    let relays = [world.start_relay(), world.start_relay()];
    for _ in 0..TAKEOVERS {
        let delivered = world.delivered();
        world
            .wait("the leader delivers", || world.delivered() > delivered)
            .await;
        let holder = world.holder();
        let leader = relays
            .iter()
            .find(|relay| holder.contains(&relay.process().to_string()))
            .expect("one of them leads");
        leader.pause();
        world
            .wait(
                "the other takes over",
                || !matches!(world.holder(), now if now.is_empty() || now == holder),
            )
            .await;
        let delivered = world.delivered();
        world.wait("the other delivers", || world.delivered() > delivered).await;
        leader.resume();
    }
    writers.stop();
    let rolled_back = writers.finish().await;
    world.drained().await;
    for relay in relays {
        world.stop(relay).await;
    }
    let verdict = world.judge(&rolled_back).await;
    println!("{TAKEOVERS} takeovers\n{verdict}");
    assert!(verdict.holds() && verdict.committed > 1_000, "{verdict}");
}
