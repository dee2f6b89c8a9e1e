//! What is on its way: every record that was handed to the client and not yet reported, and who waits for it.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use rdkafka::error::RDKafkaErrorCode;
use slab::Slab;
use tokio::sync::Notify;

use super::client::Refusal;
use super::hold::{Hold, Wakes};
use super::limits::RECORD_OVERHEAD_BYTES;

/// All batches under way on one producer, the room they take, and whether the producer is still of use.
pub(super) struct Flight {
    batches: Mutex<Slab<Batch>>,
    hold: Hold,
    broken: OnceLock<String>,
    retired: OnceLock<String>,
    delivered: AtomicUsize,
    /// Milliseconds from `since` to the latest acknowledgement.
    acknowledged: AtomicU64,
    /// Whole seconds from `since`, as of the latest look.
    second: AtomicU32,
    since: Instant,
    changed: Notify,
}

/// One batch. It stays until everything sent of it is reported, also when nobody waits any more.
#[derive(Default)]
struct Batch {
    fates: Vec<Fate>,
    reported: usize,
    /// How many reports the delivery waits for; none while it is still sending.
    awaited: Option<usize>,
    /// How many records were sent, once the delivery is over.
    left_behind: Option<usize>,
    warming: Vec<(usize, Warmth, usize)>,
    /// Payloads that the client reads where they are.
    held: Vec<Bytes>,
}

/// What is known of one record.
#[derive(Clone, Debug, Default)]
pub(super) enum Fate {
    /// Not sent, or not reported.
    #[default]
    Open,
    /// Acknowledged.
    Delivered,
    /// The client gave it up.
    Failed(Box<Failure>),
}

/// Why the client gave a record up.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// The code.
    pub code: RDKafkaErrorCode,
    /// The broker's own words, where it said more than a code.
    pub words: Option<String>,
    /// Where it was going.
    pub partition: i32,
    /// Whether the request held this record alone, so that no other can have been at fault.
    pub alone: bool,
}

/// Which partitions of a topic have acknowledged a record of this producer: for each, nought while none is sent, one
/// while the first is under way, and then two more than the second in which the latest was sent.
#[derive(Clone)]
pub(super) struct Warmth(pub Arc<[AtomicU32]>);

/// A record's place, in the one word that travels with it: the batch above, the index below.
#[derive(Clone, Copy)]
pub(super) struct Tag(pub usize);

const INDEX_BITS: u32 = 32;
const _: () = assert!(usize::BITS == 64, "a tag packs two numbers of 32 bits");

impl Tag {
    /// The tag of the record at `index` of the batch `slot`.
    pub fn new(slot: usize, index: usize) -> Self {
        Self(slot << INDEX_BITS | index)
    }

    fn slot(self) -> usize {
        self.0 >> INDEX_BITS
    }

    fn index(self) -> usize {
        self.0 & ((1 << INDEX_BITS) - 1)
    }
}

/// What a record of this key and payload takes of the room.
pub(super) fn weight(key: usize, payload: usize) -> usize {
    key + payload + RECORD_OVERHEAD_BYTES
}

impl Flight {
    /// Nothing under way.
    pub fn new() -> Self {
        Self {
            batches: Mutex::default(),
            hold: Hold::default(),
            broken: OnceLock::new(),
            retired: OnceLock::new(),
            delivered: AtomicUsize::new(0),
            acknowledged: AtomicU64::new(0),
            second: AtomicU32::new(0),
            since: Instant::now(),
            changed: Notify::new(),
        }
    }

    /// Becomes ready when something changed that a delivery may wait for: room, reports, partitions, topics, an end.
    pub fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// Wakes everybody who waits.
    pub fn announce(&self) {
        self.changed.notify_waiters();
    }

    /// Takes the place of a batch of `length` events.
    pub fn board(&self, length: usize) -> usize {
        self.batches().insert(Batch {
            fates: vec![Fate::Open; length],
            ..Batch::default()
        })
    }

    /// Notes that the record at `index` is the first one for a partition.
    pub fn warms(&self, slot: usize, index: usize, warmth: &Warmth, partition: usize) {
        self.batches()[slot].warming.push((index, warmth.clone(), partition));
    }

