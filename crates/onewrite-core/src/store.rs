//! The contract of the database behind a relay: leases, progress, parked events, and what operators do.

mod status;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use onewrite::event::{InvalidEvent, check_headers, check_line, check_payload, check_topic};
use serde::Serialize;
use uuid::Uuid;

use crate::alarm::Alarm;
use crate::error::{StoreError, StoreFailure};
use crate::event::headers_from_json;
use crate::limits::CONTENT_TYPE_BYTES_MAX;
use crate::routing::{Group, Share};
use crate::sink::Finding;
use crate::source::Source;
use crate::spread::Standing;

pub use status::{GroupStatus, RelayStatus, ReplayStatus, RouteStatus, SegmentStatus, SlotStatus, Status};

/// The right to relay a group of lanes under a name. Its epoch grows with every holder of any group of the relay, so that it
/// tells holders and groups apart; every write of progress is refused to whoever is not the group's last holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The relay's name.
    pub relay: String,
    /// The group of lanes.
    pub group: Group,
    /// Who holds it, for people: host and process.
    pub holder: String,
    /// The fence.
    pub epoch: i64,
}

/// A process of a relay, as the others of its name see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The relay's name.
    pub relay: String,
    /// Which process, told apart from every other of the relay.
    pub id: String,
    /// The same for people: host and process.
    pub holder: String,
    /// Into how many groups of lanes it cuts the key space: the relay's **layout**.
    pub groups: u32,
}

/// What the engine needs of the database that holds an outbox.
///
/// All times are the database's own: the clocks of relays never matter.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Takes the lease of a group for `ttl` if nobody holds it or its time ran out; `None` when somebody holds it, and also while
    /// anybody holds a group of the relay in another layout: two layouts never run at once. From then on whoever held a group in
    /// another layout is fenced, as the group's own last holder is.
    async fn claim(&self, member: &Member, group: u32, ttl: Duration) -> Result<Option<Lease>, StoreError>;

    /// Claims the one group of a relay that is not spread.
    async fn acquire(&self, relay: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        let member = Member {
            relay: relay.to_owned(),
            id: holder.to_owned(),
            holder: holder.to_owned(),
            groups: 1,
        };
        self.claim(&member, 0, ttl).await
    }

    /// Counts the process among the members of its relay for `ttl`, and tells how the groups are spread over them. For relays
    /// of several groups alone; `Refused` where the database's outbox cannot be spread.
    async fn attend(&self, member: &Member, ttl: Duration) -> Result<Standing, StoreError>;

    /// Counts the process among the members no longer, so that the others take what it gives up.
    async fn leave(&self, member: &Member) -> Result<(), StoreError>;

    /// Extends the lease by `ttl`, stores what the routes report, and returns what operators ask of each route; a route that
    /// halted in one group is halted in all.
    /// [`StoreFailure::Fenced`] when the lease is another's by now.
    async fn renew(
        &self,
        lease: &Lease,
        ttl: Duration,
        reports: &[RouteReport],
    ) -> Result<Vec<RouteControl>, StoreError>;

    /// Gives the lease up, so that a standby need not wait for its time to run out.
    async fn release(&self, lease: &Lease) -> Result<(), StoreError>;

    /// Makes the recorded progress of the lease's group fit the routes. A route that is new or takes other events than before
    /// starts at the lowest floor of all routes recorded in this group (at the beginning of the table where there are none),
    /// with all their pending events: some events may come twice, none is missed. Progress of routes that are gone is removed.
    ///
    /// Where what is recorded is of another layout, the progress of all groups is made anew at once in the same way, from all
    /// that is recorded under this relay, and nothing of the other layout is kept. `shares` are those of the lease's group.
    async fn adopt(&self, lease: &Lease, shares: &[Share]) -> Result<(), StoreError>;

    /// Opens the events of a share from its recorded progress on.
    async fn feed(&self, lease: &Lease, share: &Share) -> Result<Box<dyn Source>, StoreError>;

    /// Opens what operators ask to be delivered again under a share: parked events marked for retry, held events of keys
    /// that nothing blocks any more (lowest first), parked events of [`UNROUTED`](crate::routing::UNROUTED) marked for retry that this share
    /// takes, and replays. A replay hands out only what is recorded as settled: anything else would overtake the events of its key that
    /// come before it. It owes what had been delivered when it was asked for, recorded or not, so it waits for what is not settled yet or under
    /// retry, hands it out then, and is through after that; it is through without what is set aside until a person decides, and without what
    /// was skipped. Settling a parked event removes it, unless it was parked anew meanwhile.
    async fn redeliveries(&self, lease: &Lease, share: &Share) -> Result<Box<dyn Source>, StoreError>;

    /// The keys of a route that have an event parked, held, or under retry: under `on_poison = "block_key"` their later
    /// events are held behind it.
    async fn blocked_keys(&self, lease: &Lease, route: &str) -> Result<Vec<Arc<str>>, StoreError>;

    /// Records that a route stopped by itself and why, until an operator resumes it; it outlives a restart.
    async fn halt(&self, lease: &Lease, route: &str, reason: &str) -> Result<(), StoreError>;

    /// Frees space held by events that every route settled and that are past the retention. Never waits long for a lock.
    async fn maintain(&self, lease: &Lease) -> Result<Maintenance, StoreError>;
}

