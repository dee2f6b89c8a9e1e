//! Sixteen writers, a relay that is killed twenty times, and whatever else can go wrong with the broker and the database.

use crate::end_to_end::nemesis::{Fault, Nemesis, Plan};
use crate::end_to_end::shop::{Load, Writers, prepare};
use crate::end_to_end::world::{IN_FLIGHT, Setup, World};

const KILLS: u64 = 20;

/// Where the random moments come from; `ONEWRITE_SEED` names another.
const SEED: u64 = 4;

/// Endless: the writers go on until the last kill is over.
const LOAD: Load = Load {
    writers: 16,
    events: u64::MAX,
    keys: 5_000,
    long: 12,
    synchronous_commit: "on",
};

#[tokio::test(flavor = "multi_thread")]
async fn polling_loses_invents_and_reorders_nothing_while_everything_fails() {
    let world = World::start(Setup::new(15, "poll", "shop.accounts")).await;
    run(world, 60_000, &[Fault::DatabaseCrashes]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_loses_invents_and_reorders_nothing_while_everything_fails() {
    let faults = [
        Fault::DatabaseCrashes,
        Fault::DatabaseFailsOver,
        Fault::SlotDropped,
        Fault::SlotDropped,
        Fault::SlotOutgrown,
        Fault::WalsenderEnded,
        Fault::WalsenderEnded,
        Fault::WalsenderEnded,
        Fault::RelayAway,
    ];
    let setup = Setup {
        standby: true,
        ..Setup::new(15, "wal", "shop.accounts")
    };
    run(World::start(setup).await, 200_000, &faults).await;
}

/// At least so many events are written.
async fn run(mut world: World, events: u64, faults: &[Fault]) {
    let seed = std::env::var("ONEWRITE_SEED").ok().and_then(|seed| seed.parse().ok());
    let plan = Plan::new(KILLS, faults, seed.unwrap_or(SEED));
    println!("{KILLS} kills of the relay; before these: {plan}");
    prepare(&world.database, LOAD.keys).await;
    let mut relay = world.start_relay();
    let mut nemesis = Nemesis::new(&world, faults).await;
    let writers = Writers::start(&world.database, LOAD);
    for kill in 0..KILLS {
        if let Some(fault) = plan.at(kill) {
            nemesis.strike(fault, &mut world, &relay).await;
        }
        let delivered = world.delivered();
        let share = events * (kill + 1) / KILLS;
        // The next kill comes when the writers are so far, and the relay has delivered something since the last one; while
        // Kafka stands still it cannot, and is killed while it tries.
        world.wait("the writers go on", || writers.written() >= share).await;
        world
            .wait("the relay delivers again", || {
                nemesis.kafka_is_stopped() || world.delivered() > delivered
            })
            .await;
        relay = nemesis.kill(relay, &world).await;
    }
    writers.stop();
    let rolled_back = writers.finish().await;
    world.drained().await;
    nemesis.end(&world).await;
    relay.stop(&world).await;
    let verdict = world.judge(&rolled_back).await;
    println!("{verdict}");
    assert!(verdict.holds(), "{verdict}");
    assert!(
        verdict.parked == 0 && verdict.committed > events / 2 && verdict.rolled_back > 0,
        "{verdict}"
    );
    // A fault of the database or the log ends the relay's sources as a kill does.
    let restarts = KILLS + faults.len() as u64;
    assert!(verdict.duplicates <= restarts * IN_FLIGHT, "{verdict}");
}
