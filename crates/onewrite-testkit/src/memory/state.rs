//! What the database in memory holds.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use onewrite_core::event::headers_from_json;
use onewrite_core::routing::{Group, Share};
use onewrite_core::store::{Lease, ReplayRequest, RouteState};
use onewrite_core::windows::Progress;
use onewrite_core::{Event, Position, Sourced, StoreError, StoreFailure};
use tokio::time::Instant;
use uuid::Uuid;

use super::server::Server;

/// A row as any program may insert it, past every check of a library: its headers can be any JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct PlainRow {
    /// The event's id.
    pub id: Uuid,
    /// Its topic.
    pub topic: String,
    /// Its key.
    pub key: Option<String>,
    /// Its type.
    pub event_type: Option<String>,
    /// Its headers, which ought to be a flat object.
    pub headers: serde_json::Value,
    /// Its content type.
    pub content_type: String,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl PlainRow {
    /// Whether it is in a group of lanes.
    pub fn is_in(&self, group: Group) -> bool {
        let mut hash = DefaultHasher::new();
        match &self.key {
            Some(key) => key.hash(&mut hash),
            None => self.id.hash(&mut hash),
        }
        group.holds(hash.finish())
    }
}

impl From<&onewrite::Event> for PlainRow {
    fn from(event: &onewrite::Event) -> Self {
        Self {
            id: event.id,
            topic: event.topic.clone(),
            key: event.key.clone(),
            event_type: event.event_type.clone(),
            headers: event.headers_json(),
            content_type: event.content_type.clone(),
            payload: event.payload.to_vec(),
        }
    }
}

/// A committed row of the outbox.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which commit brought it, counted from 1.
    pub commit: u64,
    /// The transaction that wrote it.
    pub xid: u64,
    /// What was written.
    pub plain: PlainRow,
    /// When it was committed.
    pub occurred_at: Timestamp,
}

/// What the database holds.
#[derive(Default)]
pub struct State {
    /// The outbox, by sequence.
    pub rows: BTreeMap<u64, Row>,
    /// The last sequence that was drawn.
    pub last_sequence: u64,
    /// How many commits there were.
    pub commits: u64,
    /// Sequences that transactions under way have drawn.
    pub(super) drawn: BTreeSet<u64>,
    /// How many sequences a segment has; `None`: nothing is ever emptied.
    pub(super) segment: Option<u64>,
    /// Transactions and the log, for those who read them as PostgreSQL's.
    pub server: Server,
    /// How often the server crashed and started again.
    pub(super) crashes: u64,
    /// Records of progress since the last commit that was flushed, in their order, each by what was recorded before it.
    pub(super) unflushed: Vec<(RouteKey, Progress<u64>)>,
    /// Keys that an open transaction has appended to, and which one.
    pub(super) locked_keys: HashMap<String, u64>,
    /// By relay and group. Rows of groups that a smaller layout has not are kept for their epochs.
    pub(super) relays: BTreeMap<(String, u32), RelayRow>,
    /// By relay and id.
    pub(super) members: BTreeMap<(String, String), MemberRow>,
    /// By relay, name and group.
    pub(super) routes: BTreeMap<RouteKey, RouteRow>,
    pub(super) parked: BTreeMap<i64, ParkedRow>,
    pub(super) last_parked: i64,
    /// Events that were given up, by relay and sequence.
    pub(super) skipped: BTreeSet<(String, u64)>,
    /// A planted bug in the leases.
    pub(super) bug: Option<LeaseBug>,
    pub(super) replays: BTreeMap<i64, ReplayRow>,
    /// A planted bug: what is not recorded as settled is no part of a replay.
    pub(super) hasty_replays: bool,
    /// A planted bug: a segment goes whatever is settled of it.
    pub(super) hasty_emptying: bool,
}

/// What a crash of the server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session(u64);

/// Relay, name and group.
pub(super) type RouteKey = (String, String, u32);

/// A bug that a database's leases can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseBug {
    /// Progress is taken from whoever sends it.
    Unfenced,
    /// A group is given away while another layout is held, and those who hold it are not fenced.
    MixesLayouts,
    /// Progress is taken from whoever holds, or held, any group of the relay under an epoch that is not older than the oldest
    /// that is held.
    UnfencedByGroup,
}

/// The lease of a group.
#[derive(Clone, Debug, Default)]
pub(super) struct RelayRow {
    pub epoch: i64,
    /// How many groups the layout has to which it belongs.
    pub groups: u32,
    pub holder: Option<String>,
    pub member: String,
    pub renewed_at: Option<Instant>,
    pub expires_at: Option<Instant>,
}

impl RelayRow {
    pub fn is_held(&self, now: Instant) -> bool {
        self.holder.is_some() && self.expires_at.is_some_and(|at| at > now)
    }
}

