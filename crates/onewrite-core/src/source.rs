//! The contract of sources: where events come from.

use async_trait::async_trait;

use crate::error::StoreError;
use crate::event::Event;
use crate::position::{Position, Settlement};

/// Hands out a route's events and records what is settled. One task owns a source; it is never shared.
///
/// A source upholds:
/// - **Nothing skipped.** Every committed event of its route that is not settled is handed out once per incarnation.
/// - **Nothing invented.** An event is handed out only when its commit is durable, and only while the lease is held.
/// - **Order.** Positions ascend strictly, and two events of one key come in the order of their commits.
/// - **Settled means settled.** After [`settle`](Self::settle) returned `Ok`, no later incarnation hands out an event
///   covered by it; an event that is not covered is handed out again by the next one. Only a crash of the *database* may take the
///   last settlements back, never one and not the later ones, and never one that something committed later depends on (an event set
///   aside, a segment emptied, the lease's next epoch): what they covered is then handed out again.
#[async_trait]
pub trait Source: Send {
    /// Returns what is there now, in order, within `limit` (but at least one event if there is any). An empty batch
    /// means there was nothing at hand (over a log, committed events may still be on their way); the caller then
    /// [`wait`](Self::wait)s. It does not wait itself. Cancel-safe: when the future is dropped, the same events are handed
    /// out by the next call.
    async fn next_batch(&mut self, limit: BatchLimit) -> Result<Vec<Sourced>, StoreError>;

    /// Returns when another [`next_batch`](Self::next_batch) is worthwhile. Cancel-safe.
    async fn wait(&mut self);

    /// Records `settlement`, fenced by the lease. Calls come with ever higher settlements; repeating one is harmless.
    async fn settle(&mut self, settlement: &Settlement) -> Result<(), StoreError>;

    /// Sets events aside durably, fenced by the lease, before they are settled. Parking one twice leaves one.
    async fn park(&mut self, events: &[Parking]) -> Result<(), StoreError>;
}

/// An event with its place.
#[derive(Clone, Debug)]
pub struct Sourced {
    /// Its place in the source's order.
    pub position: Position,
    /// What to deliver, or why the row cannot be an event (it is parked then).
    pub event: Event,
    /// Why the row cannot be delivered, where the source found that its columns do not make a valid event.
    pub defect: Option<String>,
}

impl Sourced {
    /// An event with its place, checked: what is wrong with it becomes its defect.
    pub fn checked(position: Position, event: Event) -> Self {
        let defect = event.check().err().map(|invalid| invalid.to_string());
        Self {
            position,
            event,
            defect,
        }
    }
}

/// An event to set aside.
#[derive(Clone, Debug)]
pub struct Parking {
    /// Its place, as the source handed it out.
    pub position: Position,
    /// The event.
    pub event: Event,
    /// Whether it is itself poison or waits behind one.
    pub reason: ParkReason,
    /// Deliveries tried.
    pub attempts: u32,
}

/// Why an event is set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParkReason {
    /// It is poison: the broker's words, or what is wrong with the row.
    Poison(String),
    /// An event of its key is parked, and the route keeps the key's order by holding what follows.
    Held,
}

/// How much a caller has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimit {
    /// Events at the most; at least 1.
    pub events: usize,
    /// Bytes after which to stop; the event that crosses it is still handed out. What an event counts for is its
    /// [weight](Event::weight) where that costs nothing, and its payload alone where it does.
    pub bytes: usize,
}
