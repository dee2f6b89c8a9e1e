//! Three processes of one name share the groups of lanes, and take over from one that is killed, stopped or held up.

use std::collections::BTreeMap;

use onewrite_chaos::process::Relay;
use onewrite_chaos::shop::{Load, Writers, prepare};
use tokio_postgres::Client;

use crate::end_to_end::world::{Setup, World};

const GROUPS: i64 = 4;

/// The lease's time, and how soon after it others must have taken over, in seconds.
const LEASE: f64 = 4.0;
const AFTER_LEASE: f64 = 1.0;

/// Endless; the test stops the writers.
const LOAD: Load = Load {
    writers: 4,
    long: 5,
    ..Load::ENDLESS
};

#[tokio::test(flavor = "multi_thread")]
async fn polling_processes_share_the_work_and_take_over_from_each_other() {
    processes_share_the_work("poll").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_with_a_slot_for_each_group_share_the_work_and_take_over_from_each_other() {
    processes_share_the_work("wal").await;
}

async fn processes_share_the_work(feed: &'static str) {
    let world = World::start(Setup {
        groups: 4,
        lease: "4s",
        ..Setup::new(17, feed, "shop.accounts")
    })
    .await;
    prepare(&world.database, LOAD.keys).await;
    let mut watch = Watch(world.database.connect().await);
    let writers = Writers::start(&world.database, LOAD);
    let mut relays: Vec<Relay> = (0..3).map(|_| world.start_relay()).collect();
    watch.shared_by(&world, &relays).await;

    let killed = watch.take_the_busiest(&mut relays).await;
    let victim = killed.process();
    killed.kill();
    let expiry = watch.expiry_of(victim).await;
    watch.shared_by(&world, &relays).await;
    let late = watch.now().await - expiry;
    println!(
        "kill -9: its groups were taken {:.2} s after their lease of {LEASE} s had run out",
        late
    );
    assert!(late <= AFTER_LEASE, "{late} s after the lease");

    relays.push(world.start_relay());
    watch.shared_by(&world, &relays).await;
    let stopped = watch.take_the_busiest(&mut relays).await;
    let asked = watch.now().await;
    world.stop(stopped).await;
    watch.shared_by(&world, &relays).await;
    let took = watch.now().await - asked;
    println!("SIGTERM: its groups were handed over within {took:.2} s");
    assert!(took < LEASE, "{took} s");

    relays.push(world.start_relay());
    watch.shared_by(&world, &relays).await;
    let held_up = watch.take_the_busiest(&mut relays).await;
    held_up.pause();
    watch.shared_by(&world, &relays).await;
    let delivered = world.delivered();
    world.wait("the others deliver", || world.delivered() > delivered).await;
    held_up.resume();
    relays.push(held_up);
    watch.shared_by(&world, &relays).await;

    writers.stop();
    let rolled_back = writers.finish().await;
    world.drained().await;
    for relay in relays {
        world.stop(relay).await;
    }
    let verdict = world.judge(&rolled_back).await;
    println!("{verdict}");
    assert!(verdict.holds() && verdict.committed > 1_000, "{verdict}");
}

/// Who holds what, by the database's own clock.
struct Watch(Client);

impl Watch {
    /// The number of groups of each process whose lease has not run out.
    async fn holdings(&self) -> BTreeMap<u32, i64> {
        const HELD: &str = "SELECT split_part(holder, ':', 2)::bigint, count(*) FROM onewrite.relay \
                            WHERE holder IS NOT NULL AND expires_at > clock_timestamp() GROUP BY 1";
        let rows = self.0.query(HELD, &[]).await.expect("the leases");
        let process = |number: i64| u32::try_from(number).expect("a process number");
        rows.iter().map(|row| (process(row.get(0)), row.get(1))).collect()
    }

    /// Waits until exactly these processes hold all groups, and none holds two more than another.
    async fn shared_by(&mut self, world: &World, relays: &[Relay]) {
        let even = async || {
            let held = self.holdings().await;
            let of = |relay: &Relay| held.get(&relay.process()).copied().unwrap_or_default();
            let (most, least) = (relays.iter().map(of).max(), relays.iter().map(of).min());
            let all = held.len() == relays.len() && held.values().sum::<i64>() == GROUPS;
            (all && most.zip(least).is_some_and(|(most, least)| most - least <= 1)).then_some(())
        };
        world.until("the processes share the groups", even).await;
    }

    /// The process that holds most, out of the list of those that go on.
    async fn take_the_busiest(&self, relays: &mut Vec<Relay>) -> Relay {
        let held = self.holdings().await;
        let busiest = (0..relays.len()).max_by_key(|at| held.get(&relays[*at].process()).copied());
        relays.remove(busiest.expect("a process"))
    }

    /// When the last lease of a process runs out that renews none any more, in seconds since 1970.
    async fn expiry_of(&self, process: u32) -> f64 {
        const EXPIRY: &str =
            "SELECT extract(epoch FROM max(expires_at))::float8 FROM onewrite.relay WHERE holder LIKE '%:' || $1";
        let row = self.0.query_one(EXPIRY, &[&process.to_string()]).await;
        row.expect("its leases").get(0)
    }

    async fn now(&self) -> f64 {
        let row = self
            .0
            .query_one("SELECT extract(epoch FROM clock_timestamp())::float8", &[])
            .await;
        row.expect("the time").get(0)
    }
}
