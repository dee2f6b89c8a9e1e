//! Deliveries: what goes into one, and what follows from its outcomes.

use std::sync::Arc;
use std::time::Duration;

use super::{Effect, Machine, OnPoison, SinkState, not_an_event};
use crate::error::{Action, SinkError, chain};
use crate::event::Event;
use crate::lanes::{Entry, Lane, Taken, Ticket};
use crate::sink::Outcome;
use crate::source::ParkReason;

/// A delivery under way. The events stay here as well, for a sink that fails so badly that it returns nothing.
pub(super) struct Delivery {
    tickets: Vec<Ticket>,
    events: Arc<Vec<Event>>,
    bytes: usize,
}

/// What the outcomes of one delivery come to.
#[derive(Default)]
struct Tally {
    delivered: u64,
    failed: u64,
    reconnect: bool,
    error: Option<String>,
    halt: Option<String>,
}

/// What the outcomes of one lane of a delivery come to.
struct LaneTally {
    lane: Lane,
    undelivered: Vec<Entry>,
    delivered: bool,
    poisoned: bool,
    /// It failed by itself, not only together with the connection.
    failed: bool,
    after: Option<Duration>,
}

impl LaneTally {
    fn new(lane: Lane) -> Self {
        Self {
            lane,
            undelivered: Vec::new(),
            delivered: false,
            poisoned: false,
            failed: false,
            after: None,
        }
    }
}

impl Machine {
    pub(super) fn may_deliver(&self, now: Duration) -> bool {
        let most = if self.breaker.is_open() {
            1
        } else {
            self.behaviour.concurrent_batches
        };
        let standing = self.stopping || self.paused || self.halted.is_some();
        self.sink == SinkState::Ready
            && !standing
            && self.breaker.allows(now)
            && self.deliveries.len() < most
            && self.lanes.has_ready()
    }

    /// Takes whatever has gathered: no event waits for a fuller batch.
    pub(super) fn next_delivery(&mut self, now: Duration) -> Option<Effect> {
        let entries = loop {
            let Taken { events, defective } = self.lanes.take(self.behaviour.batch);
            let passed_over = !defective.is_empty();
            for entry in defective {
                self.set_aside_in_turn(entry, now);
            }
            if !events.is_empty() {
                break events;
            }
            if !passed_over {
                return None;
            }
        };
        let bytes = entries.iter().map(|entry| entry.event.weight()).sum();
        self.bytes_in_delivery += bytes;
        let (tickets, events): (Vec<_>, Vec<_>) = entries.into_iter().map(|entry| (entry.ticket, entry.event)).unzip();
        let events = Arc::new(events);
        let delivery = self.deliveries.insert(Delivery {
            tickets,
            events: events.clone(),
            bytes,
        });
        Some(Effect::Deliver { delivery, events })
    }

    /// Sets aside a row that is no valid event and has nothing before it in its lane any more.
    fn set_aside_in_turn(&mut self, mut entry: Entry, now: Duration) {
        let mut lane = LaneTally::new(entry.ticket.lane);
        lane.poisoned = true;
        let defect = entry.defect.take().unwrap_or_default();
        self.set_aside(entry, not_an_event(&defect));
        self.end_lane(lane, now);
    }

    /// A delivery ended: with an error about the connection or the route as a whole, or not; and with one outcome an event.
    ///
    /// # Panics
    /// When `outcomes` has another length than the batch, or `delivery` is not under way.
    pub fn delivered(&mut self, delivery: usize, result: Result<(), SinkError>, outcomes: Vec<Outcome>, now: Duration) {
        let Delivery { tickets, events, bytes } = self.deliveries.remove(delivery);
        assert_eq!(outcomes.len(), tickets.len(), "a report has one outcome for each event");
        self.bytes_in_delivery -= bytes;
        let events = Arc::try_unwrap(events).unwrap_or_else(|shared| (*shared).clone());
        let mut tally = Tally::default();
        let mut lane: Option<LaneTally> = None;
        for ((ticket, event), outcome) in tickets.into_iter().zip(events).zip(outcomes) {
            if let Some(ended) = lane.take_if(|lane| lane.lane != ticket.lane) {
                self.end_lane(ended, now);
            }
            let lane = lane.get_or_insert_with(|| LaneTally::new(ticket.lane));
            let entry = Entry {
                ticket,
                event,
                defect: None,
            };
            self.judge(entry, outcome, result.is_ok(), lane, &mut tally);
        }
        if let Some(ended) = lane {
            self.end_lane(ended, now);
        }
        self.conclude(result, tally, now);
    }

    /// Connecting failed, or the whole connection did.
    pub(super) fn connection_failed(&mut self, error: &SinkError, now: Duration) {
        let words = chain(error);
        tracing::warn!(route = %self.route, error = %words, "the sink cannot be reached; it will be tried again");
        if error.action == Action::Halt {
            return self.halt(words);
        }
        self.failed += 1;
        self.last_error = Some(words);
        let after = if let Action::Retry { after } = error.action {
            after
        } else {
            None
        };
        self.breaker.failure(now, true, after, &mut self.random);
    }

