//! An operator at work while everything runs, and what it gave up on purpose.

use std::collections::HashSet;
use std::time::Duration;

use onewrite_core::Operations;
use onewrite_core::event::headers_to_json;
use onewrite_core::store::{ParkedEdit, ParkedFilter, ReplayRequest};
use onewrite_testkit::memory::{MemoryBroker, MemoryDatabase};
use tokio::time::sleep;
use uuid::Uuid;

use crate::trace::Trace;

/// What makes of a seed that of what is mended.
const MENDING: u64 = 0x6d65_6e64_696e_675f;

/// The relay's name.
pub const RELAY: &str = "simulated";

/// Somebody with the on-call commands.
pub struct Operator {
    database: MemoryDatabase,
    trace: Trace,
    random: fastrand::Rng,
    /// Whether rows are mended before a retry: a generator of its own, so that what else befalls a seed does not depend on it.
    mending: fastrand::Rng,
    /// The brokers, in the order of the routes.
    brokers: Vec<MemoryBroker>,
    owed: Vec<Owed>,
    /// Events that were given up: neither lost nor out of order.
    pub skipped: HashSet<Uuid>,
}

/// What a replay that was asked for has to bring.
struct Owed {
    /// The route, by its number.
    route: usize,
    /// What the broker had of the key.
    ids: HashSet<Uuid>,
    /// How many deliveries there were before.
    before: usize,
}

impl Operator {
    pub fn new(database: &MemoryDatabase, brokers: &[MemoryBroker], trace: &Trace, seed: u64) -> Self {
        Self {
            database: database.clone(),
            trace: trace.clone(),
            random: fastrand::Rng::with_seed(seed),
            mending: fastrand::Rng::with_seed(seed ^ MENDING),
            brokers: brokers.to_vec(),
            owed: Vec::new(),
            skipped: HashSet::new(),
        }
    }

    /// Does something; a call that fails is one that a person would make again later.
    pub async fn act(&mut self, routes: &[String], keys: &[String]) {
        let number = self.random.usize(0..routes.len());
        let route = &routes[number];
        match self.random.u32(0..10) {
            0 => self.pause(Some(route), true).await,
            1..=3 => self.pause(None, false).await,
            4..=6 => self.retry(route).await,
            7 => self.skip(route).await,
            _ => self.replay(number, route, keys).await,
        }
    }

    /// Lets every route go on, and has everything that is set aside tried again.
    pub async fn mend(&mut self) {
        self.pause(None, false).await;
        self.mend_rows(&ParkedFilter::default()).await;
        let _again = self.database.retry(&ParkedFilter::default()).await;
    }

    async fn pause(&mut self, route: Option<&String>, paused: bool) {
        let done = self.database.set_paused(RELAY, route.map(String::as_str), paused).await;
        self.trace
            .note(format_args!("operator: paused = {paused} for {route:?}: {done:?}"));
    }

    async fn retry(&mut self, route: &str) {
        let filter = ParkedFilter {
            route: Some(route.to_owned()),
            ..ParkedFilter::default()
        };
        if self.mending.bool() {
            self.mend_rows(&filter).await;
        }
        let done = self.database.retry(&filter).await;
        self.trace.note(format_args!("operator: retry on {route}: {done:?}"));
    }

    /// Makes valid events of what is parked and none; what is only held has its turn.
    async fn mend_rows(&self, filter: &ParkedFilter) {
        let parked = self.database.parked(filter).await.unwrap_or_default();
        for parked in parked {
            if parked.state == "parked" && !parked.headers.is_object() {
                let edit = ParkedEdit {
                    headers: Some(headers_to_json(&[])),
                    ..ParkedEdit::default()
                };
                let done = self.database.edit(parked.id, &edit).await;
                self.trace.note(format_args!(
                    "operator: edit of {}: {done:?}",
                    parked.event_id.as_u128()
                ));
            }
        }
    }

    async fn skip(&mut self, route: &str) {
        let filter = ParkedFilter {
            route: Some(route.to_owned()),
            limit: Some(2),
            ..ParkedFilter::default()
        };
        // Whether or not the reply is lost: what may have been given up is no longer asked for.
        let Ok(parked) = self.database.parked(&filter).await else {
            return;
        };
        let ids: Vec<i64> = parked.iter().map(|parked| parked.id).collect();
        if ids.is_empty() {
            return;
        }
        self.skipped.extend(parked.iter().map(|parked| parked.event_id));
        let skipped = self
            .database
            .skip(&ParkedFilter {
                ids,
                ..ParkedFilter::default()
            })
            .await;
        self.trace
            .note(format_args!("operator: skip on {route}: {}", skipped.is_ok()));
    }

    /// An event that a replay owed and did not bring, in words. What was given up meanwhile is not owed any more.
    pub fn not_replayed(&self) -> Option<String> {
        self.owed.iter().find_map(|owed| {
            let deliveries = self.brokers[owed.route].ids();
            let again: HashSet<&Uuid> = deliveries[owed.before..].iter().collect();
            let mut missing = owed
                .ids
                .iter()
                .filter(|id| !again.contains(id) && !self.skipped.contains(id));
            missing.next().map(|id| {
                let (route, before) = (owed.route, owed.before);
                format!(
                    "event {} was not replayed on route {route} after delivery {before}",
                    id.as_u128()
                )
            })
        })
    }

    async fn replay(&mut self, number: usize, route: &str, keys: &[String]) {
        if keys.is_empty() {
            return;
        }
        let picked = self.random.usize(0..keys.len());
        // In the middle of deliveries, and every other time of the key that arrived last: most likely nobody has recorded that yet.
        sleep(Duration::from_millis(picked as u64 % 50)).await;
        let last = self.brokers[number].log().pop().and_then(|event| event.key);
        let key = match last.as_deref() {
            Some(last) if picked.is_multiple_of(2) => last,
            _ => &keys[picked],
        };
        let request = ReplayRequest {
            relay: RELAY.to_owned(),
            route: route.to_owned(),
            key: Some(key.to_owned()),
            ..ReplayRequest::default()
        };
        let done = self.database.replay(&request).await;
        if done.is_ok() {
            // Nothing comes between the request and this look: it was the last thing that the call did.
            let deliveries = self.brokers[number].log();
            let of_key = deliveries.iter().filter(|event| event.key.as_deref() == Some(key));
            self.owed.push(Owed {
                route: number,
                // What is no longer in the outbox cannot come again.
                ids: of_key
                    .map(|event| event.id)
                    .filter(|id| self.database.has_event(*id))
                    .collect(),
                before: deliveries.len(),
            });
        }
        self.trace
            .note(format_args!("operator: replay on {route}: {}", done.is_ok()));
    }
}
