//! Per-key exclusion and order: an event waits in its key's lane, and a lane is in at most one delivery at a time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::time::Duration;

use slab::Slab;

use crate::event::Event;
use crate::position::Position;
use crate::source::BatchLimit;

/// A slice of the key space, so fine that it holds one key: two keys share a lane only if their 63-bit hashes agree, and
/// then merely wait for each other. An event without a key has a lane of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(u64);

/// What core must remember of an event besides the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Which of the route's sources handed it out.
    pub seat: usize,
    /// Which incarnation of that source.
    pub incarnation: u64,
    /// Its place there.
    pub position: Position,
    /// Its lane.
    pub lane: Lane,
    /// Deliveries tried so far.
    pub attempts: u32,
}

/// An event on its way.
#[derive(Debug)]
pub struct Entry {
    /// What core knows of it.
    pub ticket: Ticket,
    /// The event.
    pub event: Event,
    /// Why its row is no valid event: it is never delivered, and only waits until what is before it in its lane has been.
    pub defect: Option<Box<str>>,
}

/// What [`Lanes::take`] took.
#[derive(Debug, Default)]
pub struct Taken {
    /// What may be delivered.
    pub events: Vec<Entry>,
    /// What had a defect and nothing before it in its lane any more; of that lane nothing else was taken.
    pub defective: Vec<Entry>,
}

/// Events that wait for delivery, by lane.
#[derive(Default)]
pub struct Lanes {
    waiting_entries: Slab<Node>,
    queues: HashMap<Lane, Queue, BuildHasherDefault<LaneHasher>>,
    /// Lanes with events that may be delivered now, in the order in which they became so; each stands here once.
    ready: VecDeque<Lane>,
    /// Lanes that wait before a retry; each stands here once.
    backing_off: BinaryHeap<Reverse<(Duration, Lane)>>,
    unkeyed: u64,
    bytes: usize,
}

/// One element of a lane's queue: a linked list inside the slab, since a queue of its own for each of many keys would
/// cost an allocation an event.
struct Node {
    entry: Entry,
    next: Option<usize>,
}

#[derive(Default)]
struct Queue {
    ends: Option<(usize, usize)>,
    state: QueueState,
    failures: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum QueueState {
    #[default]
    Ready,
    InDelivery,
    BackingOff,
}

const UNKEYED: u64 = 1 << 63;

impl Lanes {
    /// The lane of a key.
    pub fn lane_of(&mut self, key: Option<&str>) -> Lane {
        match key {
            // Fixed keys, so that a simulation repeats itself. Keys chosen to collide would only share a lane.
            Some(key) => {
                let mut hasher = DefaultHasher::new();
                key.hash(&mut hasher);
                Lane(hasher.finish() & !UNKEYED)
            }
            None => {
                self.unkeyed = (self.unkeyed + 1) & !UNKEYED;
                Lane(self.unkeyed | UNKEYED)
            }
        }
    }

    /// Whether no event waits here.
    pub fn is_empty(&self) -> bool {
        self.waiting_entries.is_empty()
    }

    /// The tickets of all events that wait here, in no order.
    pub fn tickets(&self) -> impl Iterator<Item = Ticket> + '_ {
        self.waiting_entries.iter().map(|(_, node)| node.entry.ticket)
    }

    /// Bytes of the events that wait here.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds an event behind all others of its lane.
    pub fn push(&mut self, entry: Entry) {
        let lane = entry.ticket.lane;
        let node = self.insert(entry);
        let queue = self.queues.entry(lane).or_insert_with(|| {
            self.ready.push_back(lane);
            Queue::default()
        });
        match &mut queue.ends {
            Some((_, last)) => {
                self.waiting_entries[*last].next = Some(node);
                *last = node;
            }
            None => queue.ends = Some((node, node)),
        }
    }

    /// Whether a lane has no event, neither here nor in a delivery.
    pub fn is_free(&self, lane: Lane) -> bool {
        !self.queues.contains_key(&lane)
    }

