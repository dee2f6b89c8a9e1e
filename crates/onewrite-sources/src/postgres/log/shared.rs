//! What the reader of the log and the routes share: events that wait for each route, and ticks.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use onewrite_core::routing::Share;
use onewrite_core::{BatchLimit, Event};
use slab::Slab;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::limits::{TICK_LATE, WAITING_BYTES};
use super::ticks::Tick;

/// An event as it came over the log.
#[derive(Debug)]
pub struct LogRow {
    /// The transaction that wrote it.
    pub xid: u64,
    /// Its place in the outbox.
    pub sequence: u64,
    /// The event.
    pub event: Event,
    /// Why the row is no valid event.
    pub defect: Option<String>,
}

/// What a route takes from its queue: all that came before a tick, and the tick.
pub type Taken = (Vec<LogRow>, Arc<Tick>);

/// One for each reader of the log.
#[derive(Default)]
pub struct Shared {
    inner: Mutex<Inner>,
    /// Somebody wants a tick.
    wanted: Notify,
}

#[derive(Default)]
struct Inner {
    /// Whether the log is being read.
    streaming: bool,
    /// Whether the reader is between a transaction's beginning and its end.
    in_transaction: bool,
    /// Whether the transaction that is being read has events for a route.
    touched: bool,
    subscribers: Slab<Subscriber>,
    /// The weight of all that waits.
    waiting: usize,
    /// The position in the log before which everything was seen.
    seen: u64,
    /// Ticks, each with the position up to which the log has to be seen first, ascending.
    ahead: VecDeque<(u64, Tick)>,
    /// How many ticks were begun.
    begun: u64,
    /// Since when a tick is on its way.
    on_its_way: Option<Instant>,
    /// Another relay leads.
    fenced: bool,
}

struct Subscriber {
    share: Share,
    entries: VecDeque<Entry>,
    bytes: usize,
    state: State,
    changed: Arc<Notify>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It begins with the next transaction.
    Waiting,
    Receiving,
    /// It fell behind, or the log ended: what it has is not all.
    Lost,
}

#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are rows, and none is to cost an allocation"
)]
enum Entry {
    Row(LogRow),
    Tick(Arc<Tick>),
}

impl Shared {
    /// The position in the log before which everything was seen.
    pub fn seen(&self) -> u64 {
        self.lock().seen
    }

    /// Notes that everything before this position was seen, and brings the ticks that were waiting for it.
    pub fn saw(&self, position: u64) {
        let mut inner = self.lock();
        inner.seen = position;
        while inner.ahead.front().is_some_and(|(awaited, _)| *awaited <= position) {
            let reached = inner.ahead.pop_front();
            reached.into_iter().for_each(|(_, tick)| inner.bring(tick));
        }
    }

    /// Asks for a tick soon.
    pub fn want(&self) {
        self.wanted.notify_one();
    }

    /// Returns when somebody wants a tick.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// The number of the tick that begins now.
    pub fn begin_tick(&self) -> u64 {
        let mut inner = self.lock();
        inner.begun += 1;
        inner.on_its_way.get_or_insert_with(Instant::now);
        inner.begun
    }

    /// Whether another relay leads.
    pub fn is_fenced(&self) -> bool {
        self.lock().fenced
    }

    /// Notes that another relay leads.
    pub fn fence(&self) {
        self.lock().fenced = true;
    }

    /// Notes that the log is read from now on.
    pub fn stream_began(&self) {
        let mut inner = self.lock();
        inner.streaming = true;
        inner.in_transaction = false;
        inner.on_its_way = None;
        inner.seen = 0;
        inner.ahead = VecDeque::new();
    }

    /// Notes that the log is read no more: nobody's queue is complete.
    pub fn stream_ended(&self) {
        let mut inner = self.lock();
        inner.streaming = false;
        let keys: Vec<usize> = inner.subscribers.iter().map(|(key, _)| key).collect();
        keys.into_iter().for_each(|key| inner.lose(key));
    }

    /// Notes where the reader is. At the end of a transaction with events for somebody, a tick is wanted.
    pub fn transaction(&self, begins: bool) {
        let mut inner = self.lock();
        inner.in_transaction = begins;
        if begins {
            return;
        }
        for (_, subscriber) in &mut inner.subscribers {
            if subscriber.state == State::Waiting {
                subscriber.state = State::Receiving;
            }
        }
        if std::mem::take(&mut inner.touched) {
            self.want();
        }
    }

    /// Whether anybody receives events at all.
    pub fn is_heard(&self) -> bool {
        let inner = self.lock();
        inner.subscribers.iter().any(|(_, one)| one.state == State::Receiving)
    }

    /// Who receives an event of this topic and type.
    pub fn receiver(&self, topic: &str, event_type: Option<&str>) -> Option<usize> {
        let inner = self.lock();
        let mut receivers = inner.subscribers.iter();
        let found = receivers.find(|(_, one)| one.state == State::Receiving && one.share.takes(topic, event_type));
        found.map(|(key, _)| key)
    }