/// What a route tells the database about itself, for `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteReport {
    /// The route.
    pub route: String,
    /// What it is doing.
    pub state: RouteState,
    /// Events delivered since the last report that was stored.
    pub delivered: u64,
    /// Deliveries that failed since the last report that was stored.
    pub failed: u64,
    /// The latest error in words: the source's until it is read again, otherwise the sink's until a delivery succeeds.
    pub last_error: Option<String>,
}

/// What a route is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteState {
    /// Delivering, or waiting for events.
    Running,
    /// The sink does not answer (the circuit breaker is open), or the source fails; a trial is due from time to time.
    Retrying,
    /// An operator paused it.
    Paused,
    /// It stopped by itself and waits for an operator.
    Halted,
}

impl RouteState {
    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Paused => "paused",
            Self::Halted => "halted",
        }
    }
}

/// What operators ask of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteControl {
    /// The route.
    pub route: String,
    /// Whether it should stand still.
    pub paused: bool,
    /// Why it halted, unless it was resumed since.
    pub halted: Option<String>,
}

/// What [`Outbox::maintain`] did and saw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Maintenance {
    /// What was emptied, by name.
    pub emptied: Vec<String>,
    /// What a person should know.
    pub alarms: Vec<Alarm>,
}

/// What the on-call commands need of the database.
#[async_trait]
pub trait Operations: Send + Sync {
    /// Relays, routes and the outbox at a glance.
    async fn status(&self) -> Result<Status, StoreError>;
    /// Parked and held events, oldest first.
    async fn parked(&self, filter: &ParkedFilter) -> Result<Vec<ParkedEvent>, StoreError>;
    /// Marks events for another delivery and returns how many. Held events of their keys follow by themselves.
    async fn retry(&self, filter: &ParkedFilter) -> Result<u64, StoreError>;
    /// Gives events up: they are removed, with everything about them in the returned rows, and no replay delivers them. Held events of their keys follow;
    /// an event that is only held is itself given up where the filter names its number.
    async fn skip(&self, filter: &ParkedFilter) -> Result<Vec<ParkedEvent>, StoreError>;
    /// Changes a parked event before a retry; `false` when there is no such event. Refused when it would break a limit, and where the event
    /// is under retry or held, since it may be on its way as it is.
    async fn edit(&self, id: i64, edit: &ParkedEdit) -> Result<bool, StoreError>;
    /// Asks for events that are still in the table to be delivered again. Refused, with the names there are, when there is no
    /// such relay or route, and when an event that the request begins or ends with is not in the table.
    async fn replay(&self, request: &ReplayRequest) -> Result<Replay, StoreError>;
    /// Pauses or resumes a route (`None`: every route of the relay) and returns how many there were. Resuming also clears a halt.
    async fn set_paused(&self, relay: &str, route: Option<&str>, paused: bool) -> Result<u64, StoreError>;
    /// Gives a relay up for good: its routes, what is parked under them, its replays and what the database keeps for it, so that
    /// nothing is kept for it any more. Refused when there is none of this name, and while a process runs it.
    async fn forget(&self, relay: &str) -> Result<Forgotten, StoreError>;
    /// Tells what works and what does not, for `onewrite check`.
    async fn probe(&self) -> Vec<Finding>;
}

