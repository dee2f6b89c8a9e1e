//! Planted bugs, each of a kind that real relays have had: a simulation that would not notice them proves nothing.

use std::fmt;
use std::sync::Arc;

use onewrite_core::{Outbox, SinkConnector};
use onewrite_testkit::faults::{SinkBug, SourceBug, buggy_connector, buggy_outbox};
use onewrite_testkit::memory::{LeaseBug, MemoryDatabase};

/// What the simulation of PostgreSQL does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedBug {
    /// The bound of sequences is read after the fence, and not before it.
    BoundAfterFence,
    /// A queue counts as complete although the log broke off.
    KeepsBrokenQueue,
    /// A snapshot is gone on to before the log was read up to where it was taken.
    AheadOfTheLog,
}

/// A relay with a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Of its sinks.
    Sink(SinkBug),
    /// Of its feeds.
    Source(SourceBug),
    /// Of its database's leases.
    Lease(LeaseBug),
    /// Of how it follows snapshots and the log.
    Feed(FeedBug),
    /// Of its database, whose replays are through without what was delivered and is not recorded yet.
    HastyReplays,
    /// Of its database, which empties segments that are not settled.
    HastyEmptying,
}

impl Mutant {
    /// All there are.
    pub const ALL: &[Self] = &[
        Self::Sink(SinkBug::SettleBeforeAck),
        Self::Sink(SinkBug::IgnoresReturned),
        Self::Sink(SinkBug::Reorder),
        Self::Sink(SinkBug::KeyGoesOn),
        Self::Sink(SinkBug::UnknownIsDelivered),
        Self::Source(SourceBug::CursorById),
        Self::Source(SourceBug::FloorPastUnsettled),
        Self::Source(SourceBug::LosesParked),
        Self::Source(SourceBug::AdvancesBeforeSeen),
        Self::Source(SourceBug::OrderByTransaction),
        Self::Feed(FeedBug::BoundAfterFence),
        Self::Feed(FeedBug::KeepsBrokenQueue),
        Self::Feed(FeedBug::AheadOfTheLog),
        Self::Lease(LeaseBug::Unfenced),
        Self::Lease(LeaseBug::MixesLayouts),
        Self::Lease(LeaseBug::UnfencedByGroup),
        Self::HastyReplays,
        Self::HastyEmptying,
    ];

    pub(crate) fn connector(self, inner: Arc<dyn SinkConnector>) -> Arc<dyn SinkConnector> {
        match self {
            Self::Sink(bug) => buggy_connector(inner, bug),
            Self::Source(_) | Self::Feed(_) | Self::Lease(_) | Self::HastyReplays | Self::HastyEmptying => inner,
        }
    }

    pub(crate) fn outbox(self, inner: Arc<dyn Outbox>) -> Arc<dyn Outbox> {
        match self {
            Self::Source(bug) => buggy_outbox(inner, bug),
            Self::Sink(_) | Self::Feed(_) | Self::Lease(_) | Self::HastyReplays | Self::HastyEmptying => inner,
        }
    }

    pub(crate) fn feed(self) -> Option<FeedBug> {
        match self {
            Self::Feed(bug) => Some(bug),
            Self::Sink(_) | Self::Source(_) | Self::Lease(_) | Self::HastyReplays | Self::HastyEmptying => None,
        }
    }

    pub(crate) fn database(self, database: &MemoryDatabase) {
        match self {
            Self::Lease(bug) => database.plant(bug),
            Self::HastyReplays => database.finish_replays_early(),
            Self::HastyEmptying => database.empty_early(),
            Self::Sink(_) | Self::Source(_) | Self::Feed(_) => {}
        }
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Self::Sink(SinkBug::SettleBeforeAck) => "settles before the acknowledgement",
            Self::Sink(SinkBug::IgnoresReturned) => "takes what came back for delivered",
            Self::Sink(SinkBug::WholeBatchNack) => "fails whole batches",
            Self::Sink(SinkBug::Reorder) => "delivers a batch from its end",
            Self::Sink(SinkBug::KeyGoesOn) => "goes on with a key behind a refused event",
            Self::Sink(SinkBug::UnknownIsDelivered) => "drops the retry when the connection breaks",
            Self::Source(SourceBug::CursorById) => "reads on from the highest sequence",
            Self::Source(SourceBug::FloorPastUnsettled) => "moves the floor past what is not settled",
            Self::Source(SourceBug::LosesParked) => "loses what is set aside",
            Self::Source(SourceBug::AdvancesBeforeSeen) => "moves its place before it has seen what lies there",
            Self::Source(SourceBug::OrderByTransaction) => "orders by transactions instead of by the lock of the key",
            Self::Feed(FeedBug::BoundAfterFence) => "bounds sequences by what was drawn after its fence",
            Self::Feed(FeedBug::KeepsBrokenQueue) => "goes on with a queue after the log broke off",
            Self::Feed(FeedBug::AheadOfTheLog) => "goes on to a snapshot before it has read the log up to it",
            Self::Lease(LeaseBug::Unfenced) => "writes progress without a fence",
            Self::Lease(LeaseBug::MixesLayouts) => "takes a group while another layout is held",
            Self::Lease(LeaseBug::UnfencedByGroup) => "does not fence by group",
            Self::HastyReplays => "replays only what is recorded as delivered already",
            Self::HastyEmptying => "empties segments that are not settled",
        };
        formatter.write_str(words)
    }
}
