//! Between the one reader of the log and the routes: what waits for each route, and how far the server may forget the log.
//!
//! The reader pushes each event to the route that takes it, and waits where that has no room. A route that opens anew makes the
//! reader begin anew, from the slot: the others skip what they were given before. The slot stands at or below the first event that is
//! not recorded as settled by its route; of a route that is not there at present, at or below where it was when it went or failed.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use onewrite_core::error::chain;
use onewrite_core::routing::Share;
use onewrite_core::{BatchLimit, Position, Sourced, StoreError, StoreFailure};
use tokio::sync::{Notify, futures::Notified};

use super::super::limits::WAITING_BYTES;
use super::super::progress::Progress;

/// The number of a message that is no part of a transaction, whose place is by where it ends. Within transactions numbers begin
/// behind it.
pub(super) const ALONE: u64 = 0;

/// What the reader and the routes of one lease share.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    state: Mutex<State>,
    /// Something changed that the reader may wait for.
    changed: Notify,
    /// The reader got further.
    passed: Notify,
}

#[derive(Debug, Default)]
struct State {
    routes: BTreeMap<u64, Route>,
    numbers: u64,
    /// What the slot must not pass for routes that are not there, by their names.
    floors: HashMap<String, u64>,
    /// How often the stream was begun.
    run: u64,
    /// Every commit before this position in the log has been looked at in this run.
    position: u64,
    /// Whether the stream is to begin anew.
    restart: bool,
    /// Whether the reader waits for room.
    is_blocked: bool,
    /// Whether another holder of the lease took the hub's place.
    is_over: bool,
    /// Whether somebody reads the log.
    is_read: bool,
}

/// A route while its source is open.
#[derive(Debug)]
struct Route {
    share: Share,
    progress: Progress,
    /// The first run that brings it everything.
    since: u64,
    /// The last position that it was given.
    given: Option<Position>,
    waiting: VecDeque<Sourced>,
    bytes: usize,
    /// Given, and not recorded as settled; with where the log has to be read from so that it comes again.
    unsettled: BTreeMap<Position, u64>,
    failure: Option<(StoreFailure, String)>,
    came: Arc<Notify>,
}

/// A route's end of the hub. Dropping it takes the route away.
#[derive(Debug)]
pub(super) struct Subscription {
    hub: Arc<Hub>,
    number: u64,
    came: Arc<Notify>,
}

/// How a route stands.
#[derive(Debug)]
pub(super) enum Standing {
    /// So many events can be taken.
    Ready(usize),
    /// Nothing waits.
    Empty,
    /// The stream ended, or another holder took over.
    Failed(StoreFailure, String),
}

/// Why the reader should stop to push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interrupt {
    /// The stream is to begin anew.
    Restart,
    /// Nobody is there any more.
    Nobody,
}

impl Hub {
    /// A hub whose slot stays where it is until every one of these routes has been there.
    pub fn new(shares: &[Share]) -> Self {
        let hub = Self::default();
        hub.state().floors = shares.iter().map(|share| (share.route.clone(), 0)).collect();
        hub
    }

    /// Ends it: another holder of the lease takes its place.
    pub fn end(&self) {
        let mut state = self.state();
        state.is_over = true;
        state.fail(StoreFailure::Unavailable, "another holder of the lease reads the log");
        drop(state);
        self.changed.notify_one();
    }

    /// Adds a route, from its recorded progress on.
    pub(super) fn subscribe(self: &Arc<Self>, share: &Share, progress: Progress) -> Subscription {
        let came = Arc::new(Notify::new());
        let mut state = self.state();
        let number = state.numbers;
        state.numbers += 1;
        state.restart = true;
        let since = state.run + 1;
        let mut route = Route {
            share: share.clone(),
            progress,
            since,
            given: None,
            waiting: VecDeque::new(),
            bytes: 0,
            unsettled: BTreeMap::new(),
            failure: None,
            came: came.clone(),
        };
        if state.is_over {
            route.failure = Some((
                StoreFailure::Unavailable,
                "another holder of the lease reads the log".to_owned(),
            ));
        }
        state.routes.insert(number, route);
        drop(state);
        self.changed.notify_one();
        Subscription {
            hub: self.clone(),
            number,
            came,
        }
    }