/// Which parked events are meant: all that is set must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParkedFilter {
    /// These numbers.
    pub ids: Vec<i64>,
    /// This relay.
    pub relay: Option<String>,
    /// This route.
    pub route: Option<String>,
    /// This topic.
    pub topic: Option<String>,
    /// This key.
    pub key: Option<String>,
    /// At most so many.
    pub limit: Option<i64>,
    /// Whether [`Operations::parked`] reads payloads as well; lists leave them out.
    pub with_payload: bool,
}

/// A parked event as people see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ParkedEvent {
    /// Its number, for the commands.
    pub id: i64,
    /// The relay that parked it.
    pub relay: String,
    /// The route that parked it.
    pub route: String,
    /// `parked` (poison), `held` (behind a parked event of its key) or `retry` (an operator asked for another delivery).
    pub state: String,
    /// The event's own id.
    pub event_id: Uuid,
    /// Its topic.
    pub topic: String,
    /// Its key.
    pub key: Option<String>,
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// Its content type.
    pub content_type: String,
    /// Its headers.
    pub headers: serde_json::Value,
    /// Its payload; empty unless [`ParkedFilter::with_payload`] asked for it, but always there in what was skipped.
    #[serde(skip)]
    pub payload: Vec<u8>,
    /// The payload's length in bytes.
    pub payload_bytes: i64,
    /// When it was recorded.
    pub occurred_at: Timestamp,
    /// When it was parked.
    pub parked_at: Timestamp,
    /// Deliveries tried.
    pub attempts: i64,
    /// The broker's words.
    pub error: String,
}

/// What to change in a parked event; `None` leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParkedEdit {
    /// The new topic.
    pub topic: Option<String>,
    /// The new payload.
    pub payload: Option<Vec<u8>>,
    /// The new content type.
    pub content_type: Option<String>,
    /// All headers anew.
    pub headers: Option<serde_json::Value>,
}

impl ParkedEdit {
    /// Checks what it changes against the limits of events: one that breaks a limit would only be parked again.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), InvalidEvent> {
        if let Some(topic) = &self.topic {
            check_topic(topic)?;
        }
        if let Some(payload) = &self.payload {
            check_payload(payload.len())?;
        }
        if let Some(content_type) = &self.content_type {
            check_line("content_type", content_type, CONTENT_TYPE_BYTES_MAX)?;
        }
        if let Some(headers) = &self.headers {
            let headers = headers_from_json(headers)?;
            check_headers(headers.iter().map(|(name, value)| (&**name, &**value)))?;
        }
        Ok(())
    }
}

/// Which events to deliver again: all that is set must fit. At least one of the bounds or names is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayRequest {
    /// The relay.
    pub relay: String,
    /// The route under which they are delivered again; it takes only the events it takes anyway.
    pub route: String,
    /// Recorded at or after this time.
    pub since: Option<Timestamp>,
    /// Recorded before this time.
    pub until: Option<Timestamp>,
    /// Of this topic.
    pub topic: Option<String>,
    /// Of this key.
    pub key: Option<String>,
    /// These ids.
    pub ids: Vec<Uuid>,
    /// From this sequence of the outbox on.
    pub from_sequence: Option<i64>,
    /// Up to this sequence, which is included.
    pub to_sequence: Option<i64>,
    /// From the event of this id on.
    pub from_id: Option<Uuid>,
    /// Up to the event of this id, which is included.
    pub to_id: Option<Uuid>,
}

