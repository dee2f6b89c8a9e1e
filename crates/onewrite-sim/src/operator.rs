//! An operator at work while everything runs, and what it gave up on purpose.

use std::collections::HashSet;

use onewrite_core::Operations;
use onewrite_core::store::{ParkedFilter, ReplayRequest};
use onewrite_testkit::memory::MemoryDatabase;
use uuid::Uuid;

use crate::trace::Trace;

/// The relay's name.
pub const RELAY: &str = "simulated";

/// Somebody with the on-call commands.
pub struct Operator {
    database: MemoryDatabase,
    trace: Trace,
    random: fastrand::Rng,
    /// Events that were given up: neither lost nor out of order.
    pub skipped: HashSet<Uuid>,
}

impl Operator {
    pub fn new(database: &MemoryDatabase, trace: &Trace, seed: u64) -> Self {
        Self {
            database: database.clone(),
            trace: trace.clone(),
            random: fastrand::Rng::with_seed(seed),
            skipped: HashSet::new(),
        }
    }

    /// Does something; a call that fails is one that a person would make again later.
    pub async fn act(&mut self, routes: &[String], keys: &[String]) {
        let route = &routes[self.random.usize(0..routes.len())];
        match self.random.u32(0..10) {
            0 => self.pause(Some(route), true).await,
            1..=3 => self.pause(None, false).await,
            4..=6 => self.retry(route).await,
            7 => self.skip(route).await,
            _ => self.replay(route, keys).await,
        }
    }

    /// Lets every route go on, and has everything that is set aside tried again.
    pub async fn mend(&mut self) {
        self.pause(None, false).await;
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
        let done = self.database.retry(&filter).await;
        self.trace.note(format_args!("operator: retry on {route}: {done:?}"));
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

    async fn replay(&mut self, route: &str, keys: &[String]) {
        if keys.is_empty() {
            return;
        }
        let request = ReplayRequest {
            relay: RELAY.to_owned(),
            route: route.to_owned(),
            key: Some(keys[self.random.usize(0..keys.len())].clone()),
            ..ReplayRequest::default()
        };
        let done = self.database.replay(&request).await;
        self.trace
            .note(format_args!("operator: replay on {route}: {}", done.is_ok()));
    }
}
