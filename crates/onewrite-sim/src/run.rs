//! One run: a world made of a seed, everything that goes wrong in it, and the checker's word.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use onewrite_core::backoff::Backoff;
use onewrite_core::machine::{OnPoison, RouteBehaviour};
use onewrite_core::promise::{Found, Verdict};
use onewrite_core::relay::{Relay, Route};
use onewrite_core::routing::{Match, Pattern};
use onewrite_core::store::ParkedFilter;
use onewrite_core::{Operations, Outbox, SinkConnector};
use onewrite_testkit::memory::{MemoryBroker, MemoryDatabase};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::application::{Application, POISON, topic};
use crate::clock::Clock;
use crate::format::formatted;
use crate::mutant::Mutant;
use crate::network::Network;
use crate::operator::{Operator, RELAY};
use crate::plan::{Feed, Plan, RoutePlan};
use crate::postgres::{Registry, SnapshotOutbox};
use crate::process::{Process, Window, Writes};
use crate::trace::Trace;

/// How long a healed world may take to come to rest, on the pretended clock: I5.
const HEALING: Duration = Duration::from_secs(3_600);

/// What makes of a seed that of the clocks.
const CLOCKS: u64 = 0x6c6f_636b_735f_5f5f;

/// The same of the database's crashes: in one seed of so many it crashes at all, and then in so many rounds of a hundred.
const CRASHES: u64 = 0x6372_6173_6865_735f;
const CRASHING_SEEDS: u32 = 3;
const CRASHES_PERCENT: u32 = 4;

/// The same of the formats of routes.
const FORMATS: u64 = 0x666f_726d_6174_735f;

/// Most groups of lanes.
const GROUPS: u32 = 3;

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The checker's word.
    pub verdict: Verdict,
    /// How long it took on the pretended clock.
    pub time: Duration,
    /// The hash of the story, and its lines.
    pub story: (u64, u64),
}

/// A broken promise.
#[derive(Debug)]
pub struct Violation {
    /// The seed that shows it.
    pub seed: u64,
    /// What is broken, in words.
    pub words: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "seed {}: {}", self.seed, self.words)
    }
}

/// Runs a seed to its end, alone on this thread.
///
/// # Errors
/// What of the promise is broken.
pub fn run(seed: u64, mutant: Option<Mutant>, trace: &Trace) -> Result<Outcome, Violation> {
    // The engine draws its jitter from the thread's own generator.
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing");
    runtime.block_on(async {
        let mut world = World::new(seed, mutant, trace);
        world.suffer().await;
        let healed = world.heal().await;
        let verdict = world.judge().await;
        let words = match healed {
            Err(words) => words,
            Ok(()) if !verdict.holds() => verdict.to_string(),
            Ok(()) if world.writes.unfenced().is_some() => {
                format!("a zombie wrote: {}", world.writes.unfenced().unwrap_or_default())
            }
            Ok(()) => match world.operator.not_replayed() {
                Some(words) => words,
                None => {
                    return Ok(Outcome {
                        seed,
                        verdict,
                        time: world.began.elapsed(),
                        story: trace.sum(),
                    });
                }
            },
        };
        Err(Violation { seed, words })
    })
}

struct World {
    plan: Plan,
    random: fastrand::Rng,
    trace: Trace,
    mutant: Option<Mutant>,
    began: Instant,
    database: MemoryDatabase,
    registry: Registry,
    application: Application,
    operator: Operator,
    brokers: Vec<MemoryBroker>,
    networks: Vec<Network>,
    processes: Vec<Process>,
    /// Into how many groups of lanes a process cuts the key space that starts now, and where that comes from: a generator of its own,
    /// so that what else befalls a seed does not depend on it.
    groups: u32,
    layouts: fastrand::Rng,
    /// Where the clocks of processes come from: a generator of its own for the same reason.
    clocks: fastrand::Rng,
    /// Whether and when the database crashes, and what is lost then.
    crashes: fastrand::Rng,
    crashes_at_all: bool,
    /// Whether brokers refuse poison; a mended one takes it.
    refusing: Arc<AtomicBool>,
    writes: Writes,
}