    /// Takes that back: the record was not sent.
    pub fn cools(&self, slot: usize, index: usize) {
        let mut batches = self.batches();
        let warming = &mut batches[slot].warming;
        if let Some(at) = warming.iter().position(|(first, ..)| *first == index) {
            let (_, warmth, partition) = warming.swap_remove(at);
            warmth.abandon(partition);
        }
        drop(batches);
        self.announce();
    }

    /// Keeps a record's payload until everything sent of its batch is reported.
    pub fn hold(&self, tag: Tag, payload: Bytes) {
        self.batches()[tag.slot()].held.push(payload);
    }

    /// Takes room for a record of the batch, if there is any and it is its turn. Who is refused asks again when something
    /// [changed](Self::changed), or [withdraws](Self::withdraw).
    pub fn reserve(&self, slot: usize, weight: usize) -> bool {
        let (taken, wakes) = self.hold.reserve(slot, weight);
        self.wake(wakes);
        taken
    }

    /// Gives room back.
    pub fn release(&self, weight: usize) {
        self.wake(self.hold.release(weight));
    }

    /// The batch waits for no room, so that others need not wait for it.
    pub fn withdraw(&self, slot: usize) {
        self.wake(self.hold.withdraw(slot));
    }

    /// Whether `sent` records of a batch are all reported; if not, the last of their reports will be announced.
    pub fn is_complete(&self, slot: usize, sent: usize) -> bool {
        let mut batches = self.batches();
        let batch = &mut batches[slot];
        batch.awaited = Some(sent);
        batch.reported >= sent
    }

    /// Whether the record at `index` was acknowledged.
    pub fn is_delivered(&self, slot: usize, index: usize) -> bool {
        matches!(self.batches()[slot].fates[index], Fate::Delivered)
    }

    /// Ends a delivery that sent so many records, and returns what is known of each. Reports that come later find their
    /// batch all the same, and are forgotten.
    pub fn leave(&self, slot: usize, sent: usize) -> Vec<Fate> {
        // Before the slot can be another's.
        self.withdraw(slot);
        let mut batches = self.batches();
        let batch = &mut batches[slot];
        let fates = std::mem::take(&mut batch.fates);
        if batch.reported == sent {
            batches.remove(slot);
        } else {
            batch.left_behind = Some(sent);
        }
        fates
    }

    /// A report of the client. Called in its own thread, for every record exactly once. Returns what the broker refused, if
    /// it refused.
    pub fn reported(&self, tag: Tag, weight: usize, fate: Fate) -> Option<Refusal> {
        if matches!(fate, Fate::Delivered) {
            self.delivered.fetch_add(1, Ordering::Relaxed);
            let now = self.since.elapsed().as_millis() as u64;
            self.acknowledged.store(now, Ordering::Relaxed);
        }
        let (wakes, refusal) = self.note(tag, fate);
        if wakes {
            self.announce();
        }
        self.release(weight);
        refusal
    }

    /// Whether the producer is of no more use, and why.
    pub fn broken(&self) -> Option<&str> {
        self.broken.get().map(String::as_str)
    }

    /// Nothing more may be sent: a record failed, or the client as a whole. The first reason stays.
    pub fn break_off(&self, reason: impl Into<String>) {
        let _ = self.broken.set(reason.into());
        self.announce();
    }

    /// Why the producer should be replaced once nothing is under way, if it should.
    pub fn retired(&self) -> Option<&str> {
        self.retired.get().map(String::as_str)
    }

    /// What is under way may come to its end, and then the producer is to be replaced. The first reason stays.
    pub fn retire(&self, reason: impl Into<String>) {
        let _ = self.retired.set(reason.into());
        self.announce();
    }

