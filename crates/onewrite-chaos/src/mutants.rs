//! Relays with planted bugs, each of a kind that real ones have had: a campaign that would not notice them proves nothing.

use std::sync::Arc;

use onewrite_core::{Outbox, SinkConnector};
use onewrite_testkit::faults::{SinkBug, SourceBug, buggy_connector, buggy_outbox};

use crate::fault::Fault;
use crate::setting::{Feed, SinkType};

/// A relay with a bug, and the campaign that is to notice it.
pub struct Mutant {
    /// Its name, as the program `onewrite-mutant` takes it.
    pub name: &'static str,
    /// What it does wrong.
    pub meaning: &'static str,
    bug: Bug,
    /// The feed of its campaign.
    pub source: Feed,
    /// The broker of its campaign.
    pub sink: SinkType,
    /// The faults of its campaign.
    pub faults: &'static [Fault],
}

#[derive(Clone, Copy)]
enum Bug {
    Sink(SinkBug),
    Source(SourceBug),
}

/// All there are.
pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "settles-before-acknowledgement",
        meaning: "settles what it has handed over before the broker acknowledges it",
        bug: Bug::Sink(SinkBug::SettleBeforeAck),
        source: Feed::Poll,
        sink: SinkType::Kafka,
        faults: &[Fault::BrokerDown, Fault::BrokerPartitioned],
    },
    Mutant {
        name: "ignores-returned",
        meaning: "takes what the broker gave back for delivered",
        bug: Bug::Sink(SinkBug::IgnoresReturned),
        source: Feed::Poll,
        sink: SinkType::RabbitMq,
        faults: &[Fault::Unroutable],
    },
    Mutant {
        name: "reorders",
        meaning: "delivers a batch from its end",
        bug: Bug::Sink(SinkBug::Reorder),
        source: Feed::Wal,
        sink: SinkType::Nats,
        faults: &[Fault::OperatorPauses],
    },
    Mutant {
        name: "unknown-is-delivered",
        meaning: "drops the retry when the connection breaks",
        bug: Bug::Sink(SinkBug::UnknownIsDelivered),
        source: Feed::Poll,
        sink: SinkType::Kafka,
        faults: &[Fault::BrokerDown, Fault::BrokerPartitioned],
    },
    Mutant {
        name: "cursor-by-sequence",
        meaning: "reads on from the highest sequence, past transactions that commit late",
        bug: Bug::Source(SourceBug::CursorById),
        source: Feed::Poll,
        sink: SinkType::Http,
        faults: &[Fault::TransactionHeld],
    },
    Mutant {
        name: "floor-past-unsettled",
        meaning: "records everything that it handed out as settled",
        bug: Bug::Source(SourceBug::FloorPastUnsettled),
        source: Feed::Wal,
        sink: SinkType::Kafka,
        faults: &[Fault::RelayKilled, Fault::BrokerDown],
    },
    Mutant {
        name: "loses-parked",
        meaning: "says that a poison event is set aside without setting it aside",
        bug: Bug::Source(SourceBug::LosesParked),
        source: Feed::Poll,
        sink: SinkType::Nats,
        faults: &[Fault::Poison],
    },
    Mutant {
        name: "advances-before-seen",
        meaning: "moves its place before it has seen what lies there",
        bug: Bug::Source(SourceBug::AdvancesBeforeSeen),
        source: Feed::Poll,
        sink: SinkType::Redis,
        faults: &[Fault::SessionsEnded, Fault::RelayKilled],
    },
    Mutant {
        name: "orders-by-transaction",
        meaning: "orders by the beginning of transactions instead of by the key's lock",
        bug: Bug::Source(SourceBug::OrderByTransaction),
        source: Feed::Poll,
        sink: SinkType::Redis,
        faults: &[Fault::OperatorPauses],
    },
];

impl Mutant {
    /// The one of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        MUTANTS.iter().find(|mutant| mutant.name == name)
    }

    /// The outbox with the bug, if the bug is there.
    pub fn outbox(&self, inner: Arc<dyn Outbox>) -> Arc<dyn Outbox> {
        match self.bug {
            Bug::Source(bug) => buggy_outbox(inner, bug),
            Bug::Sink(_) => inner,
        }
    }

    /// A route's connector with the bug, if the bug is there.
    pub fn connector(&self, inner: Arc<dyn SinkConnector>) -> Arc<dyn SinkConnector> {
        match self.bug {
            Bug::Sink(bug) => buggy_connector(inner, bug),
            Bug::Source(_) => inner,
        }
    }
}