impl World {
    fn new(seed: u64, mutant: Option<Mutant>, trace: &Trace) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut layouts = fastrand::Rng::with_seed(seed ^ u64::MAX);
        let mut crashes = fastrand::Rng::with_seed(seed ^ CRASHES);
        let plan = Plan::of(&mut random);
        trace.note(format_args!("{plan:?}"));
        let database = MemoryDatabase::new();
        if plan.segment > 0 {
            database.empty_by(plan.segment);
        }
        if let Some(mutant) = mutant {
            mutant.database(&database);
        }
        let (refusing, writes) = (Arc::new(AtomicBool::new(true)), Writes::new(&database));
        let brokers: Vec<MemoryBroker> = plan
            .routes
            .iter()
            .map(|route| broker(route, &refusing, trace))
            .collect();
        let mut formats = fastrand::Rng::with_seed(seed ^ FORMATS);
        let through_network = |broker: &MemoryBroker| {
            let mut network = Network::new(broker.connector(), plan.network_faults, random.u64(..));
            if formats.bool() {
                network.connector = formatted(network.connector, &refusing);
            }
            network
        };
        let networks = brokers.iter().map(through_network).collect();
        Self {
            application: Application::new(&database, trace, &plan, random.u64(..)),
            operator: Operator::new(&database, &brokers, trace, random.u64(..)),
            processes: (0..plan.processes)
                .map(|number| Process::new(number, trace, &writes))
                .collect(),
            groups: layouts.u32(1..=GROUPS),
            layouts,
            clocks: fastrand::Rng::with_seed(seed ^ CLOCKS),
            crashes_at_all: crashes.u32(0..CRASHING_SEEDS) == 0,
            crashes,
            plan,
            random,
            trace: trace.clone(),
            mutant,
            began: Instant::now(),
            database,
            registry: Registry::default(),
            brokers,
            networks,
            refusing,
            writes,
        }
    }

    async fn suffer(&mut self) {
        let routes: Vec<String> = self.plan.routes.iter().map(|route| route.name.clone()).collect();
        for number in 0..self.processes.len() {
            self.start(number);
        }
        for _ in 0..self.plan.rounds {
            self.application.write().await;
            if self.random.u32(0..100) < self.plan.misfortunes {
                self.misfortune().await;
            }
            if self.random.u32(0..100) < self.plan.operators {
                let mut keys: Vec<String> = self.application.keys().into_iter().cloned().collect();
                keys.sort();
                self.operator.act(&routes, &keys).await;
                if self.layouts.u32(0..5) == 0 {
                    self.change_layout().await;
                }
            }
            let pause = Duration::from_millis(self.random.u64(0..2_000));
            sleep(pause).await;
            if self.crashes_at_all && self.crashes.u32(0..100) < CRASHES_PERCENT {
                self.crash();
            }
        }
        self.application.finish();
    }

    async fn misfortune(&mut self) {
        let number = self.random.usize(0..self.processes.len());
        let broker = self.random.usize(0..self.brokers.len());
        match self.random.u32(0..14) {
            0 | 1 if self.processes[number].runs() => self.processes[number].kill(),
            0..=3 if !self.processes[number].runs() => self.start(number),
            2 => self.processes[number].freeze(true),
            3 | 4 => self.processes.iter().for_each(|process| process.freeze(false)),
            5 if self.processes[number].thawed() => {
                // A refusal to go on is no bug of a run in which the lease was given to somebody else.
                let _fenced = self.processes[number].stop().await;
            }
            6 => {
                self.trace.note(format_args!("broker {broker} stops"));
                self.brokers[broker].stop();
            }
            7 | 8 => {
                self.trace.note(format_args!("broker {broker} starts"));
                self.brokers[broker].start();
            }
            9 => self.brokers[broker].lose_replies(self.random.bool()),
            10 => self.database.set_faults(self.plan.database_faults, self.random.u64(..)),
            11 => self.database.set_faults(0, 0),
            12 => {
                self.trace.note(format_args!("every lease runs out"));
                self.database.expire_leases();
            }
            13 => {
                self.trace.note(format_args!("the slot is lost"));
                self.database.lose_slots();
            }
            _ => {}
        }
    }

    fn crash(&mut self) {
        let lost = self.database.crash(&mut self.crashes);
        self.trace.note(format_args!(
            "the database crashes, and {lost} records of progress are gone"
        ));
    }

    /// An operator sets another number of groups and restarts the processes one after the other, some of them the hard way.
    async fn change_layout(&mut self) {
        self.groups = self.layouts.u32(1..=GROUPS);
        self.trace
            .note(format_args!("operator: {} groups from now on", self.groups));
        for number in 0..self.processes.len() {
            if !self.processes[number].runs() || self.layouts.u32(0..4) == 0 {
                continue;
            }
            match self.layouts.bool() {
                true => self.processes[number].kill(),
                false => {
                    let _fenced = self.processes[number].stop().await;
                }
            }
            self.start(number);
            sleep(Duration::from_millis(self.layouts.u64(0..3_000))).await;
        }
    }

    fn start(&mut self, number: usize) {
        let (plan, mutant, groups) = (&self.plan, self.mutant, self.groups);
        let (database, networks) = ((&self.database, &self.registry), &self.networks);
        let clock = Clock::of(&mut self.clocks);
        self.processes[number].start(clock, |holder, window| Relay {
            groups,
            ..relay(plan, mutant, holder, window, database, networks)
        });
    }

    /// Ends everything that is wrong, and waits until the world has come to rest.
    async fn heal(&mut self) -> Result<(), String> {
        self.trace.note(format_args!("the world is healed"));
        self.database.set_faults(0, 0);
        for (network, broker) in self.networks.iter().zip(&self.brokers) {
            network.heal();
            broker.lose_replies(false);
            broker.start();
        }
        self.refusing.store(false, Ordering::Relaxed);
        for number in 0..self.processes.len() {
            self.processes[number].freeze(false);
            if !self.processes[number].runs() {
                self.start(number);
            }
        }
        let deadline = Instant::now() + HEALING;
        while !self.is_at_rest().await {
            if Instant::now() > deadline {
                let status = self.database.status().await;
                return Err(format!(
                    "I5: not at rest {HEALING:?} after everything healed: {status:?}"
                ));
            }
            self.operator.mend().await;
            sleep(Duration::from_millis(500)).await;
        }
        for process in &mut self.processes {
            let stopped = process.stop().await;
            stopped.map_err(|error| format!("a relay ended with {error} although everything is well"))?;
        }
        Ok(())
    }

    async fn is_at_rest(&self) -> bool {
        let Ok(status) = self.database.status().await else {
            return false;
        };
        let settled = status.routes.iter().all(|route| route.unsettled == Some(0));
        let replayed = status.replays.iter().all(|replay| replay.left == Some(0));
        // The topic that no route takes is parked under a name of its own, for good.
        let parked = self.parked().await;
        let aside = parked
            .iter()
            .any(|(_, route)| route != onewrite_core::routing::UNROUTED);
        settled && replayed && !status.routes.is_empty() && !aside
    }

    /// Events set aside, and the routes under which they are.
    async fn parked(&self) -> Vec<(Uuid, String)> {
        let parked = self.database.parked(&ParkedFilter::default()).await;
        let parked = parked.unwrap_or_default().into_iter();
        parked.map(|parked| (parked.event_id, parked.route)).collect()
    }

    async fn judge(&self) -> Verdict {
        let mut parked: HashSet<Uuid> = self.parked().await.into_iter().map(|(id, _)| id).collect();
        parked.extend(&self.operator.skipped);
        // Where a key goes on past what is set aside, the place of that says nothing any more.
        let goes_on = |name: &str| {
            let mut routes = self.plan.routes.iter();
            routes.any(|route| route.name == name && route.behaviour.on_poison != OnPoison::BlockKey)
        };
        let passed_over = self.writes.aside_under(goes_on);
        self.application.ledger.judge(&Found {
            deliveries: self.brokers.iter().flat_map(MemoryBroker::ids).collect(),
            ever_parked: parked.union(&passed_over).copied().collect(),
            parked,
            effects: None,
        })
    }
}