    fn judge(&mut self, mut entry: Entry, outcome: Outcome, connected: bool, lane: &mut LaneTally, tally: &mut Tally) {
        let current = entry.ticket.incarnation == self.seats[entry.ticket.seat].incarnation;
        let words = match outcome {
            Outcome::Delivered => {
                tally.delivered += 1;
                lane.delivered = true;
                if current {
                    self.seats[entry.ticket.seat].ledger.settle(entry.ticket.position);
                }
                return;
            }
            Outcome::Failed(error) => {
                let words = chain(&error);
                match error.action {
                    // If it were set aside as poison now, what is before it could be held behind it when it is read once more, or be
                    // overtaken by it when it alone is retried. It fails again when its turn comes.
                    Action::Park if self.is_behind_another(&entry, lane) => {
                        lane.failed |= connected && !lane.poisoned;
                    }
                    Action::Park => return self.poison(entry, words, current, lane, tally),
                    Action::Halt => tally.halt = Some(words.clone()),
                    Action::Reconnect => tally.reconnect = true,
                    Action::Retry { after } => {
                        lane.failed = true;
                        lane.after = lane.after.max(after);
                    }
                }
                Some(words)
            }
            Outcome::Unknown => {
                lane.failed |= connected && !lane.poisoned;
                None
            }
        };
        tally.failed += 1;
        tally.error = words.or(tally.error.take());
        entry.ticket.attempts = entry.ticket.attempts.saturating_add(1);
        self.keep_undelivered(entry, current, lane);
    }

    /// Whether an earlier event of its key is to be tried again, or one of its lane was poison, and keys are to stand still behind poison.
    /// Lanes stand for keys here, as for all that is held: what is held without need is handed out again at once.
    fn is_behind_another(&self, entry: &Entry, lane: &LaneTally) -> bool {
        let of_its_key = |other: &Entry| other.event.key == entry.event.key;
        self.behaviour.on_poison == OnPoison::BlockKey
            && entry.event.key.is_some()
            && (lane.poisoned || lane.undelivered.iter().any(of_its_key))
    }

    fn poison(&mut self, mut entry: Entry, words: String, current: bool, lane: &mut LaneTally, tally: &mut Tally) {
        entry.ticket.attempts = entry.ticket.attempts.saturating_add(1);
        if self.behaviour.on_poison == OnPoison::Halt {
            tally.halt = Some(format!("event {}: {words}", entry.event.id));
            return self.keep_undelivered(entry, current, lane);
        }
        // One of an older incarnation says nothing about the present one, which finds out for itself.
        if current {
            lane.poisoned = true;
            self.set_aside(entry, ParkReason::Poison(words));
        }
    }

    /// An event that did not arrive goes back to its lane, or behind the parked event of its key. One of an older
    /// incarnation goes nowhere: the present one hands it out anew.
    fn keep_undelivered(&mut self, entry: Entry, current: bool, lane: &mut LaneTally) {
        if !current {
            return;
        }
        if lane.poisoned && self.behaviour.on_poison == OnPoison::BlockKey && entry.event.key.is_some() {
            self.set_aside(entry, ParkReason::Held);
        } else {
            lane.undelivered.push(entry);
        }
    }

    fn end_lane(&mut self, tally: LaneTally, now: Duration) {
        let LaneTally {
            lane,
            undelivered,
            delivered,
            poisoned,
            failed,
            after,
        } = tally;
        if poisoned && self.behaviour.on_poison == OnPoison::BlockKey {
            let blocked = &self.blocked;
            for entry in self.lanes.extract_lane(lane, |entry| {
                entry.event.key.as_ref().is_some_and(|key| blocked.contains(key))
            }) {
                self.set_aside(entry, ParkReason::Held);
            }
        }
        let wait = failed.then(|| {
            let failures = self.lanes.count_failure(lane, true);
            now + after.unwrap_or_else(|| self.behaviour.backoff.delay(failures, &mut self.random))
        });
        if failed || self.stopping {
            for entry in &undelivered {
                self.seats[entry.ticket.seat].ledger.retry(entry.ticket.position);
            }
        } else if delivered {
            self.lanes.count_failure(lane, false);
        }
        self.lanes.give_back(lane, undelivered, wait);
    }

    fn conclude(&mut self, result: Result<(), SinkError>, tally: Tally, now: Duration) {
        self.delivered += tally.delivered;
        self.failed += tally.failed;
        if tally.delivered > 0 {
            self.breaker.success();
            self.last_error = None;
        }
        if tally.failed > 0 {
            self.last_error = tally.error.or(self.last_error.take());
        }
        let retire = tally.reconnect || result.as_ref().is_err_and(|error| error.action == Action::Reconnect);
        if retire && self.sink == SinkState::Ready {
            self.sink = SinkState::Retiring;
        }
        match result {
            Err(error) if error.action == Action::Halt => self.halt(chain(&error)),
            Err(error) if tally.delivered == 0 => self.connection_failed(&error, now),
            Err(error) => self.last_error = Some(chain(&error)),
            Ok(()) if tally.delivered == 0 && tally.failed > 0 => {
                self.breaker.failure(now, tally.reconnect, None, &mut self.random);
            }
            Ok(()) => {}
        }
        if let Some(reason) = tally.halt {
            self.halt(reason);
        }
    }
}