#[derive(Clone, Debug)]
pub(super) struct MemberRow {
    pub groups: u32,
    pub expires_at: Instant,
}

/// A route of a relay in one group.
#[derive(Clone, Debug)]
pub struct RouteRow {
    pub(super) definition: String,
    /// How many groups the layout has to which it belongs.
    pub(super) groups: u32,
    /// How far it is; a snapshot is the count of commits that it sees.
    pub progress: Progress<u64>,
    pub(super) state: RouteState,
    pub(super) paused: bool,
    pub(super) halted: Option<String>,
    pub(super) delivered: u64,
    pub(super) failed: u64,
    pub(super) last_error: Option<String>,
}

impl RouteRow {
    pub(super) fn new(share: &Share, floor: u64, pending: Vec<u64>) -> Self {
        Self {
            definition: share.definition(),
            groups: share.group.count,
            progress: Progress {
                floor,
                window: None,
                sequence: 0,
                pending,
            },
            state: RouteState::Running,
            paused: false,
            halted: None,
            delivered: 0,
            failed: 0,
            last_error: None,
        }
    }

    /// Whether the recorded progress says that a row is settled.
    pub fn covers(&self, sequence: u64, row: &Row) -> bool {
        let Progress {
            floor,
            window,
            sequence: last,
            pending,
        } = &self.progress;
        let below = row.commit <= *floor || (window.is_some_and(|upper| row.commit <= upper) && sequence <= *last);
        below && !pending.contains(&sequence)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aside {
    Parked,
    Held,
    Retry,
}

impl Aside {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Parked => "parked",
            Self::Held => "held",
            Self::Retry => "retry",
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct ParkedRow {
    pub relay: String,
    pub route: String,
    pub sequence: u64,
    pub state: Aside,
    pub row: Row,
    pub parked_at: Timestamp,
    pub attempts: i64,
    pub error: String,
}

#[derive(Clone, Debug)]
pub(super) struct ReplayRow {
    /// Its range is in sequences, and ends at the last event there was.
    pub request: ReplayRequest,
    pub requested_at: Timestamp,
    pub events: i64,
    /// Handed out and settled, or passed over for good.
    pub settled: BTreeSet<u64>,
}

/// How an event of a replay stands, as far as is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Delivered: it is replayed.
    Settled,
    /// Not settled yet, or under retry: perhaps delivered, perhaps not.
    Waits,
    /// Set aside until a person decides, and left to its retry; or given up.
    Aside,
}

impl ReplayRow {
    /// The events that it holds under the route's share, settled or not.
    pub fn events<'a>(&self, rows: &'a BTreeMap<u64, Row>, share: &Share) -> impl Iterator<Item = (u64, &'a Row)> {
        let request = &self.request;
        let wanted = move |(sequence, row): &(u64, &Row)| {
            let sequence = sequence.cast_signed();
            request.from_sequence.is_none_or(|from| sequence >= from)
                && request.to_sequence.is_none_or(|to| sequence <= to)
                && request.since.is_none_or(|since| row.occurred_at >= since)
                && request.until.is_none_or(|until| row.occurred_at < until)
                && request.topic.as_ref().is_none_or(|topic| row.plain.topic == *topic)
                && request
                    .key
                    .as_ref()
                    .is_none_or(|key| row.plain.key.as_ref() == Some(key))
                && (request.ids.is_empty() || request.ids.contains(&row.plain.id))
                && row.is_taken_by(share)
        };
        rows.iter().map(|(sequence, row)| (*sequence, row)).filter(wanted)
    }
}

impl Row {
    /// The event that the row holds, or why it holds none.
    pub fn sourced(&self, position: Position) -> Sourced {
        let plain = &self.plain;
        let (headers, defect) = match headers_from_json(&plain.headers) {
            Ok(headers) => (headers, None),
            Err(invalid) => (Vec::new(), Some(invalid.to_string())),
        };
        let event = Event {
            id: plain.id,
            topic: plain.topic.as_str().into(),
            key: plain.key.as_deref().map(Into::into),
            event_type: plain.event_type.as_deref().map(Into::into),
            payload: plain.payload.clone().into(),
            content_type: plain.content_type.as_str().into(),
            headers,
            occurred_at: self.occurred_at,
            replay: None,
            headers_complete: false,
            verbatim: None,
        };
        let mut sourced = Sourced::checked(position, event);
        sourced.defect = defect.or(sourced.defect);
        sourced
    }