    /// Whether somebody should begin to read, who then counts as the reader.
    pub(super) fn claim(&self) -> bool {
        !std::mem::replace(&mut self.state().is_read, true)
    }

    /// Ends the reading unless somebody has come meanwhile; tells whether it ended.
    pub(super) fn leave(&self) -> bool {
        let mut state = self.state();
        state.is_read = state.interrupt() != Some(Interrupt::Nobody);
        !state.is_read
    }

    /// Begins a run; everybody who is there is a part of it.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        state.run += 1;
        state.position = 0;
        state.restart = false;
        state.is_blocked = false;
    }

    /// Whether every route is there that was adopted.
    pub(super) fn is_complete(&self) -> bool {
        let state = self.state();
        state.floors.keys().all(|name| state.is_there(name))
    }

    /// Whether the reader should do something else.
    pub(super) fn interrupt(&self) -> Option<Interrupt> {
        self.state().interrupt()
    }

    /// Becomes ready when something changed.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Notes that everything before this position has been looked at.
    pub(super) fn reached(&self, position: u64) {
        let mut state = self.state();
        state.position = state.position.max(position);
        drop(state);
        self.passed.notify_waiters();
    }

    /// Gives an event to whoever takes it; `false` when that has no room now. One that is no part of a transaction is looked at with
    /// that; of others their commit's end is [reached](Self::reached).
    pub(super) fn push(&self, sourced: &Sourced) -> bool {
        let state = &mut *self.state();
        let position = sourced.position;
        let is_alone = position.sequence == ALONE;
        // A transaction comes again where its commit begins, which is its place. A message alone comes again from where it begins,
        // which is not told: it is behind all that was looked at before.
        let from = if is_alone { state.position } else { position.generation };
        let (topic, event_type) = (&*sourced.event.topic, sourced.event.event_type.as_deref());
        let takes = |route: &Route| {
            let is_new = Some(position) > route.given && !route.progress.is_settled(position);
            is_new && route.failure.is_none() && route.share.takes(topic, event_type)
        };
        let weight = sourced.event.weight();
        let mut takers = state.routes.values_mut().filter(|route| takes(route));
        let has_room = |route: &Route| route.waiting.is_empty() || route.bytes + weight <= WAITING_BYTES;
        state.is_blocked = !takers.all(|route| {
            let fits = has_room(route);
            if fits {
                route.give(sourced, from, weight);
            }
            fits
        });
        if is_alone && !state.is_blocked {
            // Not one further: the next commit can begin where it ends.
            state.position = state.position.max(position.generation);
        }
        if is_alone || state.is_blocked {
            self.passed.notify_waiters();
        }
        !state.is_blocked
    }

    /// How far the server may forget the log.
    pub(super) fn low(&self) -> u64 {
        let state = self.state();
        let gone = state
            .floors
            .iter()
            .filter(|(name, _)| !state.is_there(name))
            .map(|(_, floor)| *floor);
        let there = state.live().map(|route| route.low(&state));
        gone.chain(there).min().unwrap_or_default()
    }

    /// Tells every route that the stream ended, and nobody reads any more.
    pub(super) fn fail(&self, error: &StoreError) {
        let mut state = self.state();
        state.is_read = false;
        state.fail(error.failure, &chain(error));
        self.passed.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn interrupt(&self) -> Option<Interrupt> {
        match self.live().next() {
            None => Some(Interrupt::Nobody),
            Some(_) => self.restart.then_some(Interrupt::Restart),
        }
    }

    /// The routes that are given what comes. One that failed is told so and goes then; until it is back it has no part in anything.
    fn live(&self) -> impl Iterator<Item = &Route> {
        self.routes.values().filter(|route| route.failure.is_none())
    }

    fn is_there(&self, name: &str) -> bool {
        self.live().any(|route| route.share.route == *name)
    }

    fn fail(&mut self, failure: StoreFailure, words: &str) {
        // What comes from now on passes them by.
        let floors: Vec<_> = self
            .live()
            .map(|route| (route.share.route.clone(), route.low(self)))
            .collect();
        self.floors.extend(floors);
        for route in self.routes.values_mut() {
            route.failure.get_or_insert_with(|| (failure, words.to_owned()));
            route.came.notify_one();
        }
    }
}