    /// Queues an event for a receiver.
    pub fn push(&self, key: usize, row: LogRow) {
        let mut inner = self.lock();
        let weight = row.event.weight();
        // It may have gone in between.
        let Some(subscriber) = inner.subscribers.get_mut(key) else {
            return;
        };
        subscriber.entries.push_back(Entry::Row(row));
        subscriber.bytes += weight;
        inner.waiting += weight;
        inner.touched = true;
        while inner.waiting > WAITING_BYTES {
            let Some((key, _)) = inner.subscribers.iter().max_by_key(|(_, one)| one.bytes) else {
                break;
            };
            inner.lose(key);
        }
    }

    /// Brings a tick to everybody, once everything before `position` was seen.
    pub fn tick(&self, position: u64, tick: Tick) {
        let mut inner = self.lock();
        match inner.seen >= position {
            true => inner.bring(tick),
            false => inner.ahead.push_back((position, tick)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nobody panics while holding it")
    }
}

impl Inner {
    fn bring(&mut self, tick: Tick) {
        self.on_its_way = (self.begun > tick.number).then(Instant::now);
        let tick = Arc::new(tick);
        for (_, subscriber) in &mut self.subscribers {
            if subscriber.state == State::Receiving {
                subscriber.receive(tick.clone());
            }
        }
    }

    fn lose(&mut self, key: usize) {
        let subscriber = &mut self.subscribers[key];
        subscriber.state = State::Lost;
        subscriber.entries = VecDeque::new();
        self.waiting -= std::mem::take(&mut subscriber.bytes);
        subscriber.changed.notify_one();
    }
}

impl Subscriber {
    fn receive(&mut self, tick: Arc<Tick>) {
        // Of ticks with nothing between them the last says all, but for one that somebody has to take up.
        match self.entries.back_mut() {
            Some(Entry::Tick(last)) => *last = tick,
            _ => self.entries.push_back(Entry::Tick(tick)),
        }
        self.changed.notify_one();
    }
}

/// A route's end of the log. Dropping it ends the subscription.
pub struct Subscription {
    shared: Arc<Shared>,
    key: usize,
    changed: Arc<Notify>,
    /// Ticks up to this number were begun before the subscription was.
    pub begun_before: u64,
}

impl Subscription {
    /// Subscribes to what `share` takes; `None` while the log is not read.
    pub fn new(shared: &Arc<Shared>, share: &Share) -> Option<Self> {
        let mut inner = shared.lock();
        if !inner.streaming {
            return None;
        }
        let changed = Arc::new(Notify::new());
        let state = if inner.in_transaction {
            State::Waiting
        } else {
            State::Receiving
        };
        let key = inner.subscribers.insert(Subscriber {
            share: share.clone(),
            entries: VecDeque::new(),
            bytes: 0,
            state,
            changed: changed.clone(),
        });
        let begun_before = inner.begun;
        drop(inner);
        shared.want();
        Some(Self {
            shared: shared.clone(),
            key,
            changed,
            begun_before,
        })
    }

    /// Whether everything came that was to come since the subscription began.
    pub fn is_complete(&self) -> bool {
        self.shared.lock().subscribers[self.key].state != State::Lost
    }

    /// Whether ticks come back in time.
    pub fn is_timely(&self) -> bool {
        let inner = self.shared.lock();
        inner.on_its_way.is_none_or(|since| since.elapsed() < TICK_LATE)
    }

    /// Asks for a tick soon.
    pub fn want(&self) {
        self.shared.want();
    }

    /// Takes what waits up to a tick: up to the last one, unless that is more than `limit`. `None` while no tick waits.
    pub fn take(&self, limit: BatchLimit) -> Option<Taken> {
        let mut inner = self.shared.lock();
        let subscriber = &mut inner.subscribers[self.key];
        let mut rows = Vec::new();
        let (mut bytes, mut last) = (0, None);
        let ticks = subscriber
            .entries
            .iter()
            .filter(|entry| matches!(entry, Entry::Tick(_)));
        let mut ticks = ticks.count();
        while ticks > 0 {
            match subscriber.entries.pop_front() {
                Some(Entry::Row(row)) => {
                    bytes += row.event.weight();
                    rows.push(row);
                }
                Some(Entry::Tick(tick)) => {
                    ticks -= 1;
                    last = Some(tick);
                    if rows.len() >= limit.events || bytes >= limit.bytes {
                        break;
                    }
                }
                None => break,
            }
        }
        subscriber.bytes -= bytes;
        inner.waiting -= bytes;
        last.map(|tick| (rows, tick))
    }

    /// Returns when there is something to take, or something has changed. Cancel-safe.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut inner = self.shared.lock();
        let subscriber = inner.subscribers.remove(self.key);
        inner.waiting -= subscriber.bytes;
    }
}