    /// Whether the route takes it.
    pub fn is_taken_by(&self, share: &Share) -> bool {
        share.takes(&self.plain.topic, self.plain.event_type.as_deref()) && self.plain.is_in(share.group)
    }
}

impl State {
    /// Refuses whoever is not the last holder of the lease's group.
    ///
    /// # Errors
    /// `Fenced`.
    pub fn fence(&self, lease: &Lease) -> Result<(), StoreError> {
        let own = self.leases(&lease.relay);
        let held = match self.bug {
            Some(LeaseBug::Unfenced) => true,
            Some(LeaseBug::UnfencedByGroup) => own.map(|row| row.epoch).min() <= Some(lease.epoch),
            None | Some(LeaseBug::MixesLayouts) => self.holds(lease),
        };
        if held {
            return Ok(());
        }
        let words = format!(
            "another process holds the lease of relay {:?} (group {}; this one had epoch {})",
            lease.relay, lease.group, lease.epoch
        );
        Err(StoreError::new(StoreFailure::Fenced, words))
    }

    /// A session that begins now.
    pub fn session(&self) -> Session {
        Session(self.crashes)
    }

    /// Refuses a session of before a crash.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn serve(&self, session: Session) -> Result<(), StoreError> {
        match session.0 == self.crashes {
            true => Ok(()),
            false => Err(StoreError::new(StoreFailure::Unavailable, "the server has crashed")),
        }
    }

    /// Records progress of a route. A crash takes it back unless a commit comes after it that is flushed.
    ///
    /// # Errors
    /// `Refused`, when the route was never adopted.
    pub fn record(&mut self, share: &Share, progress: Progress<u64>) -> Result<(), StoreError> {
        let row = self.route(&share.relay, &share.route, share.group)?;
        let before = std::mem::replace(&mut row.progress, progress);
        let key = (share.relay.clone(), share.route.clone(), share.group.index);
        self.unflushed.push((key, before));
        Ok(())
    }

    /// Takes back all but so many of the records of progress that no flushed commit came after: the last ones first.
    pub(super) fn take_back(&mut self, kept: usize) {
        while self.unflushed.len() > kept
            && let Some((key, before)) = self.unflushed.pop()
        {
            if let Some(row) = self.routes.get_mut(&key) {
                row.progress = before;
            }
        }
        self.unflushed.clear();
    }

    /// What a replay is still to bring under the route's share, with how it stands.
    pub(super) fn left_of<'a>(
        &'a self,
        replay: &ReplayRow,
        share: &Share,
    ) -> impl Iterator<Item = (u64, &'a Row, Standing)> {
        let events = replay.events(&self.rows, share);
        let left = events.filter(|(sequence, _)| !replay.settled.contains(sequence));
        left.map(|(sequence, row)| (sequence, row, self.standing(share, sequence, row)))
    }

    /// How an event stands under a route's share.
    fn standing(&self, share: &Share, sequence: u64, row: &Row) -> Standing {
        let name = (share.relay.clone(), share.route.clone(), share.group.index);
        let mut parked = self.parked.values();
        let aside =
            parked.find(|aside| (aside.sequence, &aside.relay, &aside.route) == (sequence, &share.relay, &share.route));
        match aside {
            _ if self.skipped.contains(&(share.relay.clone(), sequence)) => Standing::Aside,
            Some(aside) if aside.state == Aside::Parked || (aside.state == Aside::Held && self.is_blocked(aside)) => {
                Standing::Aside
            }
            None if self.routes.get(&name).is_some_and(|route| route.covers(sequence, row)) => Standing::Settled,
            _ => Standing::Waits,
        }
    }

    /// Whether a poison event of its key is still parked.
    pub(super) fn is_blocked(&self, held: &ParkedRow) -> bool {
        self.parked.values().any(|parked| {
            parked.state == Aside::Parked
                && parked.relay == held.relay
                && parked.route == held.route
                && parked.row.plain.key == held.row.plain.key
        })
    }

    /// Whether this is the last lease of its group.
    pub fn holds(&self, lease: &Lease) -> bool {
        let row = self.relays.get(&(lease.relay.clone(), lease.group.index));
        row.is_some_and(|row| row.epoch == lease.epoch)
    }

    /// The leases of a relay.
    pub(super) fn leases(&self, relay: &str) -> impl Iterator<Item = &RelayRow> {
        self.relays
            .iter()
            .filter(move |((of, _), _)| of == relay)
            .map(|(_, row)| row)
    }

    /// A route's row.
    ///
    /// # Errors
    /// `Refused`, when it was never adopted.
    pub fn route(&mut self, relay: &str, route: &str, group: Group) -> Result<&mut RouteRow, StoreError> {
        let words = || format!("route {route:?} of relay {relay:?} was never adopted in group {group}");
        self.routes
            .get_mut(&(relay.to_owned(), route.to_owned(), group.index))
            .ok_or_else(|| StoreError::new(StoreFailure::Refused, words()))
    }
}
