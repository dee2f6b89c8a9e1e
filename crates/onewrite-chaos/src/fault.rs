//! What can go wrong: every kind of fault with its place in the matrix and what is expected of the relay.

use serde::Serialize;

use crate::setting::{Feed, Setting, SinkType};

/// Where a fault acts. No two faults of one window act in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// A relay's process.
    Relay,
    /// The connections between relays and database.
    DatabaseLink,
    /// The database, its slots and its sessions.
    Database,
    /// The connections between relays and broker.
    BrokerLink,
    /// The broker.
    Broker,
    /// What applications write.
    Load,
    /// What operators ask for.
    Operator,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the table below tells of each")]
pub enum Fault {
    RelayKilled,
    RelayFrozen,
    RelayHandsOver,
    RelayClock,
    DatabaseAnswersLost,
    DatabaseSlow,
    DatabaseCut,
    LeaderPartitioned,
    SessionsEnded,
    DatabaseStopped,
    DatabaseKilled,
    DatabasePromoted,
    DatabaseDiskFull,
    CertificateRotated,
    CertificateUntrusted,
    SlotDropped,
    SlotOutgrown,
    SlotWaits,
    WalsenderEnded,
    TransactionHeld,
    AcknowledgementsLost,
    BrokerSlow,
    BrokerNarrow,
    BrokerSliced,
    BrokerHalfOpen,
    BrokerLimited,
    BrokerPartitioned,
    BrokerKilled,
    BrokerDown,
    BrokerRefuses,
    BrokerDiskFull,
    Unroutable,
    Poison,
    LargeTransactions,
    LargePayloads,
    OperatorPauses,
    OperatorReplays,
}

/// What is to be said of a kind of fault.
pub struct Description {
    /// The kind.
    pub fault: Fault,
    /// Its name, as `--faults` takes it.
    pub name: &'static str,
    /// The rows of the matrix that it stands for.
    pub rows: &'static [u8],
    /// Where it acts.
    pub target: Target,
    /// What happens.
    pub meaning: &'static str,
    /// What the relay is to do, besides keeping the promise.
    pub expected: &'static str,
}

