//! A whole relay over the database in memory, with everything going wrong, judged by the promise.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use onewrite_core::machine::OnPoison;
use onewrite_core::promise::{Found, Ledger, Verdict};
use onewrite_core::relay::{Relay, Route};
use onewrite_core::routing::{Match, Pattern};
use onewrite_core::store::ParkedFilter;
use onewrite_core::{Operations, Outbox, SinkConnector};
use onewrite_testkit::faults::{Fault, Faulty, SinkBug, SourceBug, When, buggy_connector, buggy_outbox};
use onewrite_testkit::memory::{MemoryBroker, MemoryDatabase, MemoryTransaction};
use onewrite_testkit::wait;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// How long anything may take, on the pretended clock.
const DEADLINE: Duration = Duration::from_secs(4 * 3600);

/// A database with applications that write to it, and the book of what they did.
struct Shop {
    database: MemoryDatabase,
    ledger: Ledger,
    random: fastrand::Rng,
    numbers: HashMap<String, u64>,
    /// Ids of committed events, by topic.
    committed: HashMap<String, usize>,
}

impl Shop {
    fn new(seed: u64) -> Self {
        Self {
            database: MemoryDatabase::new(),
            ledger: Ledger::default(),
            random: fastrand::Rng::with_seed(seed),
            numbers: HashMap::new(),
            committed: HashMap::new(),
        }
    }

    /// Transactions that overlap, a fifth of which roll back; events of a key all go to one topic.
    async fn trade(&mut self, transactions: usize, topics: &[&str]) {
        let mut open: Vec<(MemoryTransaction, Vec<onewrite::Event>)> = Vec::new();
        for _ in 0..transactions {
            let mut events: Vec<onewrite::Event> = Vec::new();
            // Keys that no open transaction has, since all of them are written by one task here.
            let held: HashSet<String> = open.iter().flat_map(|(_, events)| keys(events)).collect();
            for _ in 0..self.random.usize(1..5) {
                let topic = topics[self.random.usize(0..topics.len())];
                let key = format!("{topic}/{}", self.random.u32(0..12));
                if !held.contains(&key) {
                    let poison = if self.random.u32(0..200) == 0 { "poison" } else { "{}" };
                    events.push(onewrite::Event::new(topic, poison).key(key));
                }
            }
            let mut transaction = self.database.begin();
            transaction.append(&events).await;
            open.push((transaction, events));
            while open.len() > self.random.usize(0..4) {
                let (transaction, events) = open.swap_remove(self.random.usize(0..open.len()));
                if self.random.u32(0..5) == 0 {
                    transaction.rollback();
                    events.iter().for_each(|event| self.ledger.rolled_back(event.id));
                } else {
                    transaction.commit();
                    self.book(&events);
                }
            }
            if self.random.bool() {
                tokio::time::sleep(Duration::from_millis(self.random.u64(0..300))).await; // slow on purpose
            }
        }
        for (transaction, events) in open {
            transaction.commit();
            self.book(&events);
        }
    }

    fn book(&mut self, events: &[onewrite::Event]) {
        for event in events {
            let number = self.numbers.entry(event.key.clone().unwrap_or_default()).or_default();
            *number += 1;
            self.ledger
                .committed(event.id, event.key.clone().map(|key| (key, *number)));
            *self.committed.entry(event.topic.clone()).or_default() += 1;
        }
    }

    /// Waits until nothing is unsettled any more on these routes.
    async fn settled(&self, routes: &[&str]) {
        let settled = async || {
            let status = self.database.status().await.ok()?;
            let of = |name: &&str| status.routes.iter().find(|route| route.route == *name);
            let settled = routes.iter().filter_map(of).filter(|route| route.unsettled == Some(0));
            (settled.count() == routes.len()).then_some(())
        };
        wait::until(&format!("everything of {routes:?} is settled"), settled).await;
    }

    async fn verdict(&self, brokers: &[&MemoryBroker]) -> Verdict {
        let parked = self.database.parked(&ParkedFilter::default()).await.unwrap();
        let parked: HashSet<_> = parked.iter().map(|parked| parked.event_id).collect();
        self.ledger.judge(&Found {
            deliveries: brokers.iter().flat_map(|broker| broker.ids()).collect(),
            ever_parked: parked.clone(),
            parked,
            effects: None,
        })
    }
}

fn keys(events: &[onewrite::Event]) -> Vec<String> {
    events.iter().filter_map(|event| event.key.clone()).collect()
}

fn broker() -> MemoryBroker {
    let broker = MemoryBroker::new();
    broker.refuse(|event| (event.payload == "poison").then(|| "poison".to_owned()));
    broker
}

