//! Planted bugs: adapters that break their contract, each in one way that real ones have been broken. Whoever tests
//! reliability shows with them that the tests would notice.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::error::SinkError;
use onewrite_core::routing::Share;
use onewrite_core::sink::Finding;
use onewrite_core::spread::Standing;
use onewrite_core::store::{Maintenance, RouteControl, RouteReport};
use onewrite_core::{
    BatchLimit, DeliveryReport, Event, Lease, Member, Outbox, Outcome, Parking, Position, Settlement, Sink,
    SinkConnector, Source, Sourced, StoreError,
};

use super::sinks::pass_on;

/// A bug of a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkBug {
    /// Says that everything is delivered as soon as it has been handed over, whatever becomes of it.
    SettleBeforeAck,
    /// Takes what the broker gave back for delivered.
    IgnoresReturned,
    /// Reports the failure of one event as that of the whole batch, though the others arrived, also those behind it.
    WholeBatchNack,
    /// Delivers a batch from its end.
    Reorder,
    /// Goes on with a key behind an event that was refused.
    KeyGoesOn,
    /// Takes what nobody reported, when the connection broke, for delivered.
    UnknownIsDelivered,
}

/// `inner` with a bug.
pub fn buggy_connector(inner: Arc<dyn SinkConnector>, bug: SinkBug) -> Arc<dyn SinkConnector> {
    Arc::new(BuggyConnector { inner, bug })
}

/// A bug of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceBug {
    /// Reads on from the highest sequence seen, and so passes over transactions that commit late.
    CursorById,
    /// Records everything handed out as settled, whatever is pending or still open.
    FloorPastUnsettled,
    /// Says that an event is set aside without setting it aside.
    LosesParked,
    /// Passes over the first batch of what was there when it was opened, as one does that moved its place in a log before it had
    /// seen what lay there.
    AdvancesBeforeSeen,
    /// Hands out the events of each batch in the order of their transactions' beginnings, here in the opposite of their own.
    OrderByTransaction,
}

/// `inner` with a bug in its feeds.
pub fn buggy_outbox(inner: Arc<dyn Outbox>, bug: SourceBug) -> Arc<dyn Outbox> {
    Arc::new(BuggyOutbox { inner, bug })
}

struct BuggyConnector {
    inner: Arc<dyn SinkConnector>,
    bug: SinkBug,
}

#[async_trait]
impl SinkConnector for BuggyConnector {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    async fn connect(&self) -> Result<Box<dyn Sink>, SinkError> {
        Ok(Box::new(BuggySink {
            inner: self.inner.connect().await?,
            bug: self.bug,
        }))
    }

    async fn probe(&self, topics: &[String]) -> Vec<Finding> {
        self.inner.probe(topics).await
    }
}

struct BuggySink {
    inner: Box<dyn Sink>,
    bug: SinkBug,
}

#[async_trait]
impl Sink for BuggySink {
    async fn deliver(&self, batch: &[Event], report: &mut DeliveryReport) -> Result<(), SinkError> {
        let mut inner = DeliveryReport::new(batch.len());
        match self.bug {
            SinkBug::SettleBeforeAck => {
                (0..batch.len()).for_each(|index| report.delivered(index));
                // What becomes of it is no longer of interest.
                let _ = self.inner.deliver(batch, &mut inner).await;
                Ok(())
            }
            SinkBug::IgnoresReturned => {
                let result = self.inner.deliver(batch, &mut inner).await;
                for (index, outcome) in inner.into_outcomes().into_iter().enumerate() {
                    if !matches!(outcome, Outcome::Unknown) {
                        report.delivered(index);
                    }
                }
                result
            }
            SinkBug::WholeBatchNack => {
                for event in 0..batch.len() {
                    pass_on(&*self.inner, batch, &[event], &mut inner).await?;
                }
                self.nack_all(inner.into_outcomes(), report);
                Ok(())
            }
            SinkBug::KeyGoesOn => {
                for event in 0..batch.len() {
                    pass_on(&*self.inner, batch, &[event], report).await?;
                }
                Ok(())
            }
            SinkBug::UnknownIsDelivered => {
                let result = self.inner.deliver(batch, &mut inner).await;
                for (index, outcome) in inner.into_outcomes().into_iter().enumerate() {
                    match outcome {
                        Outcome::Failed(error) => report.failed(index, error),
                        Outcome::Delivered | Outcome::Unknown => report.delivered(index),
                    }
                }
                result
            }
            SinkBug::Reorder => {
                let backwards: Vec<usize> = (0..batch.len()).rev().collect();
                pass_on(&*self.inner, batch, &backwards, report).await
            }
        }
    }