    /// Takes what may be delivered now, within `limit` but at least one event, lane after lane and in order inside each. The
    /// lanes are in delivery until [`give_back`](Self::give_back).
    pub fn take(&mut self, limit: BatchLimit) -> Taken {
        let (mut taken, mut bytes) = (Taken::default(), 0);
        while taken.events.len() < limit.events && bytes < limit.bytes {
            let Some(lane) = self.ready.pop_front() else { break };
            let Some(queue) = self.queues.get_mut(&lane) else {
                continue;
            };
            if queue.state != QueueState::Ready {
                continue;
            }
            queue.state = QueueState::InDelivery;
            if let Some(entry) = pop_if(queue, &mut self.waiting_entries, is_defective) {
                self.bytes -= entry.event.weight();
                taken.defective.push(entry);
                continue;
            }
            while taken.events.len() < limit.events
                && bytes < limit.bytes
                && let Some(entry) = pop_if(queue, &mut self.waiting_entries, |entry| !is_defective(entry))
            {
                let weight = entry.event.weight();
                bytes += weight;
                self.bytes -= weight;
                taken.events.push(entry);
            }
        }
        taken
    }

    /// Ends the delivery of a lane. What was not delivered, in order, stands again before everything else of the lane;
    /// `wait` until this time before it is tried again.
    pub fn give_back(&mut self, lane: Lane, undelivered: Vec<Entry>, wait: Option<Duration>) {
        let nodes: Vec<usize> = undelivered.into_iter().map(|entry| self.insert(entry)).collect();
        let Some(queue) = self.queues.get_mut(&lane) else {
            return;
        };
        for node in nodes.into_iter().rev() {
            queue.ends = match queue.ends {
                Some((first, last)) => {
                    self.waiting_entries[node].next = Some(first);
                    Some((node, last))
                }
                None => Some((node, node)),
            };
        }
        match (queue.ends, wait) {
            (None, _) => {
                self.queues.remove(&lane);
            }
            (Some(_), None) => {
                queue.state = QueueState::Ready;
                self.ready.push_back(lane);
            }
            (Some(_), Some(until)) => {
                queue.state = QueueState::BackingOff;
                self.backing_off.push(Reverse((until, lane)));
            }
        }
    }

    /// Counts a failure of a lane, or with `false` forgets them; returns the failures in a row.
    pub fn count_failure(&mut self, lane: Lane, failed: bool) -> u32 {
        let Some(queue) = self.queues.get_mut(&lane) else {
            return u32::from(failed);
        };
        queue.failures = if failed { queue.failures.saturating_add(1) } else { 0 };
        queue.failures
    }

    /// Makes the lanes ready whose wait is over.
    pub fn wake(&mut self, now: Duration) {
        while let Some(Reverse((until, lane))) = self.backing_off.peek().copied()
            && until <= now
        {
            self.backing_off.pop();
            if let Some(queue) = self.queues.get_mut(&lane)
                && queue.state == QueueState::BackingOff
            {
                queue.state = QueueState::Ready;
                self.ready.push_back(lane);
            }
        }
    }

    /// When the next lane's wait is over.
    pub fn next_wake(&self) -> Option<Duration> {
        self.backing_off.peek().map(|Reverse((until, _))| *until)
    }

    /// Whether anything may be delivered now.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes out all waiting events that `picked` names, keeping their order, whatever their lane does.
    pub fn extract(&mut self, mut picked: impl FnMut(&Entry) -> bool) -> Vec<Entry> {
        let mut extracted = Vec::new();
        let lanes: Vec<Lane> = self.queues.keys().copied().collect();
        let mut any_gone = false;
        for lane in lanes {
            any_gone |= self.extract_from(lane, &mut picked, &mut extracted);
        }
        if any_gone {
            self.forget_gone();
        }
        extracted
    }

    /// Like [`extract`](Self::extract), from one lane.
    pub fn extract_lane(&mut self, lane: Lane, mut picked: impl FnMut(&Entry) -> bool) -> Vec<Entry> {
        let mut extracted = Vec::new();
        if self.extract_from(lane, &mut picked, &mut extracted) {
            self.forget_gone();
        }
        extracted
    }

    /// Returns whether the lane is gone.
    fn extract_from(
        &mut self,
        lane: Lane,
        picked: &mut impl FnMut(&Entry) -> bool,
        extracted: &mut Vec<Entry>,
    ) -> bool {
        let Some(queue) = self.queues.get_mut(&lane) else {
            return false;
        };
        let mut kept = Vec::new();
        while let Some(entry) = pop(queue, &mut self.waiting_entries) {
            self.bytes -= entry.event.weight();
            if picked(&entry) {
                extracted.push(entry)
            } else {
                kept.push(entry)
            }
        }
        let is_gone = kept.is_empty() && queue.state != QueueState::InDelivery;
        if is_gone {
            self.queues.remove(&lane);
        }
        for entry in kept {
            self.push(entry);
        }
        is_gone
    }