impl ReplayRequest {
    /// Checks that it says something that can be.
    ///
    /// # Errors
    /// `Refused`, when it names no bound at all, two for one end, or an end before its beginning.
    pub fn check(&self) -> Result<(), StoreError> {
        let refused = |words: String| Err(StoreError::new(StoreFailure::Refused, words));
        if !self.is_bounded() {
            let words = "a replay of everything is not taken; name a time, a topic, a key, ids, or a sequence";
            return refused(words.to_owned());
        }
        if self.from_sequence.is_some() && self.from_id.is_some() || self.to_sequence.is_some() && self.to_id.is_some()
        {
            return refused("an end of a replay is named by a sequence or by an id; leave one of them out".to_owned());
        }
        if let (Some(from), Some(to)) = (self.from_sequence, self.to_sequence)
            && from > to
        {
            return refused(format!(
                "a replay from sequence {from} to {to} holds nothing; exchange the two"
            ));
        }
        match (self.since, self.until) {
            (Some(since), Some(until)) if since >= until => refused(format!(
                "a replay from {since} until {until} holds nothing; exchange the two"
            )),
            _ => Ok(()),
        }
    }

    /// Whether it names anything but the relay and the route.
    pub fn is_bounded(&self) -> bool {
        let anything = Self {
            relay: self.relay.clone(),
            route: self.route.clone(),
            ..Self::default()
        };
        *self != anything
    }

    /// What of the request is no longer in the table, in words. Ids that it begins or ends with must be sequences by now.
    pub fn gone(&self, retained: &Retained) -> Option<String> {
        let first = retained.since?;
        let later = self.since.is_some_and(|since| since >= first)
            || self.from_sequence.is_some_and(|from| from >= retained.from_sequence);
        (!later).then(|| {
            format!(
                "events recorded before {first} (below sequence {}) are no longer kept, but for what was not settled; they \
                 do not come again",
                retained.from_sequence
            )
        })
    }
}

/// A replay that was asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replay {
    /// Its number.
    #[serde(rename = "replay")]
    pub id: i64,
    /// How many events it holds, without those that are set aside or were given up, counted up to [`UNSETTLED_COUNT_MAX`](crate::limits::UNSETTLED_COUNT_MAX); `None` when counting
    /// them took longer than [`REPLAY_COUNT_TIMEOUT`](crate::limits::REPLAY_COUNT_TIMEOUT).
    pub events: Option<i64>,
    /// What of the request is no longer in the table, in words.
    pub gone: Option<String>,
    /// How far back the table reaches.
    pub retained: Retained,
}

/// How far back the table's history reaches without a gap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Retained {
    /// Everything recorded later is still there. `None` when nothing was ever removed.
    pub since: Option<Timestamp>,
    /// Everything from this sequence on is still there.
    pub from_sequence: i64,
}

impl Retained {
    /// That an event which a replay begins or ends with is not in the table, and what is.
    pub fn lacks(&self, id: Uuid) -> String {
        let history = match self.since {
            Some(since) => format!(
                "it holds everything recorded after {since}, from sequence {} on",
                self.from_sequence
            ),
            None => "nothing was ever removed from it, so no event of this id was appended".to_owned(),
        };
        format!("event {id} is not in the outbox; {history}")
    }
}

/// What [`Operations::forget`] gave up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Forgotten {
    /// The names of its routes.
    pub routes: Vec<String>,
    /// How many parked and held events went with them.
    pub parked: u64,
    /// The replication slots that were dropped: one for each group of lanes that followed the log.
    pub slots: Vec<String>,
}
