//! How a route behaves.

use std::time::Duration;

use serde::Serialize;

use crate::backoff::Backoff;
use crate::limits::{
    BACKOFF_FIRST, BACKOFF_MAX, BATCH_BYTES, BATCH_EVENTS, BREAKER_THRESHOLD, CONCURRENT_BATCHES, DELIVERY_TIMEOUT,
    IN_FLIGHT_BYTES, IN_FLIGHT_EVENTS,
};
use crate::source::BatchLimit;

/// What happens to the events of a key after one of them turned out to be poison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnPoison {
    /// The poison event is parked, and the key goes on.
    #[default]
    Park,
    /// The poison event is parked, and later events of its key are held behind it.
    BlockKey,
    /// The route stops until an operator resumes it.
    Halt,
}

/// The behaviour of a route, the same whatever its source and sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteBehaviour {
    /// What happens after a poison event.
    pub on_poison: OnPoison,
    /// Most events, and most bytes, between being read and being recorded as settled.
    pub in_flight: BatchLimit,
    /// Most events, and most bytes, of one delivery.
    pub batch: BatchLimit,
    /// Deliveries under way at once.
    pub concurrent_batches: usize,
    /// How long one delivery may take.
    pub delivery_timeout: Duration,
    /// The waits between retries.
    pub backoff: Backoff,
    /// Deliveries in a row that bring nothing through before the circuit breaker opens.
    pub breaker_threshold: u32,
}

impl Default for RouteBehaviour {
    fn default() -> Self {
        Self {
            on_poison: OnPoison::Park,
            in_flight: BatchLimit {
                events: IN_FLIGHT_EVENTS,
                bytes: IN_FLIGHT_BYTES,
            },
            batch: BatchLimit {
                events: BATCH_EVENTS,
                bytes: BATCH_BYTES,
            },
            concurrent_batches: CONCURRENT_BATCHES,
            delivery_timeout: DELIVERY_TIMEOUT,
            backoff: Backoff {
                first: BACKOFF_FIRST,
                max: BACKOFF_MAX,
            },
            breaker_threshold: BREAKER_THRESHOLD,
        }
    }
}