fn route(name: &str, topic: &str, connector: Arc<dyn SinkConnector>) -> Route {
    let mut route = Route {
        name: name.to_owned(),
        wanted: Match {
            topic: Some(Pattern::new(topic)),
            event_type: None,
        },
        connector,
        behaviour: Default::default(),
    };
    route.behaviour.delivery_timeout = Duration::from_secs(5);
    route.behaviour.batch.events = 10;
    route.behaviour.in_flight.events = 100;
    route
}

fn relay(holder: &str, routes: &[Route], outbox: Arc<dyn Outbox>) -> Relay {
    let mut relay = Relay::new("shop", holder, routes.to_vec(), outbox);
    // Short beside the lives below, so that each relay of a test comes to lead.
    relay.lease_ttl = Duration::from_millis(400);
    relay
}

fn start(relay: Relay) -> (CancellationToken, JoinHandle<()>) {
    let stop = CancellationToken::new();
    let token = stop.clone();
    let running = tokio::spawn(async move { relay.run(token).await.expect("nothing is refused here") });
    (stop, running)
}

async fn stopped(stop: CancellationToken, running: JoinHandle<()>) {
    stop.cancel();
    timeout(DEADLINE, running)
        .await
        .expect("a relay that is stopped ends")
        .expect("it does not panic");
}

/// Every fault there is, one behind the other, each from time to time.
fn misfortunes(mut connector: Arc<dyn SinkConnector>, seed: u64) -> (Arc<dyn SinkConnector>, Vec<Arc<Faulty>>) {
    let faults = [
        (Fault::LostReply, 7),
        (Fault::Refuse, 10),
        (Fault::Slow(Duration::from_millis(700)), 10),
        (Fault::Hang, 3),
        (Fault::PartialSuccess, 8),
        (Fault::Panic, 3),
        (Fault::ConnectFails, 30),
        (Fault::DisconnectMidBatch, 7),
    ];
    let mut all = Vec::new();
    for (at, (fault, percent)) in faults.into_iter().enumerate() {
        let faulty = Faulty::new(connector, fault, When::Percent(percent, seed + at as u64));
        all.push(Arc::clone(&faulty));
        connector = faulty;
    }
    (connector, all)
}

