//! Sixteen writers, a relay that is killed twenty times, Kafka that stops for a while, PostgreSQL that crashes.

use crate::end_to_end::shop::{Load, Writers, prepare};
use crate::end_to_end::world::{IN_FLIGHT, World};

const KILLS: u64 = 20;

const LOAD: Load = Load {
    writers: 16,
    events: 200_000,
    keys: 5_000,
    long: 12,
    synchronous_commit: "on",
};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_invented_or_reordered_while_everything_fails() {
    let world = World::start(15, "shop.accounts").await;
    prepare(&world.database, LOAD.keys).await;
    // A transaction that stays open in another database of the server, and holds back every snapshot's xmin.
    let elsewhere = world.postgres.database().await.connect().await;
    elsewhere
        .batch_execute("CREATE TABLE held (n int); BEGIN; INSERT INTO held VALUES (1)")
        .await
        .expect("a transaction");
    let writers = Writers::start(&world.database, LOAD);
    let mut relay = world.start_relay();
    for kill in 0..KILLS {
        match kill {
            5 => world.kafka.stop(),
            8 => world.kafka.continue_(),
            12 => {
                world.postgres.stop_immediate().await;
                world.postgres.restart().await;
            }
            _ => {}
        }
        let delivered = world.delivered();
        let share = LOAD.events * kill / KILLS;
        let stopped = (5..8).contains(&kill);
        // The next kill comes when the writers are so far, and the relay has delivered something since the last one; while
        // Kafka stands still it cannot, and is killed while it tries.
        world.wait("the writers go on", || writers.written() >= share).await;
        world
            .wait("the relay delivers again", || stopped || world.delivered() > delivered)
            .await;
        relay.kill();
        relay = world.start_relay();
    }
    let rolled_back = writers.finish().await;
    world.drained().await;
    relay.stop(&world).await;
    drop(elsewhere);
    let verdict = world.judge(&rolled_back).await;
    println!("{KILLS} kills of the relay, 1 crash of PostgreSQL, 1 stop of Kafka\n{verdict}");
    assert!(verdict.holds(), "{verdict}");
    assert!(
        verdict.parked == 0 && verdict.committed > LOAD.events / 2 && verdict.rolled_back > 0,
        "{verdict}"
    );
    // The crash of PostgreSQL ends the relay's sources as a kill does.
    assert!(verdict.duplicates <= (KILLS + 1) * IN_FLIGHT, "{verdict}");
}
