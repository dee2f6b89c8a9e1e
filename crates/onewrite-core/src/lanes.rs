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
    /// Lanes with events that may be delivered now, in the order in which they became so. One that was emptied or stands
    /// here twice is passed over when its turn comes.
    ready: VecDeque<Lane>,
    /// Lanes that wait before a retry.
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
        for lane in lanes {
            self.extract_from(lane, &mut picked, &mut extracted);
        }
        extracted
    }

    /// Like [`extract`](Self::extract), from one lane.
    pub fn extract_lane(&mut self, lane: Lane, mut picked: impl FnMut(&Entry) -> bool) -> Vec<Entry> {
        let mut extracted = Vec::new();
        self.extract_from(lane, &mut picked, &mut extracted);
        extracted
    }

    fn extract_from(&mut self, lane: Lane, picked: &mut impl FnMut(&Entry) -> bool, extracted: &mut Vec<Entry>) {
        let Some(queue) = self.queues.get_mut(&lane) else {
            return;
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
        if kept.is_empty() && queue.state != QueueState::InDelivery {
            self.queues.remove(&lane);
        }
        for entry in kept {
            self.push(entry);
        }
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
