//! What `onewrite verify` needs of a database and of a sink: it writes events of its own, under a topic that begins with
//! [`VERIFY_PREFIX`], and reads back what became of them.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::error::{SinkError, StoreError};
use crate::options::Secret;
use crate::routing::{Match, Pattern, Share, VERIFY_PREFIX, shares};

/// One run. Its name alone says when it began and where in the outbox, so that whoever finds what a run left behind can remove it
/// without reading over the whole table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    name: String,
    /// When it began, by the clock of the machine that it ran on.
    pub began: Timestamp,
    /// The outbox's last sequence when it began: its events have higher ones.
    pub after: i64,
}

impl Run {
    /// A run that begins now. `tail` tells it from others of the same second.
    pub fn new(began: Timestamp, tail: u16, after: i64) -> Self {
        let name = format!("{}-{tail:04x}-{after:x}", began.strftime(RUN_TIME));
        Self { name, began, after }
    }

    /// The run of this name; `None` where it is no run's name.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('-');
        let (began, tail, after) = (parts.next()?, parts.next()?, parts.next()?);
        let began = DateTime::strptime(RUN_TIME, began).ok()?;
        let began = TimeZone::UTC.to_timestamp(began).ok()?;
        let run = Self::new(
            began,
            u16::from_str_radix(tail, 16).ok()?,
            i64::from_str_radix(after, 16).ok()?,
        );
        (run.name == name).then_some(run)
    }

    /// The run that a relay was made for; `None` for every other relay.
    pub fn of_relay(relay: &str) -> Option<Self> {
        Self::parse(relay.rsplit_once(RELAY_INFIX)?.1)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The topic of its events, and the name of its inbox consumer.
    pub fn topic(&self) -> String {
        format!("{VERIFY_PREFIX}{}", self.name)
    }

    /// The name of its relay, after that of the relay whose configuration it tries.
    pub fn relay(&self, configured: &str) -> String {
        let configured: String = configured.chars().take(CONFIGURED_CHARACTERS).collect();
        format!("{configured}{RELAY_INFIX}{}", self.name)
    }

    /// What its relay's one route takes.
    pub fn share(&self, relay: &str) -> Share {
        let wanted = Match {
            topic: Some(Pattern::new(self.topic())),
            event_type: None,
        };
        let mut shares = shares(relay, &[(ROUTE.to_owned(), wanted)]);
        shares.remove(0)
    }
}

/// The name of the one route of a run's relay.
pub const ROUTE: &str = "verify";

/// The time in a run's name, in UTC.
const RUN_TIME: &str = "%Y%m%d%H%M%S";

/// What stands between the configured name and the run's in the name of its relay.
const RELAY_INFIX: &str = "-verify-";

/// So much of the configured name leaves room for the longest name of a run in the 64 bytes of a relay's.
const CONFIGURED_CHARACTERS: usize = 20;

/// A database as a proving ground. Everything that is written through it is under topics of verify and can be removed again.
#[async_trait]
pub trait ProvingGround: Send + Sync {
    /// What stands in the way, each in one sentence with what to do, such as the statement that grants a privilege. Nothing is
    /// written.
    async fn obstacles(&self) -> Result<Vec<String>, StoreError>;

    /// The last sequence of the outbox.
    async fn last_sequence(&self) -> Result<i64, StoreError>;

    /// Records a route that nobody runs yet as having settled everything that is there, so that its relay need not read over all
    /// that the outbox still keeps.
    async fn begin(&self, share: &Share) -> Result<(), StoreError>;

    /// Whether a relay over this source writes down how it finds new events, so that its status tells of it.
    fn tells_feed(&self) -> bool {
        false
    }

    /// A writer with a connection of its own.
    async fn writer(&self) -> Result<Box<dyn TrialWriter>, StoreError>;

    /// Which of these events are committed, once the transactions that wrote to any of `keys` have ended.
    async fn committed(&self, run: &Run, keys: &[String], ids: &[Uuid]) -> Result<HashSet<Uuid>, StoreError>;

    /// Runs a consumer with an inbox over deliveries, in their order, and returns how often each took effect.
    async fn receive(&self, consumer: &str, deliveries: &[Uuid]) -> Result<HashMap<Uuid, u64>, StoreError>;