#[tokio::test(start_paused = true)]
async fn everything_goes_wrong_and_the_promise_holds() {
    let mut happened = [0; 8];
    for seed in 0..12 {
        let mut shop = Shop::new(seed);
        let broker = broker();
        let (connector, faults) = misfortunes(broker.connector(), seed * 100);
        let routes = [route("all", "*", connector)];
        shop.database.set_faults(10, seed);
        // Crashes: the relay's future is dropped, and another of the same name starts.
        for life in 0..6 {
            let (_stop, running) = start(relay(&format!("life {life}"), &routes, Arc::new(shop.database.clone())));
            shop.trade(60, &["a", "b"]).await;
            running.abort();
        }
        shop.database.set_faults(0, 0);
        faults.iter().for_each(|fault| fault.set(When::First(0)));
        let (stop, running) = start(relay("last", &routes, Arc::new(shop.database.clone())));
        shop.settled(&["all"]).await;
        stopped(stop, running).await;
        let verdict = shop.verdict(&[&broker]).await;
        assert!(verdict.holds(), "seed {seed}: {verdict}");
        assert!(verdict.committed > 300 && verdict.rolled_back > 50, "{verdict}");
        happened
            .iter_mut()
            .zip(&faults)
            .for_each(|(count, fault)| *count += fault.happened());
    }
    assert!(
        happened.iter().all(|count| *count > 10),
        "each fault happened, so often: {happened:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_dead_route_holds_back_no_other() {
    let mut shop = Shop::new(1);
    let (alive, dead) = (broker(), broker());
    dead.stop();
    let routes = [
        route("alive", "a", alive.connector()),
        route("dead", "b", dead.connector()),
    ];
    let (stop, running) = start(relay("first", &routes, Arc::new(shop.database.clone())));
    shop.trade(400, &["a", "b"]).await;
    shop.settled(&["alive"]).await;
    assert!(dead.log().is_empty());
    assert!(
        alive.ids().len() + 20 > shop.committed["a"],
        "nearly all of them, but for poison"
    );
    let status = shop.database.status().await.unwrap();
    let waiting = status.routes.iter().find(|route| route.route == "dead").unwrap();
    assert_eq!(waiting.unsettled, Some(shop.committed["b"] as i64));

    dead.start();
    shop.settled(&["alive", "dead"]).await;
    stopped(stop, running).await;
    let verdict = shop.verdict(&[&alive, &dead]).await;
    assert!(verdict.holds(), "{verdict}");
    assert_eq!(verdict.duplicates, 0, "nothing failed once it had begun: {verdict}");
}

#[tokio::test(start_paused = true)]
async fn a_standby_takes_over_when_the_holder_dies() {
    let mut shop = Shop::new(2);
    let broker = broker();
    let routes = [route("all", "*", broker.connector())];
    let (_stop, first) = start(relay("first", &routes, Arc::new(shop.database.clone())));
    shop.trade(50, &["a"]).await;
    shop.settled(&["all"]).await;
    let (stop, second) = start(relay("second", &routes, Arc::new(shop.database.clone())));
    shop.trade(50, &["a"]).await;
    first.abort();
    shop.trade(50, &["a"]).await;
    shop.settled(&["all"]).await;
    let status = shop.database.status().await.unwrap();
    assert_eq!(status.relays[0].holder.as_deref(), Some("second"));
    stopped(stop, second).await;
    let verdict = shop.verdict(&[&broker]).await;
    assert!(verdict.holds(), "{verdict}");
}

/// How many groups each process holds.
async fn holdings(database: &MemoryDatabase) -> BTreeMap<String, usize> {
    let mut held = BTreeMap::new();
    for relay in database.status().await.unwrap().relays {
        for holder in relay.groups.into_iter().filter_map(|group| group.holder) {
            *held.entry(holder).or_default() += 1;
        }
    }
    held
}

async fn spread_as(database: &MemoryDatabase, expected: &[usize]) {
    let as_expected = async || {
        let mut held: Vec<usize> = holdings(database).await.into_values().collect();
        held.sort_unstable();
        (held == expected).then_some(())
    };
    wait::until(&format!("the groups are held {expected:?}"), as_expected).await;
}

#[tokio::test(start_paused = true)]
async fn processes_share_the_groups_and_take_over_from_each_other_in_time() {
    let (lease, second) = (Duration::from_secs(10), Duration::from_secs(1));
    let mut shop = Shop::new(3);
    let (broker, database) = (broker(), shop.database.clone());
    let routes = [route("all", "*", broker.connector())];
    let process = |holder: &str| {
        start(Relay {
            groups: 7,
            lease_ttl: lease,
            ..relay(holder, &routes, Arc::new(database.clone()))
        })
    };
    let (_, killed) = process("killed");
    spread_as(&shop.database, &[7]).await;
    let (stop, stopping) = process("stopped");
    spread_as(&shop.database, &[3, 4]).await;
    let (stop_last, last) = process("last");
    spread_as(&shop.database, &[2, 2, 3]).await;
    shop.trade(100, &["a"]).await;
    killed.abort();
    let began = Instant::now();
    spread_as(&shop.database, &[3, 4]).await;
    assert!(began.elapsed() <= lease + second, "{:?}", began.elapsed());
    shop.trade(100, &["a"]).await;
    let began = Instant::now();
    stopped(stop, stopping).await;
    spread_as(&shop.database, &[7]).await;
    assert!(began.elapsed() <= 3 * second, "{:?}", began.elapsed());
    shop.settled(&["all"]).await;
    stopped(stop_last, last).await;
    let verdict = shop.verdict(&[&broker]).await;
    assert!(verdict.holds() && verdict.committed > 200, "{verdict}");
}

/// Again and again the lease goes to somebody else while its holder is in the middle of deliveries and does not know.
#[tokio::test(start_paused = true)]
async fn a_zombie_does_no_harm() {
    let mut duplicates = 0;
    for seed in 0..10 {
        let mut shop = Shop::new(seed);
        let broker = broker();
        broker.slow_down(Duration::from_millis(30));
        let routes = [route("all", "*", broker.connector())];
        let (stop_first, first) = start(relay("first", &routes, Arc::new(shop.database.clone())));
        let (stop_second, second) = start(relay("second", &routes, Arc::new(shop.database.clone())));
        for _ in 0..6 {
            shop.trade(30, &["a", "b"]).await;
            shop.database.expire_leases();
            let usurped = shop
                .database
                .acquire("shop", "a third", Duration::from_millis(1))
                .await
                .unwrap();
            assert!(usurped.is_some(), "the lease has run out");
        }
        shop.settled(&["all"]).await;
        stopped(stop_first, first).await;
        stopped(stop_second, second).await;
        let status = shop.database.status().await.unwrap();
        assert!(
            status.relays[0].epoch > 8,
            "the lease changed hands: {:?}",
            status.relays
        );
        let verdict = shop.verdict(&[&broker]).await;
        assert!(verdict.holds(), "seed {seed}: {verdict}");
        duplicates += verdict.duplicates;
    }
    assert!(
        duplicates > 0,
        "at least once a zombie delivered what its successor delivered as well"
    );
}

/// What a run with a planted bug comes to: faults, two crashes, then all is well.
async fn run_with(
    seed: u64,
    connector: impl Fn(Arc<dyn SinkConnector>) -> Arc<dyn SinkConnector>,
    outbox: impl Fn(Arc<dyn Outbox>) -> Arc<dyn Outbox>,
) -> Verdict {
    let mut shop = Shop::new(seed);
    let broker = broker();
    // So slow that every crash meets events under way.
    broker.slow_down(Duration::from_millis(60));
    let disconnects = Faulty::new(broker.connector(), Fault::DisconnectMidBatch, When::Percent(20, seed));
    let routes = [route("all", "*", connector(disconnects.clone()))];
    for _ in 0..3 {
        let (_stop, running) = start(relay("one", &routes, outbox(Arc::new(shop.database.clone()))));
        shop.trade(80, &["a"]).await;
        running.abort();
    }
    disconnects.set(When::First(0));
    broker.slow_down(Duration::ZERO);
    let (stop, running) = start(relay("last", &routes, outbox(Arc::new(shop.database.clone()))));
    shop.settled(&["all"]).await;
    stopped(stop, running).await;
    shop.verdict(&[&broker]).await
}

#[tokio::test(start_paused = true)]
async fn a_run_without_a_bug_is_not_blamed() {
    for seed in 0..5 {
        let verdict = run_with(seed, |inner| inner, |inner| inner).await;
        assert!(verdict.holds(), "seed {seed}: {verdict}");
    }
}

#[tokio::test(start_paused = true)]
async fn planted_bugs_break_the_promise_in_a_relay() {
    let sink = |bug| move |inner| buggy_connector(inner, bug);
    let source = |bug| move |inner| buggy_outbox(inner, bug);
    let verdict = run_with(0, sink(SinkBug::SettleBeforeAck), |inner| inner).await;
    assert!(verdict.lost.count > 0, "settle before ack: {verdict}");
    let verdict = run_with(0, sink(SinkBug::IgnoresReturned), |inner| inner).await;
    assert!(verdict.lost.count > 0, "ignores returned: {verdict}");
    let verdict = run_with(0, sink(SinkBug::Reorder), |inner| inner).await;
    assert!(verdict.reordered.count > 0, "reorder: {verdict}");
    let verdict = run_with(0, |inner| inner, source(SourceBug::CursorById)).await;
    assert!(verdict.lost.count > 0, "cursor by id: {verdict}");
    let verdict = run_with(0, |inner| inner, source(SourceBug::FloorPastUnsettled)).await;
    assert!(verdict.lost.count > 0, "floor past unsettled: {verdict}");
}

/// A person may resume a route before the relay has learned from the database that its halt is written down.
#[tokio::test(start_paused = true)]
async fn a_route_that_is_resumed_goes_on_whatever_reply_is_lost() {
    for seed in 0..60 {
        let mut shop = Shop::new(seed);
        let broker = MemoryBroker::new();
        let database = shop.database.clone();
        // From the refusal on: with calls that fail before it, the route may spend its time on backing off and never come to halt.
        broker.refuse(move |event| {
            (event.payload == "poison").then(|| {
                database.set_faults(50, seed);
                "poison".to_owned()
            })
        });
        let mut halting = route("all", "*", broker.connector());
        halting.behaviour.on_poison = OnPoison::Halt;
        let mut relay = relay("first", &[halting], Arc::new(shop.database.clone()));
        // One that loses its lease begins anew, and would hear of it then.
        relay.lease_ttl = Duration::from_secs(600);
        let (stop, running) = start(relay);
        shop.settled(&["all"]).await;
        let event = onewrite::Event::new("a", "poison");
        let mut transaction = shop.database.begin();
        transaction.append(std::slice::from_ref(&event)).await;
        transaction.commit();
        shop.book(&[event]);
        // Whoever sees a halted route resumes it, and nobody resumes another. It is resumed as well where that reply is lost.
        let mut asked = false;
        let resumed = async || {
            let status = shop.database.status().await.ok()?;
            let halted = status.routes.iter().any(|route| route.halted.is_some());
            let mut over = asked && !halted;
            if halted {
                asked = true;
                broker.refuse(|_| None);
                over = shop.database.set_paused("shop", None, false).await.is_ok();
            }
            if over {
                shop.database.set_faults(0, 0);
            }
            (!broker.ids().is_empty()).then_some(())
        };
        wait::until("the event is delivered after all", resumed).await;
        shop.database.set_faults(0, 0);
        shop.settled(&["all"]).await;
        stopped(stop, running).await;
    }
}