    /// Records acknowledged so far.
    pub fn delivered(&self) -> usize {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Looks at the clock, for the whole seconds that records are compared by. Done now and then by the thread that serves
    /// reports, so that no record costs a look of its own.
    pub fn look_at_the_clock(&self) {
        self.second
            .store(self.since.elapsed().as_secs() as u32, Ordering::Relaxed);
    }

    /// When the latest acknowledgement came; the beginning where none did.
    pub fn acknowledged(&self) -> Instant {
        self.since + std::time::Duration::from_millis(self.acknowledged.load(Ordering::Relaxed))
    }

    /// Whole seconds since the beginning, as of the latest [look](Self::look_at_the_clock): a second or two behind.
    pub fn second(&self) -> u32 {
        self.second.load(Ordering::Relaxed)
    }

    /// Notes a fate in its batch, and that the producer is broken if it is a failure: in one step, so that a delivery that
    /// sees the one sees the other. Returns whether somebody waits for it.
    fn note(&self, tag: Tag, mut fate: Fate) -> (bool, Option<Refusal>) {
        let mut batches = self.batches();
        let Some(batch) = batches.get_mut(tag.slot()) else {
            return (false, None);
        };
        batch.reported += 1;
        let warmed = batch.warms(tag.index(), &mut fate, self.second());
        let refusal = self.judge(&fate);
        let wakes = warmed || matches!(fate, Fate::Failed(_)) || batch.awaited == Some(batch.reported);
        match batch.left_behind {
            Some(sent) if batch.reported == sent => _ = batches.remove(tag.slot()),
            Some(_) => {}
            None => batch.fates[tag.index()] = fate,
        }
        (wakes, refusal)
    }

    fn wake(&self, wakes: Wakes) {
        match wakes {
            Wakes::Nobody => {}
            Wakes::Everybody => self.announce(),
        }
    }

    fn judge(&self, fate: &Fate) -> Option<Refusal> {
        let Fate::Failed(failure) = fate else { return None };
        // What this sink itself took back says nothing about the broker.
        let reason = match failure.code {
            RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight => "the sink was closed".to_owned(),
            _ => failure.to_string(),
        };
        let _ = self.broken.set(reason);
        failure.refusal()
    }

    fn batches(&self) -> MutexGuard<'_, Slab<Batch>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch {
    /// Where the record at `index` is the first of its partition: marks that as warm if it arrived, and otherwise notes that
    /// its request held no other record. Returns whether the partition is warm now.
    fn warms(&mut self, index: usize, fate: &mut Fate, second: u32) -> bool {
        let Some(at) = self.warming.iter().position(|(first, ..)| *first == index) else {
            return false;
        };
        let (_, warmth, partition) = self.warming.swap_remove(at);
        match fate {
            Fate::Failed(failure) => {
                failure.alone = true;
                false
            }
            _ => {
                warmth.touch(partition, second);
                true
            }
        }
    }
}

impl Warmth {
    const COLD: u32 = 0;
    const WARMING: u32 = 1;

    /// All partitions cold.
    pub fn cold(partitions: usize) -> Self {
        Self((0..partitions).map(|_| AtomicU32::new(Self::COLD)).collect())
    }

    /// Whether records may follow each other there without waiting for an answer. A partition that was idle for
    /// `idle_seconds` is cold again.
    pub fn is_warm(&self, partition: usize, second: u32, idle_seconds: u32) -> bool {
        let touched = self.0[partition].load(Ordering::Acquire);
        if touched <= Self::WARMING {
            return false;
        }
        if second.saturating_sub(touched - 2) > idle_seconds {
            let _ = self.0[partition].compare_exchange(touched, Self::COLD, Ordering::AcqRel, Ordering::Acquire);
            return false;
        }
        true
    }

    /// Whether its first record is under way.
    pub fn is_warming(&self, partition: usize) -> bool {
        self.0[partition].load(Ordering::Acquire) == Self::WARMING
    }

    /// Claims the right to send the first record there.
    pub fn begin(&self, partition: usize) -> bool {
        self.0[partition]
            .compare_exchange(Self::COLD, Self::WARMING, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Gives the right back: the record was not sent.
    pub fn abandon(&self, partition: usize) {
        self.0[partition].store(Self::COLD, Ordering::Release);
    }

    /// Notes that a record was sent in this second to a warm partition.
    pub fn touch(&self, partition: usize, second: u32) {
        self.0[partition].store(second.saturating_add(2), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_kept_until_everything_of_its_batch_is_reported_and_no_longer() {
        for given_up in [false, true] {
            let flight = Flight::new();
            let slot = flight.board(2);
            let payload = Bytes::from(vec![1]);
            flight.hold(Tag::new(slot, 0), payload.clone());
            if given_up {
                flight.leave(slot, 2);
            }
            for index in 0..2 {
                assert!(!payload.is_unique());
                assert!(flight.reserve(slot, 1));
                assert_eq!(flight.reported(Tag::new(slot, index), 1, Fate::Delivered), None);
            }
            if !given_up {
                flight.leave(slot, 2);
            }
            assert!(payload.is_unique(), "given up: {given_up}");
        }
    }
}