    /// How many bytes the outbox takes on the disk.
    async fn outbox_bytes(&self) -> Result<u64, StoreError>;

    /// Removes what a run wrote: its events, and what its consumer received. Returns how many events they were.
    async fn remove(&self, run: &Run) -> Result<u64, StoreError>;

    /// By which options the relay's source differs from the configured one, so that [`cut`](Self::cut) finds its connections.
    fn named(&self, _application: &str) -> Vec<(&'static str, Secret)> {
        Vec::new()
    }

    /// Cuts the connections of the relay that goes by this name, and returns how many they were; `None` where there are none to cut.
    async fn cut(&self, _application: &str) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }
}

/// A connection that writes as an application does.
#[async_trait]
pub trait TrialWriter: Send {
    /// Appends events in one transaction, by the library that applications link, and ends it.
    async fn write(&mut self, events: &[onewrite::Event], end: TransactionEnd) -> Written;
}

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionEnd {
    /// With COMMIT.
    Commit,
    /// With ROLLBACK.
    RollBack,
    /// With a COMMIT whose answer is not waited for, since the connection is dropped: the application cannot know what became of it.
    Abandon,
}

/// What a writer knows of its transaction.
#[derive(Debug)]
pub enum Written {
    /// COMMIT returned.
    Committed,
    /// Nothing of it is there.
    RolledBack,
    /// COMMIT was sent and not answered.
    Unknown,
    /// It failed before COMMIT was sent, so nothing of it is there.
    Failed(StoreError),
}

/// Reads back what a sink delivered. It keeps connections of its own, apart from those of the relay.
#[async_trait]
pub trait ReadBack: Send + Sync {
    /// By which options the relay's sink differs from the configured one, so that what it delivers is apart from everything else:
    /// the option's name and its value as the configuration would have it, or `None` for an option to leave out.
    fn apart(&self, topic: &str) -> Vec<(&'static str, Option<String>)>;

    /// Why the order in which messages are read says nothing of that in which they arrived, in words that follow "since"; `None` where
    /// it says all. Without that order nobody can judge I3.
    fn unordered(&self) -> Option<&'static str> {
        None
    }

    /// Makes the place where events of `topic` arrive, where the sink needs one, and begins to read there. The first event comes
    /// afterwards, so that a broker that keeps messages only for those who listen already has somebody to keep them for.
    ///
    /// # Errors
    /// In words that say what to make or to allow where the user may not make it.
    async fn open(&self, topic: &str) -> Result<Box<dyn Reading>, SinkError>;

    /// Removes that place with all it holds. Harmless where there is none.
    async fn remove(&self, topic: &str) -> Result<(), SinkError>;
}

/// Reads what arrives, from the beginning on.
#[async_trait]
pub trait Reading: Send {
    /// What arrived since the last call, in an order that keeps the broker's order inside each key; empty when nothing came within
    /// `wait`. After an error the next call goes on where this one was: it connects anew, and may repeat some.
    async fn read(&mut self, wait: Duration) -> Result<Vec<Arrived>, SinkError>;
}

/// A message as the broker keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// The event's id, from where this wire carries it; `None` when it is missing or no id.
    pub id: Option<Uuid>,
    /// The payload.
    pub payload: Bytes,
}

impl Arrived {
    /// A message with the text of its id.
    pub fn new(id: Option<&str>, payload: impl Into<Bytes>) -> Self {
        Self {
            id: id.and_then(|id| id.parse().ok()),
            payload: payload.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_known_again_by_the_name_of_its_relay() {
        let began = "2026-11-26T05:58:33Z".parse().unwrap();
        for after in [0, 1_234_567, i64::MAX] {
            let run = Run::new(began, 0xbeef, after);
            let relay = run.relay(&"long".repeat(16));
            assert!(relay.len() <= 64, "{relay}");
            assert_eq!(Run::of_relay(&relay).as_ref(), Some(&run), "{relay}");
            assert!(run.share(&relay).takes(&run.topic(), None));
        }
        for other in [
            "shop",
            "shop-verify-",
            "shop-verify-20261126055833-beef",
            "20261126055833-beef-0",
        ] {
            assert_eq!(Run::of_relay(other), None, "{other}");
        }
        assert_eq!(
            Run::new(began, 7, 255).topic(),
            "onewrite.verify.20261126055833-0007-ff"
        );
    }
}