    async fn close(&self) -> Result<(), SinkError> {
        self.inner.close().await
    }
}

impl BuggySink {
    fn nack_all(&self, outcomes: Vec<Outcome>, report: &mut DeliveryReport) {
        let first = outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Failed(error) => Some((error.action, error.to_string())),
            _ => None,
        });
        for (index, outcome) in outcomes.into_iter().enumerate() {
            match (&first, outcome) {
                (Some((action, words)), _) => report.failed(index, SinkError::new(*action, words.clone())),
                (None, Outcome::Delivered) => report.delivered(index),
                (None, _) => {}
            }
        }
    }
}

struct BuggyOutbox {
    inner: Arc<dyn Outbox>,
    bug: SourceBug,
}

#[async_trait]
impl Outbox for BuggyOutbox {
    async fn claim(&self, member: &Member, group: u32, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        self.inner.claim(member, group, ttl).await
    }

    async fn attend(&self, member: &Member, ttl: Duration) -> Result<Standing, StoreError> {
        self.inner.attend(member, ttl).await
    }

    async fn leave(&self, member: &Member) -> Result<(), StoreError> {
        self.inner.leave(member).await
    }

    async fn renew(
        &self,
        lease: &Lease,
        ttl: Duration,
        reports: &[RouteReport],
    ) -> Result<Vec<RouteControl>, StoreError> {
        self.inner.renew(lease, ttl, reports).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.inner.release(lease).await
    }

    async fn adopt(&self, lease: &Lease, shares: &[Share]) -> Result<(), StoreError> {
        self.inner.adopt(lease, shares).await
    }

    async fn feed(&self, lease: &Lease, share: &Share) -> Result<Box<dyn Source>, StoreError> {
        Ok(Box::new(BuggySource {
            inner: self.inner.feed(lease, share).await?,
            bug: self.bug,
            cursor: 0,
            last: None,
            batches: 0,
        }))
    }

    async fn redeliveries(&self, lease: &Lease, share: &Share) -> Result<Box<dyn Source>, StoreError> {
        self.inner.redeliveries(lease, share).await
    }

    async fn blocked_keys(&self, lease: &Lease, route: &str) -> Result<Vec<Arc<str>>, StoreError> {
        self.inner.blocked_keys(lease, route).await
    }

    async fn halt(&self, lease: &Lease, route: &str, reason: &str) -> Result<(), StoreError> {
        self.inner.halt(lease, route, reason).await
    }

    async fn maintain(&self, lease: &Lease) -> Result<Maintenance, StoreError> {
        self.inner.maintain(lease).await
    }
}

struct BuggySource {
    inner: Box<dyn Source>,
    bug: SourceBug,
    /// The highest sequence handed out.
    cursor: u64,
    last: Option<Position>,
    batches: u64,
}

#[async_trait]
impl Source for BuggySource {
    async fn next_batch(&mut self, limit: BatchLimit) -> Result<Vec<Sourced>, StoreError> {
        let mut events = self.inner.next_batch(limit).await?;
        self.batches += 1;
        match self.bug {
            SourceBug::CursorById => {
                let cursor = self.cursor;
                events.retain(|sourced| sourced.position.sequence > cursor);
                let highest = events.iter().map(|sourced| sourced.position.sequence).max();
                self.cursor = cursor.max(highest.unwrap_or_default());
            }
            SourceBug::AdvancesBeforeSeen if self.batches == 1 && !events.is_empty() => {
                events = self.inner.next_batch(limit).await?;
            }
            SourceBug::OrderByTransaction => {
                let places: Vec<Position> = events.iter().map(|sourced| sourced.position).collect();
                events.reverse();
                for (sourced, place) in events.iter_mut().zip(places) {
                    sourced.position = place;
                }
            }
            _ => {}
        }
        self.last = events.last().map(|sourced| sourced.position).or(self.last);
        Ok(events)
    }

    async fn wait(&mut self) {
        self.inner.wait().await;
    }

    async fn settle(&mut self, settlement: &Settlement) -> Result<(), StoreError> {
        match self.bug {
            SourceBug::FloorPastUnsettled => {
                let everything = Settlement {
                    through: self.last,
                    pending: Vec::new(),
                };
                self.inner.settle(&everything).await
            }
            _ => self.inner.settle(settlement).await,
        }
    }

    async fn park(&mut self, events: &[Parking]) -> Result<(), StoreError> {
        match self.bug {
            SourceBug::LosesParked => Ok(()),
            _ => self.inner.park(events).await,
        }
    }
}