fn broker(route: &RoutePlan, refusing: &Arc<AtomicBool>, trace: &Trace) -> MemoryBroker {
    let broker = MemoryBroker::new();
    broker.slow_down(route.pause);
    let (name, refusing, trace) = (route.name.clone(), refusing.clone(), trace.clone());
    broker.refuse(move |event| {
        let refused = event.payload == POISON && refusing.load(Ordering::Relaxed);
        let word = if refused { "refuses" } else { "keeps" };
        trace.note(format_args!("broker of {name} {word} {}", event.id.as_u128()));
        refused.then(|| "the broker refuses it for good".to_owned())
    });
    broker
}

fn relay(
    plan: &Plan,
    mutant: Option<Mutant>,
    holder: &str,
    window: &Window,
    database: (&MemoryDatabase, &Registry),
    networks: &[Network],
) -> Relay {
    let mut outbox: Arc<dyn Outbox> = match plan.feed {
        Feed::Counts => Arc::new(database.0.clone()),
        feed => {
            let bug = mutant.and_then(Mutant::feed);
            Arc::new(SnapshotOutbox::new(database, window, feed == Feed::FollowsLog, bug))
        }
    };
    if let Some(mutant) = mutant {
        outbox = mutant.outbox(outbox);
    }
    let route = |(number, route): (usize, &RoutePlan)| {
        let mut connector: Arc<dyn SinkConnector> = networks[number].connector.clone();
        if let Some(mutant) = mutant {
            connector = mutant.connector(connector);
        }
        Route {
            name: route.name.clone(),
            wanted: Match {
                topic: Some(Pattern::new(topic(number))),
                event_type: None,
            },
            connector: window.connector(connector),
            behaviour: timed(&route.behaviour, window.clock()),
        }
    };
    let routes = plan.routes.iter().enumerate().map(route).collect();
    let mut relay = Relay::new(RELAY, holder, routes, window.outbox(outbox));
    relay.lease_ttl = window.clock().lasts(plan.lease);
    relay
}

/// A behaviour with the times that a clock gives it.
fn timed(behaviour: &RouteBehaviour, clock: Clock) -> RouteBehaviour {
    let Backoff { first, max } = behaviour.backoff;
    RouteBehaviour {
        delivery_timeout: clock.lasts(behaviour.delivery_timeout),
        backoff: Backoff {
            first: clock.lasts(first),
            max: clock.lasts(max),
        },
        ..behaviour.clone()
    }
}