impl Route {
    fn give(&mut self, sourced: &Sourced, from: u64, weight: usize) {
        self.given = Some(sourced.position);
        self.unsettled.insert(sourced.position, from);
        self.waiting.push_back(sourced.clone());
        self.bytes += weight;
        self.came.notify_one();
    }

    fn recorded(&mut self, progress: &Progress) {
        let Some(through) = progress.through else { return };
        let beyond = Position::new(through.generation, through.sequence + 1);
        let later = self.unsettled.split_off(&beyond);
        // What was pending before this source and it has not come to yet is no concern of its.
        self.unsettled.retain(|position, _| progress.pending.contains(position));
        self.unsettled.extend(later);
    }

    /// Everything of it before this position in the log is recorded as settled.
    fn low(&self, state: &State) -> u64 {
        // None of a later place has to be read from further before.
        let unsettled = self.unsettled.first_key_value().map(|(_, from)| *from);
        let looked_at = match self.since <= state.run {
            true => state.position,
            // What lies before its own run is unknown to it.
            false => state.floors.get(&self.share.route).copied().unwrap_or_default(),
        };
        unsettled.map_or(looked_at, |first| first.min(looked_at))
    }
}

impl Subscription {
    /// How the route stands, for somebody with room for so much.
    pub fn standing(&self, limit: BatchLimit) -> Standing {
        let state = self.hub.state();
        let route = &state.routes[&self.number];
        if let Some((failure, words)) = &route.failure {
            return Standing::Failed(*failure, words.clone());
        }
        let mut bytes = 0;
        let within = route.waiting.iter().take(limit.events.max(1)).take_while(|sourced| {
            let fits = bytes < limit.bytes.max(1);
            bytes += sourced.event.payload.len();
            fits
        });
        match within.count() {
            0 => Standing::Empty,
            count => Standing::Ready(count),
        }
    }

    /// Whether more is about to come of what lies before this position in the log: not where the stream ended, and not while the
    /// reader waits for room.
    pub fn is_behind(&self, position: u64) -> bool {
        let state = self.hub.state();
        let route = &state.routes[&self.number];
        let is_read = state.position >= position && route.since <= state.run && !state.restart;
        !is_read && !state.is_blocked && route.failure.is_none()
    }

    /// Takes the first events that wait.
    pub fn take(&self, count: usize) -> Vec<Sourced> {
        let mut state = self.hub.state();
        let Some(route) = state.routes.get_mut(&self.number) else {
            return Vec::new();
        };
        let taken: Vec<Sourced> = route.waiting.drain(..count).collect();
        route.bytes -= taken.iter().map(|sourced| sourced.event.weight()).sum::<usize>();
        drop(state);
        self.hub.changed.notify_one();
        taken
    }

    /// Notes that progress is recorded.
    pub fn recorded(&self, progress: &Progress) {
        let mut state = self.hub.state();
        if let Some(route) = state.routes.get_mut(&self.number) {
            route.recorded(progress);
        }
        drop(state);
        self.hub.changed.notify_one();
    }

    /// Becomes ready when something came, or the stream ended.
    pub fn came(&self) -> Notified<'_> {
        self.came.notified()
    }

    /// Becomes ready when the reader got further.
    pub fn passed(&self) -> Notified<'_> {
        self.hub.passed.notified()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.hub.state();
        // Of one that failed it was noted then.
        if let Some(route) = (state.routes.get(&self.number)).filter(|route| route.failure.is_none()) {
            let (name, low) = (route.share.route.clone(), route.low(&state));
            state.floors.insert(name, low);
        }
        state.routes.remove(&self.number);
        drop(state);
        self.hub.changed.notify_one();
    }
}

#[cfg(test)]
mod tests;
