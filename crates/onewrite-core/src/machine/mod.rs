//! A route as a state machine without I/O: it is told what happened and says what to do next.
//!
//! The driver in `crate::route` carries the effects out on real sources and sinks; tests and simulations do it on
//! pretended ones. Time is a [`Duration`] since some beginning, given by the caller.

mod blocked;
mod delivery;
mod seat;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

pub use self::settings::{OnPoison, RouteBehaviour};

use self::blocked::BlockedKeys;
use self::delivery::Delivery;
use self::seat::{Seat, SeatState};
use crate::backoff::Breaker;
use crate::error::{SinkError, StoreError, StoreFailure, chain};
use crate::event::Event;
use crate::lanes::{Entry, Lanes, Ticket};
use crate::limits::{REDELIVERY_EVENTS, SETTLE_INTERVAL};
use crate::position::Settlement;
use crate::source::{BatchLimit, ParkReason, Parking, Sourced};
use crate::store::{RouteControl, RouteReport, RouteState};

/// The seat of the source that hands out new events.
pub const FEED: usize = 0;
/// The seat of the source that hands out what operators ask to be delivered again.
pub const REDELIVERIES: usize = 1;

/// What the driver is to do. Each is answered by a call of the method of the same matter.
#[derive(Debug)]
pub enum Effect {
    /// Open the source of a seat; answer with [`Machine::opened`].
    Open {
        /// The seat.
        seat: usize,
    },
    /// Read from the source of a seat; answer with [`Machine::read`].
    Read {
        /// The seat.
        seat: usize,
        /// How much there is room for.
        limit: BatchLimit,
    },
    /// Wait until reading is worthwhile; answer with [`Machine::waited`].
    Wait {
        /// The seat.
        seat: usize,
    },
    /// Stop waiting at once.
    CallBack {
        /// The seat.
        seat: usize,
    },
    /// Record a settlement; answer with [`Machine::settled`].
    Settle {
        /// The seat.
        seat: usize,
        /// What is settled.
        settlement: Settlement,
    },
    /// Park events; answer with [`Machine::parked`].
    Park {
        /// The seat.
        seat: usize,
        /// The events.
        events: Vec<Parking>,
    },
    /// Ask which keys still have events set aside; answer with [`Machine::blocked_keys`].
    AskBlockedKeys,
    /// Connect to the sink; answer with [`Machine::connected`].
    Connect,
    /// Close the sink; answer with [`Machine::closed`].
    CloseSink,
    /// Deliver events; answer with [`Machine::delivered`].
    Deliver {
        /// The number to answer with.
        delivery: usize,
        /// The events.
        events: Arc<Vec<Event>>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SinkState {
    Absent,
    Connecting,
    Ready,
    /// To be closed once nothing is under way on it.
    Retiring,
    Closing,
}

/// Why a route stands still until an operator resumes it.
#[derive(Debug)]
struct Halt {
    reason: String,
    recorded: bool,
}

/// A route.
pub struct Machine {
    route: String,
    behaviour: RouteBehaviour,
    seats: [Seat; 2],
    lanes: Lanes,
    deliveries: Slab<Delivery>,
    bytes_in_delivery: usize,
    sink: SinkState,
    breaker: Breaker,
    blocked: BlockedKeys,
    paused: bool,
    halted: Option<Halt>,
    stopping: bool,
    fenced: bool,
    delivered: u64,
    failed: u64,
    /// The latest error of the sink, or why the route halted; each seat has those of its source.
    last_error: Option<String>,
    random: fastrand::Rng,
}

impl Machine {
    /// A route that has done nothing yet. `blocked` are the keys that have events set aside; `seed` drives the jitter.
    pub fn new(route: impl Into<String>, behaviour: RouteBehaviour, blocked: Vec<Arc<str>>, seed: u64) -> Self {
        Self {
            route: route.into(),
            breaker: Breaker::new(behaviour.backoff, behaviour.breaker_threshold),
            behaviour,
            seats: [Seat::new(), Seat::new()],
            lanes: Lanes::default(),
            deliveries: Slab::new(),
            bytes_in_delivery: 0,
            sink: SinkState::Absent,
            blocked: BlockedKeys::new(blocked),
            paused: false,
            halted: None,
            stopping: false,
            fenced: false,
            delivered: 0,
            failed: 0,
            last_error: None,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// What to do now. Call it after everything told, and when [`next_wake`](Self::next_wake) has come.
    pub fn effects(&mut self, now: Duration) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.fenced {
            return effects;
        }
        self.lanes.wake(now);
        // First, since what turns out to be set aside on the way is to be parked.
        let mut deliveries = Vec::new();
        while self.may_deliver(now) {
            let Some(effect) = self.next_delivery(now) else { break };
            deliveries.push(effect);
        }
        for seat in [FEED, REDELIVERIES] {
            effects.extend(self.seat_effect(seat, now));
        }
        let settled_down = self
            .seats
            .iter()
            .all(|seat| seat.to_park.is_empty() && seat.state != SeatState::Parking);
        if self.blocked.ask(now, settled_down) {
            effects.push(Effect::AskBlockedKeys);
        }
        effects.extend(self.sink_effect(now));
        effects.append(&mut deliveries);
        effects
    }

    /// When to ask for effects again even if nothing is told before. What was due already at `now` waits for something to be
    /// told, not for time.
    pub fn next_wake(&self, now: Duration) -> Option<Duration> {
        let seats = self.seats.iter().filter_map(|seat| match seat.state {
            SeatState::Closed { from } => (from < Duration::MAX && !self.stopping).then_some(from),
            _ if seat.ledger.recordable() > 0 => Some(seat.settled_at + SETTLE_INTERVAL),
            _ => None,
        });
        let others = [self.lanes.next_wake(), self.breaker.next_try(), self.blocked.next_ask()];
        seats
            .chain(others.into_iter().flatten())
            .filter(|wake| *wake > now)
            .min()
    }

    /// Stops: nothing new is read or delivered; what is under way comes to rest and is recorded.
    pub fn stop(&mut self) {
        self.stopping = true;
        // What waits is left to the next run, one by one, so that later events that arrived need not be repeated.
        for ticket in self.lanes.tickets() {
            self.seats[ticket.seat].ledger.retry(ticket.position);
        }
    }

    /// Whether the stop is complete.
    pub fn is_stopped(&self) -> bool {
        let at_rest = self.stopping && self.deliveries.is_empty() && self.seats.iter().all(Seat::at_rest);
        self.fenced || (at_rest && matches!(self.sink, SinkState::Absent | SinkState::Connecting))
    }

    /// Whether another relay took over: nothing more may be done.
    pub fn is_fenced(&self) -> bool {
        self.fenced
    }

    /// What the route tells the database about itself; counts since the last call.
    pub fn report(&mut self) -> RouteReport {
        let state = match () {
            () if self.halted.is_some() => RouteState::Halted,
            () if self.paused => RouteState::Paused,
            () if self.sink != SinkState::Ready && self.breaker.is_open() => RouteState::Retrying,
            () if self.breaker.is_open() && !self.lanes.is_empty() => RouteState::Retrying,
            () if self.seats.iter().any(|seat| seat.failures > 0) => RouteState::Retrying,
            () => RouteState::Running,
        };
        // As long as the source fails, it matters more than what the sink said, but for why the route stands still.
        let of_source = self.seats.iter().find_map(|seat| seat.error.as_ref());
        let last_error = of_source.filter(|_| self.halted.is_none()).or(self.last_error.as_ref());
        RouteReport {
            route: self.route.clone(),
            state,
            last_error: last_error.cloned(),
            delivered: std::mem::take(&mut self.delivered),
            failed: std::mem::take(&mut self.failed),
        }
    }

    /// The reason of a halt that is not recorded yet; [`halt_recorded`](Self::halt_recorded) answers.
    pub fn halt_to_record(&self) -> Option<&str> {
        self.halted
            .as_ref()
            .filter(|halt| !halt.recorded)
            .map(|halt| halt.reason.as_str())
    }

    /// Notes that the halt is recorded, so that from now on its absence in a control means that it was lifted.
    pub fn halt_recorded(&mut self) {
        if let Some(halt) = &mut self.halted {
            halt.recorded = true;
        }
    }

    /// Does what operators ask.
    pub fn control(&mut self, control: &RouteControl, now: Duration) {
        self.paused = control.paused;
        match (&self.halted, &control.halted) {
            (None, Some(reason)) => {
                self.halted = Some(Halt {
                    reason: reason.clone(),
                    recorded: true,
                })
            }
            (Some(halt), None) if halt.recorded => {
                self.halted = None;
                self.last_error = None;
                self.breaker.success();
                for seat in &mut self.seats {
                    if seat.state == (SeatState::Closed { from: Duration::MAX }) {
                        seat.state = SeatState::Closed { from: now };
                    }
                }
            }
            _ => {}
        }
    }

    /// The source of a seat was opened, or not.
    pub fn opened(&mut self, seat: usize, result: Result<(), StoreError>, now: Duration) {
        match result {
            Ok(()) => self.seats[seat].opened(),
            Err(error) => self.lose(seat, &error, now),
        }
    }

    /// The source of a seat read.
    pub fn read(&mut self, seat: usize, result: Result<Vec<Sourced>, StoreError>, now: Duration) {
        let events = match result {
            Ok(events) => events,
            Err(error) => return self.lose(seat, &error, now),
        };
        self.seats[seat].succeeded();
        self.seats[seat].state = SeatState::Idle {
            empty: events.is_empty(),
        };
        for sourced in events {
            if !self.take_in(seat, sourced) {
                break;
            }
        }
    }

    /// The source of a seat stopped waiting.
    pub fn waited(&mut self, seat: usize) {
        self.seats[seat].state = SeatState::Idle { empty: false };
    }

    /// The source of a seat recorded a settlement.
    pub fn settled(&mut self, seat: usize, result: Result<(), StoreError>, now: Duration) {
        if let Err(error) = result {
            return self.lose(seat, &error, now);
        }
        let seat = &mut self.seats[seat];
        seat.ledger.recorded();
        seat.settled_at = now;
        seat.state = SeatState::Idle { empty: false };
    }

    /// The source of a seat parked events.
    pub fn parked(&mut self, seat: usize, events: &[Parking], result: Result<(), StoreError>, now: Duration) {
        if let Err(error) = result {
            return self.lose(seat, &error, now);
        }
        let seat = &mut self.seats[seat];
        seat.state = SeatState::Idle { empty: false };
        for parking in events {
            seat.ledger.settle(parking.position);
        }
    }

    /// The database said which keys still have events set aside.
    pub fn blocked_keys(&mut self, result: Result<Vec<Arc<str>>, StoreError>, now: Duration) {
        self.blocked.answered(result.ok(), now);
    }

    /// The sink is connected, or not.
    pub fn connected(&mut self, result: Result<(), SinkError>, now: Duration) {
        match result {
            Ok(()) => {
                self.sink = SinkState::Ready;
                if self.lanes.is_empty() {
                    self.last_error = None;
                }
            }
            Err(error) => {
                self.sink = SinkState::Absent;
                self.connection_failed(&error, now);
            }
        }
    }

    /// The sink is closed.
    pub fn closed(&mut self) {
        self.sink = SinkState::Absent;
    }

    /// Takes one event in; `false` when the rest of the batch is of no more use.
    fn take_in(&mut self, seat: usize, sourced: Sourced) -> bool {
        let Sourced {
            position,
            event,
            defect,
        } = sourced;
        let incarnation = self.seats[seat].incarnation;
        let lane = self.lanes.lane_of(event.key.as_deref());
        let entry = Entry {
            ticket: Ticket {
                seat,
                incarnation,
                position,
                lane,
                attempts: 0,
            },
            event,
            defect: None,
        };
        let held = self.is_held(seat, entry.event.key.as_ref());
        match defect {
            Some(defect) if self.behaviour.on_poison == OnPoison::Halt => {
                let reason = format!("event {} is not valid: {defect}", entry.event.id);
                self.close_seat(seat, Duration::MAX);
                self.halt(reason);
                return false;
            }
            // Whatever is wrong with it is found again when its turn comes: what is parked can be retried by itself, and would
            // then overtake what is held before it.
            _ if held => {
                self.seats[seat].ledger.hand_out(position);
                self.set_aside(entry, ParkReason::Held);
            }
            // What is before it may be read once more, and would be held behind it if it were set aside now.
            Some(defect) if self.behaviour.on_poison == OnPoison::BlockKey && !self.lanes.is_free(lane) => {
                self.seats[seat].ledger.hand_out(position);
                self.lanes.push(Entry {
                    defect: Some(defect.into()),
                    ..entry
                });
            }
            Some(defect) => {
                self.seats[seat].ledger.hand_out(position);
                self.set_aside(entry, not_an_event(&defect));
            }
            None => {
                self.seats[seat].ledger.hand_out(position);
                self.lanes.push(entry);
            }
        }
        true
    }

    /// Whether an event of this key must wait behind a parked one. Redeliveries are what such keys wait for, so they pass; but
    /// not one that was read before the database knew that the event before it turned out to be poison once more.
    fn is_held(&self, seat: usize, key: Option<&Arc<str>>) -> bool {
        let Some(key) = key.filter(|_| self.behaviour.on_poison == OnPoison::BlockKey) else {
            return false;
        };
        let poison = |parking: &Parking| {
            matches!(parking.reason, ParkReason::Poison(_)) && parking.event.key.as_ref() == Some(key)
        };
        if seat == FEED {
            self.blocked.contains(key)
        } else {
            self.seats[seat].to_park.iter().any(poison)
        }
    }

    fn seat_effect(&mut self, seat: usize, now: Duration) -> Option<Effect> {
        let settle_due = self.settle_due(seat, now);
        let limit = self.room(seat);
        let stopping = self.stopping;
        let this = &mut self.seats[seat];
        match this.state {
            SeatState::Closed { from } if from <= now && !stopping => {
                this.state = SeatState::Opening;
                Some(Effect::Open { seat })
            }
            SeatState::Waiting { called_back: false } if settle_due || stopping || !this.to_park.is_empty() => {
                this.state = SeatState::Waiting { called_back: true };
                Some(Effect::CallBack { seat })
            }
            SeatState::Idle { .. } if !this.to_park.is_empty() => {
                this.state = SeatState::Parking;
                Some(Effect::Park {
                    seat,
                    events: std::mem::take(&mut this.to_park),
                })
            }
            SeatState::Idle { .. } if settle_due => {
                let settlement = this.ledger.settlement()?;
                this.state = SeatState::Settling;
                Some(Effect::Settle { seat, settlement })
            }
            SeatState::Idle { empty: true } if !stopping => {
                this.state = SeatState::Waiting { called_back: false };
                Some(Effect::Wait { seat })
            }
            SeatState::Idle { empty: false } if !stopping => {
                let limit = limit?;
                this.state = SeatState::Reading;
                Some(Effect::Read { seat, limit })
            }
            _ => None,
        }
    }

    fn settle_due(&self, seat: usize, now: Duration) -> bool {
        let recordable = self.seats[seat].ledger.recordable();
        let much = recordable >= self.behaviour.in_flight.events / 4;
        recordable > 0 && (much || self.stopping || now >= self.seats[seat].settled_at + SETTLE_INTERVAL)
    }

    /// How much a seat may read now. Reads are a quarter of the limit at the most, so that reading, delivering and
    /// recording overlap, and wait until at least that much is free, so that they do not come in crumbs.
    fn room(&self, seat: usize) -> Option<BatchLimit> {
        let in_flight = self.seats[seat].ledger.in_flight();
        let most = if seat == FEED {
            self.behaviour.in_flight.events
        } else {
            REDELIVERY_EVENTS
        };
        let events = most.div_ceil(4);
        let bytes = self.behaviour.in_flight.bytes.div_ceil(4);
        let held = self.lanes.bytes() + self.bytes_in_delivery;
        let fits = in_flight + events <= most && held + bytes <= self.behaviour.in_flight.bytes;
        (fits || in_flight == 0).then_some(BatchLimit { events, bytes })
    }

    fn sink_effect(&mut self, now: Duration) -> Option<Effect> {
        let wanted = !self.stopping && !self.paused && self.halted.is_none();
        match self.sink {
            SinkState::Absent if wanted && self.breaker.allows(now) => {
                self.sink = SinkState::Connecting;
                Some(Effect::Connect)
            }
            SinkState::Ready | SinkState::Retiring
                if self.deliveries.is_empty() && (self.stopping || self.sink == SinkState::Retiring) =>
            {
                self.sink = SinkState::Closing;
                Some(Effect::CloseSink)
            }
            _ => None,
        }
    }

    fn halt(&mut self, reason: String) {
        self.last_error = Some(reason.clone());
        self.halted.get_or_insert(Halt {
            reason,
            recorded: false,
        });
    }

    /// Puts an event on the list to be parked.
    fn set_aside(&mut self, entry: Entry, reason: ParkReason) {
        let Entry { ticket, event, .. } = entry;
        if self.behaviour.on_poison == OnPoison::BlockKey
            && let Some(key) = &event.key
        {
            self.blocked.add(key);
        }
        if let ParkReason::Poison(words) = &reason {
            self.failed += 1;
            tracing::warn!(route = %self.route, id = %event.id, topic = %event.topic, error = %words, "event parked");
        }
        let parking = Parking {
            position: ticket.position,
            event,
            reason,
            attempts: ticket.attempts,
        };
        self.seats[ticket.seat].to_park.push(parking);
    }

    /// Ends the incarnation of a seat's source after an error.
    fn lose(&mut self, seat: usize, error: &StoreError, now: Duration) {
        if error.failure == StoreFailure::Fenced {
            self.fenced = true;
            return;
        }
        let words = chain(error);
        tracing::warn!(route = %self.route, error = %words, "the source failed; it will be opened again");
        self.seats[seat].failed(words);
        let wait = self
            .behaviour
            .backoff
            .delay(self.seats[seat].failures, &mut self.random);
        self.close_seat(seat, now + wait);
    }

    fn close_seat(&mut self, seat: usize, from: Duration) {
        self.seats[seat].lost(from);
        let given_up = self.lanes.extract(|entry| entry.ticket.seat == seat).len();
        tracing::debug!(route = %self.route, events = given_up, "events are given up here and will be read again");
    }
}

fn not_an_event(defect: &str) -> ParkReason {
    ParkReason::Poison(format!("the row is not a valid event: {defect}"))
}
