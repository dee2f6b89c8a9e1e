//! Applications that write, and the book of what they did.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use onewrite::Event;
use onewrite_core::machine::OnPoison;
use onewrite_core::promise::Ledger;
use onewrite_testkit::memory::{MemoryDatabase, MemoryTransaction, PlainRow};
use tokio::time::sleep;
use uuid::Uuid;

use crate::plan::Plan;
use crate::trace::Trace;

/// The payload of poison.
pub const POISON: &str = "poison";

/// What makes of a seed that of the rows that are no valid event.
const BAD_ROWS: u64 = 0x626f_7773_5f5f_5f5f;

/// Writers, all driven by one task: a key that an open transaction has locked is left alone, since waiting for it would be for
/// ever.
pub struct Application {
    database: MemoryDatabase,
    trace: Trace,
    plan: Plan,
    random: fastrand::Rng,
    /// Which rows are no valid event: a generator of its own, so that what else befalls a seed does not depend on it.
    bad_rows: fastrand::Rng,
    open: Vec<Open>,
    ids: u128,
    /// Of each key, the number of its last committed event.
    numbers: HashMap<String, u64>,
    /// What became of the transactions.
    pub ledger: Ledger,
}

struct Open {
    transaction: MemoryTransaction,
    events: Vec<Event>,
    rounds_left: u32,
    /// Its commit is in the log, and nobody sees it yet: it waits for a standby.
    logged: bool,
}

impl Application {
    pub fn new(database: &MemoryDatabase, trace: &Trace, plan: &Plan, seed: u64) -> Self {
        Self {
            database: database.clone(),
            trace: trace.clone(),
            plan: plan.clone(),
            random: fastrand::Rng::with_seed(seed),
            bad_rows: fastrand::Rng::with_seed(seed ^ BAD_ROWS),
            open: Vec::new(),
            ids: 0,
            numbers: HashMap::new(),
            ledger: Ledger::default(),
        }
    }

    /// Begins some transactions, and ends some.
    pub async fn write(&mut self) {
        for _ in 0..self.random.usize(0..6) {
            self.pause().await;
            self.begin().await;
        }
        let mut at = 0;
        while at < self.open.len() {
            let open = &mut self.open[at];
            let ends = open.rounds_left == 0;
            if ends && !open.logged && self.random.u32(0..8) == 0 {
                open.transaction.log();
                (open.logged, open.rounds_left) = (true, self.random.u32(0..4));
            } else if ends {
                let open = self.open.swap_remove(at);
                self.end(open);
            } else {
                open.rounds_left -= 1;
                at += 1;
            }
        }
    }

    /// Ends everything that is open.
    pub fn finish(&mut self) {
        for open in std::mem::take(&mut self.open) {
            self.end(open);
        }
    }

    /// Relays act between two transactions, or they do not.
    async fn pause(&mut self) {
        if self.random.bool() {
            sleep(Duration::from_millis(self.random.u64(0..40))).await;
        }
    }

    async fn begin(&mut self) {
        let mut transaction = self.database.begin();
        let mut events = Vec::new();
        for _ in 0..self.random.usize(1..6) {
            if let Some(event) = self.event() {
                events.push(event);
            }
        }
        for event in &events {
            if self.is_bad(event) {
                self.trace
                    .note(format_args!("application: {} is no valid event", event.id.as_u128()));
                transaction.insert(PlainRow {
                    headers: "no object".into(),
                    ..PlainRow::from(event)
                });
            } else {
                // Where keys are, the locks of `append` draw the sequence under the key's lock.
                transaction.append(std::slice::from_ref(event)).await;
            }
        }
        let long = self.random.u32(0..100) < self.plan.long;
        let rounds_left = if long {
            self.random.u32(1..15)
        } else {
            self.random.u32(0..2)
        };
        self.open.push(Open {
            transaction,
            events,
            rounds_left,
            logged: false,
        });
    }

    fn event(&mut self) -> Option<Event> {
        let topic = topic(self.random.usize(0..self.plan.routes.len() + 1));
        let key = (self.random.u32(0..10) > 0).then(|| format!("{topic}/{}", self.random.u32(0..self.plan.keys)));
        if key.as_ref().is_some_and(|key| self.is_locked(key)) {
            return None;
        }
        let poison = self.random.u32(0..1_000) < self.plan.poison;
        let body = if poison {
            POISON.to_owned()
        } else {
            "x".repeat(self.random.usize(0..40))
        };
        self.ids += 1;
        let mut event = Event::new(topic, body);
        event.id = Uuid::from_u128(self.ids);
        event.key = key;
        Some(event)
    }

    /// Whether its row is to be one that a program wrote past every check. A route that halts there could never go on, since
    /// only what is set aside can be mended.
    fn is_bad(&mut self, event: &Event) -> bool {
        let mut routes = self.plan.routes.iter().enumerate();
        let route = routes.find(|(number, _)| event.topic == topic(*number));
        route.is_some_and(|(_, route)| route.behaviour.on_poison != OnPoison::Halt)
            && self.bad_rows.u32(0..1_000) < self.plan.poison
    }

    fn is_locked(&self, key: &String) -> bool {
        let mut events = self.open.iter().flat_map(|open| &open.events);
        events.any(|event| event.key.as_ref() == Some(key))
    }

    fn end(&mut self, open: Open) {
        if !open.logged && self.random.u32(0..100) < self.plan.rolled_back {
            open.transaction.rollback();
            open.events.iter().for_each(|event| self.ledger.rolled_back(event.id));
            return;
        }
        open.transaction.commit();
        for event in &open.events {
            let place = event.key.clone().map(|key| {
                let number = self.numbers.entry(key.clone()).or_default();
                *number += 1;
                (key, *number)
            });
            let (id, poison) = (event.id.as_u128(), event.payload == POISON);
            self.trace
                .note(format_args!("application commits {id}, poison {poison}, {place:?}"));
            self.ledger.committed(event.id, place);
        }
    }

    /// The keys that were ever written, for operators.
    pub fn keys(&self) -> HashSet<&String> {
        self.numbers.keys().collect()
    }
}

/// The topic of a route.
pub fn topic(route: usize) -> String {
    format!("topic-{route}")
}
