//! The suite for sinks. It drives a sink as core does: it retries in order for each key, never has two batches with one key
//! under way, connects anew when told to, and gives up deliveries that take too long.

mod cancelling;
mod delivering;
mod drive;
mod events;
mod expect;
mod failing;
mod outage;
mod refusing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::error::BoxError;
use onewrite_core::{Event, SinkConnector};
use uuid::Uuid;

use super::report::{Broken, Case, cases, run};
use crate::faults::{FaultProxy, ProxyMode};

/// A broker that a sink is checked against, with the means to do it harm.
#[async_trait]
pub trait SinkHarness: Send {
    /// What is checked, for people: sink, broker and version.
    fn name(&self) -> String;

    /// Makes a fresh destination, which [`read_back`](Self::read_back) reads from now on, and a connector to it.
    async fn destination(&mut self) -> Result<Destination, BoxError>;

    /// Everything that the destination holds, duplicates included, in the order of arrival for each key: read by something
    /// that has nothing in common with the sink.
    async fn read_back(&mut self) -> Result<Vec<Arrived>, BoxError>;

    /// An event for the present destination that the broker refuses for good; `None` only where it can refuse nothing. The
    /// suite gives it an id and a key.
    fn poison(&self) -> Option<Event>;

    /// An event for the present destination that is too large for the broker; `None` only where nothing is. The suite gives it
    /// an id and a key.
    fn oversize(&self) -> Option<Event>;

    /// What stands between sink and broker, where it plays the faults below; `None` where the harness plays them itself.
    fn proxy(&self) -> Option<&FaultProxy> {
        None
    }

    /// Whether the broker takes what it is sent, but nothing that it answers reaches the sink.
    async fn lose_replies(&mut self, lose: bool) -> Result<(), BoxError> {
        play(self.proxy(), ProxyMode::DropReplies, lose)
    }

    /// Stops the broker without a warning, as a crash does.
    async fn stop_broker(&mut self) -> Result<(), BoxError>;

    /// Starts it again, with what it holds, and returns when it answers.
    async fn start_broker(&mut self) -> Result<(), BoxError>;

    /// Whether the broker, or the way to it, is very slow.
    async fn slow_broker(&mut self, slow: bool) -> Result<(), BoxError> {
        play(self.proxy(), ProxyMode::Delay(self.slowness()), slow)
    }

    /// How slow the proxy then is, in each direction.
    fn slowness(&self) -> Duration {
        Duration::from_millis(100)
    }

    /// How long one delivery may take before the suite drops it and counts what is not reported as unknown: a little more than
    /// the sink is configured to wait for an answer.
    fn delivery_timeout(&self) -> Duration {
        Duration::from_secs(10)
    }
}

/// Begins or ends a fault of the proxy.
fn play(proxy: Option<&FaultProxy>, fault: ProxyMode, begins: bool) -> Result<(), BoxError> {
    let proxy = proxy.ok_or("the harness has neither a proxy nor a way of its own to play this fault")?;
    proxy.set(if begins { fault } else { ProxyMode::Pass });
    Ok(())
}

/// Where a case delivers to.
#[derive(Clone)]
pub struct Destination {
    /// What connects to it.
    pub connector: Arc<dyn SinkConnector>,
    /// The topic of the events to deliver.
    pub topic: String,
}

/// An event as an independent reader found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Its id.
    pub id: Uuid,
    /// Its key.
    pub key: Option<String>,
    /// Its body.
    pub payload: Vec<u8>,
    /// Its headers as core's [`wire`](onewrite_core::wire) has them, names in lower case; without what the wire itself adds.
    pub headers: BTreeMap<String, String>,
}

/// How long one case may take: a broker that is killed and started again needs its time.
const CASE_TIMEOUT: Duration = Duration::from_secs(240);

const CASES: &[Case<dyn SinkHarness>] = cases![
    delivering::a_batch_of_one_arrives,
    delivering::a_batch_of_two_thousand_arrives_in_order,
    delivering::many_batches_at_once_arrive_in_order,
    delivering::events_arrive_untouched,
    delivering::closing_twice_is_harmless,
    refusing::poison_is_parked_with_words_and_stops_its_key_alone,
    refusing::every_event_has_an_outcome_of_its_own,
    refusing::an_oversized_event_is_parked_alone,
    failing::a_lost_reply_is_unknown_and_the_same_id_arrives_again,
    failing::a_slow_broker_makes_nothing_unknown_delivered,
    cancelling::a_dropped_delivery_reorders_nothing,
    cancelling::a_sink_dropped_without_close_reorders_nothing,
    outage::what_is_delivered_outlives_a_restart_of_the_broker,
    outage::a_stopped_broker_takes_nothing_and_parks_nothing,
    outage::a_broker_killed_in_mid_batch_loses_and_reorders_nothing,
];

/// Runs every case.
///
/// # Errors
/// The cases that failed, each with what is required and what was seen.
pub async fn check(harness: &mut (dyn SinkHarness + 'static)) -> Result<(), Broken> {
    run(harness.name(), harness, CASES, CASE_TIMEOUT).await
}

/// The names of all cases.
pub fn names() -> Vec<&'static str> {
    CASES.iter().map(|case| case.name).collect()
}
