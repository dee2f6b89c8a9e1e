//! What `onewrite status` shows.

use jiff::Timestamp;
use serde::Serialize;

use super::Retained;
use crate::alarm::Alarm;
use crate::limits::UNSETTLED_COUNT_MAX;

/// Everything that `onewrite status` shows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// What a person should know, the most pressing first.
    pub alarms: Vec<Alarm>,
    /// The schema's version.
    pub schema_version: i64,
    /// Every relay that ever held a lease.
    pub relays: Vec<RelayStatus>,
    /// Every route with recorded progress.
    pub routes: Vec<RouteStatus>,
    /// The outbox's segments; one where the database needs none.
    pub segments: Vec<SegmentStatus>,
    /// How far back replays reach.
    pub retained: Retained,
    /// Replays that are not through, and those that are since not longer than [`REPLAY_SHOWN`](crate::limits::REPLAY_SHOWN).
    pub replays: Vec<ReplayStatus>,
}

/// One relay in a [`Status`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RelayStatus {
    /// Its name.
    pub name: String,
    /// Who holds the lease, or those of its groups, separated by commas; `None` when nobody does.
    pub holder: Option<String>,
    /// The lease's epoch, or the highest of its groups'.
    pub epoch: i64,
    /// Seconds since the lease was renewed; of several the longest.
    pub renewed_seconds_ago: Option<f64>,
    /// How it finds new events, `wal` or `poll`; `None` until it has recorded that, and where its groups do not agree.
    pub feed: Option<String>,
    /// Why so, in its own words; of several groups each has its own.
    pub feed_reason: Option<String>,
    /// Its place in the database's log, where it has one; of several groups each has its own.
    pub slot: Option<SlotStatus>,
    /// Its groups of lanes, where it has several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupStatus>,
}

/// One group of lanes in a [`RelayStatus`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupStatus {
    /// Which one, from 0 on.
    pub index: u32,
    /// Who holds its lease; `None` when nobody does.
    pub holder: Option<String>,
    /// The lease's epoch.
    pub epoch: i64,
    /// Seconds since the lease was renewed.
    pub renewed_seconds_ago: Option<f64>,
    /// Seconds until the lease runs out unless it is renewed; `None` when nobody holds it.
    pub lease_seconds: Option<f64>,
    /// How new events are found in it; see [`RelayStatus::feed`].
    pub feed: Option<String>,
    /// Why so.
    pub feed_reason: Option<String>,
    /// Its place in the database's log.
    pub slot: Option<SlotStatus>,
    /// Events of all routes that are not settled in it, counted as of a route; `None` until it has run.
    pub unsettled: Option<i64>,
    /// Age in seconds of the oldest event that is not settled in it.
    pub lag_seconds: Option<f64>,
}

impl RelayStatus {
    /// A relay of several groups as one, and them. There is at least one.
    pub fn of_groups(name: String, groups: Vec<GroupStatus>) -> Self {
        let mut holders: Vec<&str> = groups.iter().filter_map(|group| group.holder.as_deref()).collect();
        holders.sort_unstable();
        holders.dedup();
        let feed = groups.first().and_then(|group| group.feed.clone());
        Self {
            name,
            holder: (!holders.is_empty()).then(|| holders.join(", ")),
            epoch: groups.iter().map(|group| group.epoch).max().unwrap_or_default(),
            renewed_seconds_ago: groups
                .iter()
                .filter_map(|group| group.renewed_seconds_ago)
                .reduce(f64::max),
            feed: feed.filter(|feed| groups.iter().all(|group| group.feed.as_ref() == Some(feed))),
            feed_reason: None,
            slot: None,
            groups,
        }
    }
}

/// A relay's replication slot in a [`RelayStatus`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SlotStatus {
    /// Its name.
    pub name: String,
    /// The server's word for how safe what it needs is: `reserved`, `extended`, `unreserved` or `lost`; or `missing`, when there
    /// is no such slot.
    pub wal_status: String,
    /// The server process that reads for the relay at present.
    pub active_pid: Option<i32>,
    /// Bytes of the log that are kept for it.
    pub retained_bytes: Option<i64>,
    /// Bytes of the log that the relay has not seen yet.
    pub unseen_bytes: Option<i64>,
    /// Bytes that may be written before the server gives it up; `None` where nothing bounds it.
    pub safe_bytes: Option<i64>,
    /// Why the server gave it up, where it says that.
    pub invalidation_reason: Option<String>,
}

/// One route in a [`Status`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RouteStatus {
    /// Its relay.
    pub relay: String,
    /// Its name.
    pub route: String,
    /// `running`, `retrying`, `paused` or `halted`.
    pub state: String,
    /// Why it halted.
    pub halted: Option<String>,
    /// Events not settled, counted up to [`UNSETTLED_COUNT_MAX`]; `None` where they cannot be
    /// counted, such as in a log.
    pub unsettled: Option<i64>,
    /// Age in seconds of the oldest event that is not settled.
    pub lag_seconds: Option<f64>,
    /// Events delivered since the route exists.
    pub delivered: i64,
    /// Deliveries that failed since the route exists.
    pub failed: i64,
    /// Events parked now.
    pub parked: i64,
    /// Events held now behind a parked one of their key.
    pub held: i64,
    /// The latest error.
    pub last_error: Option<String>,
}

impl RouteStatus {
    /// Adds what another group of lanes has to tell of the same route: sums, the worst state, the longest lag. What is parked
    /// and held is the route's as a whole and stays.
    pub fn absorb(&mut self, group: Self) {
        const FROM_GOOD_TO_BAD: [&str; 4] = ["running", "retrying", "paused", "halted"];
        let rank = |state: &str| FROM_GOOD_TO_BAD.iter().position(|known| *known == state);
        if rank(&group.state) > rank(&self.state) {
            self.state = group.state;
        }
        self.halted = self.halted.take().or(group.halted);
        self.unsettled = self
            .unsettled
            .zip(group.unsettled)
            .map(|(this, other)| (this + other).min(UNSETTLED_COUNT_MAX));
        self.lag_seconds = [self.lag_seconds, group.lag_seconds]
            .into_iter()
            .flatten()
            .reduce(f64::max);
        self.delivered += group.delivered;
        self.failed += group.failed;
        self.last_error = self.last_error.take().or(group.last_error);
    }
}

/// One stretch of the outbox in a [`Status`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SegmentStatus {
    /// Its name.
    pub name: String,
    /// Its size on disk in bytes.
    pub bytes: i64,
    /// Whether new events go there now.
    pub current: bool,
}

/// One replay in a [`Status`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReplayStatus {
    /// Its number.
    pub id: i64,
    /// Its relay.
    pub relay: String,
    /// The route under which it is delivered.
    pub route: String,
    /// How many events it held when it was asked for; see [`Replay::events`](super::Replay::events).
    pub events: Option<i64>,
    /// How many are still to be delivered, counted in the same bounds.
    pub left: Option<i64>,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When it was through.
    pub finished_at: Option<Timestamp>,
}