/// Every kind.
pub const FAULTS: &[Description] = &[
    row(
        Fault::RelayKilled,
        "relay-killed",
        &[1],
        Target::Relay,
        "kill -9 of the leader, which is started again at once",
        "what was in flight comes again under the same ids; the other takes over",
    ),
    row(
        Fault::RelayFrozen,
        "relay-frozen",
        &[3],
        Target::Relay,
        "SIGSTOP of the leader for the rest of the window, past its lease, then SIGCONT",
        "the other takes over; what the zombie still sends is repetition, and it records nothing",
    ),
    row(
        Fault::RelayHandsOver,
        "relay-hands-over",
        &[1],
        Target::Relay,
        "SIGTERM of the leader, which is started again when it has ended",
        "it ends by itself and well; the other takes over at once",
    ),
    row(
        Fault::RelayClock,
        "relay-clock",
        &[21],
        Target::Relay,
        "one relay runs with its clock an hour ahead or behind",
        "leases and order know no clock of the relay's",
    ),
    row(
        Fault::DatabaseAnswersLost,
        "database-answers-lost",
        &[2],
        Target::DatabaseLink,
        "what the database answers the relays is dropped, then connections are reset",
        "a commit of unknown outcome is not believed; sources begin anew",
    ),
    row(
        Fault::DatabaseSlow,
        "database-slow",
        &[9],
        Target::DatabaseLink,
        "100 ms each way between relays and database",
        "slower, and nothing else",
    ),
    row(
        Fault::DatabaseCut,
        "database-cut",
        &[9],
        Target::DatabaseLink,
        "connections between relays and database are reset",
        "they connect anew when they can",
    ),
    row(
        Fault::LeaderPartitioned,
        "leader-partitioned",
        &[3, 9],
        Target::DatabaseLink,
        "the leader's connections to the database stay open and pass nothing on",
        "the other takes over when the lease ends; the leader ceases to deliver by itself",
    ),
    row(
        Fault::SessionsEnded,
        "sessions-ended",
        &[4],
        Target::Database,
        "every session of the relays is ended, the lease's among them",
        "they connect anew; who leads is settled by the lease",
    ),
    row(
        Fault::DatabaseStopped,
        "database-stopped",
        &[4],
        Target::Database,
        "PostgreSQL stops in immediate mode and starts again",
        "no phantom, also of transactions with synchronous_commit = off",
    ),
    row(
        Fault::DatabaseKilled,
        "database-killed",
        &[4],
        Target::Database,
        "kill -9 of the postmaster and all its processes, then a start",
        "no phantom, also of transactions with synchronous_commit = off",
    ),
    row(
        Fault::DatabasePromoted,
        "database-promoted",
        &[5],
        Target::Database,
        "the primary is killed for good, its synchronous standby takes over under the same address",
        "events go on from the recorded floor; a slot that is not there is made anew",
    ),
    row(
        Fault::DatabaseDiskFull,
        "database-disk-full",
        &[13],
        Target::Database,
        "the file system of the database's tables is full",
        "applications see the error; the relay drains what is there",
    ),
    row(
        Fault::CertificateRotated,
        "certificate-rotated",
        &[22],
        Target::Database,
        "the server shows a new certificate of the same authority, and sessions are ended",
        "they connect anew",
    ),
    row(
        Fault::CertificateUntrusted,
        "certificate-untrusted",
        &[22],
        Target::Database,
        "the server shows a certificate of an unknown authority, which is put right at the end",
        "nothing goes over the connection, no plain text instead; afterwards everything goes on",
    ),
    row(
        Fault::SlotDropped,
        "slot-dropped",
        &[6],
        Target::Database,
        "the relay's slot is dropped from under it",
        "the table is read from the floor; a new slot is made",
    ),
    row(
        Fault::SlotOutgrown,
        "slot-outgrown",
        &[6],
        Target::Database,
        "the leader stands still until max_slot_wal_keep_size takes its slot",
        "the table is read from the floor; a new slot is made",
    ),
    row(
        Fault::SlotWaits,
        "slot-waits",
        &[7],
        Target::Database,
        "the slot is dropped while a transaction is open that a new one has to wait for",
        "it polls meanwhile, and says whom it waits for",
    ),
    row(
        Fault::WalsenderEnded,
        "walsender-ended",
        &[6],
        Target::Database,
        "the server's process that feeds the relay is ended",
        "it reads on",
    ),
    row(
        Fault::TransactionHeld,
        "transaction-held",
        &[18],
        Target::Database,
        "a transaction with an id is open in this database and in another, and one with a snapshot",
        "the others' events pass at the usual rate",
    ),
    row(
        Fault::AcknowledgementsLost,
        "acknowledgements-lost",
        &[2],
        Target::BrokerLink,
        "what the broker answers is dropped, then connections are reset",
        "unknown is not success: the same ids come again",
    ),
    row(
        Fault::BrokerSlow,
        "broker-slow",
        &[10],
        Target::BrokerLink,
        "500 ms each way between relays and broker",
        "what is in flight is bounded",
    ),
    row(
        Fault::BrokerNarrow,
        "broker-narrow",
        &[10],
        Target::BrokerLink,
        "50 KB a second on each connection",
        "what is in flight is bounded; a backlog waits in the table",
    ),
    row(
        Fault::BrokerSliced,
        "broker-sliced",
        &[10],
        Target::BrokerLink,
        "everything passes in pieces of seven bytes",
        "nothing",
    ),
    row(
        Fault::BrokerHalfOpen,
        "broker-half-open",
        &[9],
        Target::BrokerLink,
        "connections stay open and pass nothing on",
        "a deadline, then a new connection",
    ),
    row(
        Fault::BrokerLimited,
        "broker-limited",
        &[9],
        Target::BrokerLink,
        "each connection is reset after 20,000 bytes",
        "what was confirmed stays so, the rest comes again",
    ),
    row(
        Fault::BrokerPartitioned,
        "broker-partitioned",
        &[8, 9],
        Target::BrokerLink,
        "connections are reset, new ones at once",
        "retries with growing pauses; the backlog waits in the table",
    ),
    row(
        Fault::BrokerKilled,
        "broker-killed",
        &[8],
        Target::Broker,
        "kill -9 of the broker, which is started again at once",
        "what was not confirmed comes again",
    ),
    row(
        Fault::BrokerDown,
        "broker-down",
        &[8],
        Target::Broker,
        "kill -9 of the broker, which is away for the rest of the window",
        "the backlog waits in the table and drains by itself",
    ),
    row(
        Fault::BrokerRefuses,
        "broker-refuses",
        &[11],
        Target::Broker,
        "the broker takes nothing: RabbitMQ by its memory alarm, Kafka by min.insync.replicas, NATS by a full stream, Redis by maxmemory, HTTP by 503",
        "retried for ever, nothing parked",
    ),
    row(
        Fault::BrokerDiskFull,
        "broker-disk-full",
        &[12],
        Target::Broker,
        "the file system of the broker's data is full; a broker that died of it is started again",
        "no false acknowledgement",
    ),
    row(
        Fault::Unroutable,
        "unroutable",
        &[15],
        Target::Broker,
        "nothing at the broker takes the events: RabbitMQ's binding is gone, NATS's stream has another subject",
        "parked with the broker's words, and delivered when an operator retries them",
    ),
    row(
        Fault::Poison,
        "poison",
        &[14],
        Target::Load,
        "one event in a thousand is larger than the broker takes (or, where it takes all, of a topic without a route)",
        "that event is parked, everything else passes",
    ),
    row(
        Fault::LargeTransactions,
        "large-transactions",
        &[19],
        Target::Load,
        "a transaction of 50,000 events rolls back, another commits",
        "memory stays bounded, nothing of what rolled back arrives",
    ),
    row(
        Fault::LargePayloads,
        "large-payloads",
        &[20],
        Target::Load,
        "a payload in fifty has 200 KB",
        "they arrive",
    ),
    row(
        Fault::OperatorPauses,
        "operator-pauses",
        &[8],
        Target::Operator,
        "the route is paused, and resumed at the end",
        "it stands still, then drains",
    ),
    row(
        Fault::OperatorReplays,
        "operator-replays",
        &[30],
        Target::Operator,
        "the last minute is replayed under load",
        "the same ids again; the inbox absorbs them",
    ),
];