    /// A lane that is gone may come again before its turn, and would be noted once more each time: without an end where
    /// nothing is ever taken.
    fn forget_gone(&mut self) {
        let queues = &self.queues;
        let stands = |lane: &Lane, state| queues.get(lane).is_some_and(|queue| queue.state == state);
        self.ready.retain(|lane| stands(lane, QueueState::Ready));
        self.backing_off
            .retain(|Reverse((_, lane))| stands(lane, QueueState::BackingOff));
    }

    fn insert(&mut self, entry: Entry) -> usize {
        self.bytes += entry.event.weight();
        self.waiting_entries.insert(Node { entry, next: None })
    }
}

fn is_defective(entry: &Entry) -> bool {
    entry.defect.is_some()
}

fn pop(queue: &mut Queue, nodes: &mut Slab<Node>) -> Option<Entry> {
    pop_if(queue, nodes, |_| true)
}

fn pop_if(queue: &mut Queue, nodes: &mut Slab<Node>, wanted: impl FnOnce(&Entry) -> bool) -> Option<Entry> {
    let (first, last) = queue.ends?;
    if !wanted(&nodes[first].entry) {
        return None;
    }
    let node = nodes.remove(first);
    queue.ends = node.next.map(|next| (next, last));
    Some(node.entry)
}

/// A lane is a hash already.
#[derive(Default)]
struct LaneHasher(u64);

impl Hasher for LaneHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a lane hashes as one number");
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(lanes: &mut Lanes, seat: usize, sequence: u64, key: u8) -> Entry {
        let key = key.to_string();
        let event = Event {
            id: uuid::Uuid::from_u128(sequence.into()),
            topic: "topic".into(),
            key: Some(key.as_str().into()),
            event_type: None,
            payload: Default::default(),
            content_type: "application/json".into(),
            headers: Vec::new(),
            occurred_at: Default::default(),
            replay: None,
            headers_complete: false,
            verbatim: None,
        };
        Entry {
            ticket: Ticket {
                seat,
                incarnation: 0,
                position: Position::new(1, sequence),
                lane: lanes.lane_of(Some(&key)),
                attempts: 0,
            },
            event,
            defect: None,
        }
    }

    impl Lanes {
        fn in_state(&self, state: QueueState) -> usize {
            self.queues.values().filter(|queue| queue.state == state).count()
        }

        fn stand_once(&self) {
            assert_eq!(
                self.ready.len(),
                self.in_state(QueueState::Ready),
                "lanes that are ready"
            );
            let backing_off = self.in_state(QueueState::BackingOff);
            assert_eq!(self.backing_off.len(), backing_off, "lanes that back off");
        }
    }

    /// A paused route takes nothing, and its source may be lost and read again for as long as it is paused.
    #[test]
    fn what_is_given_up_and_read_again_leaves_nothing_behind() {
        let mut lanes = Lanes::default();
        for _ in 0..100 {
            for sequence in 0..8 {
                let entry = entry(&mut lanes, 0, sequence, sequence as u8);
                lanes.push(entry);
            }
            assert_eq!(lanes.extract(|_| true).len(), 8);
            lanes.stand_once();
        }
    }

    proptest! {
        /// Whatever happens in whatever order, a lane is noted once, and one that is gone is noted nowhere.
        #[test]
        fn a_lane_is_noted_where_it_stands_and_nowhere_else(
            steps in prop::collection::vec((0_u8..8, 0_u8..6), 1..300)
        ) {
            let mut lanes = Lanes::default();
            let mut under_way: Vec<Entry> = Vec::new();
            let mut now = Duration::ZERO;
            for (sequence, (step, key)) in (0..).zip(steps) {
                match step {
                    0..3 => {
                        let entry = entry(&mut lanes, usize::from(key % 2), sequence, key);
                        lanes.push(entry);
                    }
                    3 => under_way.extend(lanes.take(BatchLimit { events: 3, bytes: usize::MAX }).events),
                    4 | 5 if !under_way.is_empty() => {
                        let lane = under_way[usize::from(key) % under_way.len()].ticket.lane;
                        let (mine, others) = under_way.into_iter().partition(|entry| entry.ticket.lane == lane);
                        under_way = others;
                        let delivered = key % 3 == 0;
                        let wait = (step == 5).then_some(now + Duration::from_secs(key.into()));
                        lanes.give_back(lane, if delivered { Vec::new() } else { mine }, wait);
                    }
                    6 => {
                        lanes.extract(|entry| entry.ticket.seat == usize::from(key % 2));
                    }
                    _ => {
                        now += Duration::from_secs(2);
                        lanes.wake(now);
                    }
                }
                lanes.stand_once();
            }
        }
    }
}