const fn row(
    fault: Fault,
    name: &'static str,
    rows: &'static [u8],
    target: Target,
    meaning: &'static str,
    expected: &'static str,
) -> Description {
    Description {
        fault,
        name,
        rows,
        target,
        meaning,
        expected,
    }
}

impl Fault {
    /// What is to be said of it.
    pub fn description(self) -> &'static Description {
        FAULTS
            .iter()
            .find(|known| known.fault == self)
            .expect("the table has every kind")
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.description().name
    }

    /// The fault of this name.
    pub fn named(name: &str) -> Option<Self> {
        FAULTS.iter().find(|known| known.name == name).map(|known| known.fault)
    }

    /// Why it cannot befall a world of this setting, where it cannot.
    pub fn inapplicable(self, setting: &Setting) -> Option<&'static str> {
        let sink = setting.sink;
        match self {
            Self::SlotDropped | Self::SlotOutgrown | Self::SlotWaits | Self::WalsenderEnded
                if setting.source == Feed::Poll =>
            {
                Some("the poll feed has no slot")
            }
            Self::DatabaseDiskFull | Self::BrokerDiskFull if !setting.small_disks => {
                Some("a small file system needs root, to mount it")
            }
            Self::BrokerDiskFull if matches!(sink, SinkType::Mqtt | SinkType::Http | SinkType::Amqp1) => {
                Some("the fixture of this sink keeps nothing on a disk of its own, or synchronises none of it")
            }
            Self::RelayClock if !setting.clock => Some("libfaketime (Debian's package of this name) is not installed"),
            Self::BrokerRefuses if matches!(sink, SinkType::Mqtt | SinkType::Amqp1) => {
                Some("the broker has no such state that can be set and lifted while it runs")
            }
            Self::Unroutable if !matches!(sink, SinkType::RabbitMq | SinkType::Nats) => {
                Some("the sink has no destination that can go away without what it holds")
            }
            Self::LargePayloads if matches!(sink, SinkType::Mqtt) => {
                Some("the subscriber's queue of the fixture is in memory")
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_those_that_serde_writes() {
        let names: HashSet<_> = FAULTS.iter().map(|known| known.name).collect();
        assert_eq!(names.len(), FAULTS.len());
        for known in FAULTS {
            assert_eq!(serde_json::json!(known.fault), known.name);
            assert_eq!(Fault::named(known.name), Some(known.fault));
        }
    }
}
