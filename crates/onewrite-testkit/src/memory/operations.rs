//! The database as operators see it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use jiff::Timestamp;
use onewrite_core::event::headers_from_json;
use onewrite_core::routing::{Group, Share};
use onewrite_core::sink::Finding;
use onewrite_core::store::{
    Forgotten, GroupStatus, ParkedEdit, ParkedEvent, ParkedFilter, RelayStatus, Replay, ReplayRequest, ReplayStatus,
    Retained, RouteStatus, SegmentStatus, Status,
};
use onewrite_core::{Operations, StoreError, StoreFailure};
use tokio::time::Instant;
use uuid::Uuid;

use super::database::MemoryDatabase;
use super::state::{Aside, ParkedRow, ReplayRow, RouteKey, RouteRow, Standing, State};

#[async_trait]
impl Operations for MemoryDatabase {
    async fn status(&self) -> Result<Status, StoreError> {
        self.call(|state| {
            let now = Instant::now();
            let bytes = state.rows.values().map(|row| row.plain.payload.len() as i64).sum();
            Ok(Status {
                schema_version: 1,
                relays: relays(state, now),
                routes: routes(state),
                segments: vec![SegmentStatus {
                    name: "memory".to_owned(),
                    bytes,
                    current: true,
                }],
                alarms: Vec::new(),
                retained: Retained::default(),
                replays: state
                    .replays
                    .iter()
                    .map(|(id, row)| replay_status(state, *id, row))
                    .collect(),
            })
        })
        .await
    }

    async fn parked(&self, filter: &ParkedFilter) -> Result<Vec<ParkedEvent>, StoreError> {
        self.call(|state| {
            let picked = pick(state, filter, |_| true);
            Ok(picked
                .into_iter()
                .map(|id| shown(id, &state.parked[&id], filter.with_payload))
                .collect())
        })
        .await
    }

    async fn retry(&self, filter: &ParkedFilter) -> Result<u64, StoreError> {
        let count = self
            .call(|state| {
                let picked = pick(state, filter, |parked| parked.state == Aside::Parked);
                for id in &picked {
                    if let Some(parked) = state.parked.get_mut(id) {
                        parked.state = Aside::Retry;
                    }
                }
                Ok(picked.len() as u64)
            })
            .await?;
        self.changed();
        Ok(count)
    }

    async fn skip(&self, filter: &ParkedFilter) -> Result<Vec<ParkedEvent>, StoreError> {
        let skipped = self
            .call(|state| {
                let picked = pick(state, filter, |_| true);
                let removed = picked.into_iter().filter_map(|id| {
                    let parked = state.parked.remove(&id)?;
                    state.skipped.insert((parked.relay.clone(), parked.sequence));
                    Some(shown(id, &parked, true))
                });
                Ok(removed.collect())
            })
            .await?;
        self.changed();
        Ok(skipped)
    }

    async fn edit(&self, id: i64, edit: &ParkedEdit) -> Result<bool, StoreError> {
        if let Some(headers) = &edit.headers {
            headers_from_json(headers)
                .map_err(|invalid| StoreError::new(StoreFailure::Refused, format!("parked event {id}: {invalid}")))?;
        }
        self.call(|state| {
            let Some(parked) = state.parked.get_mut(&id) else {
                return Ok(false);
            };
            if parked.state != Aside::Parked {
                let words = format!("parked event {id} is left as it is: it may be on its way as it is");
                return Err(StoreError::new(StoreFailure::Refused, words));
            }
            let plain = &mut parked.row.plain;
            replace(&mut plain.topic, &edit.topic);
            replace(&mut plain.payload, &edit.payload);
            replace(&mut plain.content_type, &edit.content_type);
            replace(&mut plain.headers, &edit.headers);
            Ok(true)
        })
        .await
    }

    async fn replay(&self, request: &ReplayRequest) -> Result<Replay, StoreError> {
        request.check()?;
        let replay = self.call(|state| replay(state, request)).await?;
        self.changed();
        Ok(replay)
    }

    async fn set_paused(&self, relay: &str, route: Option<&str>, paused: bool) -> Result<u64, StoreError> {
        self.call(|state| {
            let mut found = BTreeSet::new();
            for ((of, name, _), row) in &mut state.routes {
                if of == relay && route.is_none_or(|route| route == name) {
                    row.paused = paused;
                    row.halted.take_if(|_| !paused);
                    found.insert(name);
                }
            }
            Ok(found.len() as u64)
        })
        .await
    }

    async fn forget(&self, relay: &str) -> Result<Forgotten, StoreError> {
        self.call(|state| forget(state, relay)).await
    }

    async fn probe(&self) -> Vec<Finding> {
        vec![Finding::works("the database in memory", "it is part of this process")]
    }
}

fn replay(state: &mut State, request: &ReplayRequest) -> Result<Replay, StoreError> {
    let refused = |words: String| StoreError::new(StoreFailure::Refused, words);
    let sequence = |id: &Uuid| {
        let row = state.rows.iter().find(|(_, row)| row.plain.id == *id);
        let missing = || refused(Retained::default().lacks(*id));
        row.map(|(sequence, _)| sequence.cast_signed()).ok_or_else(missing)
    };
    let from = request
        .from_id
        .as_ref()
        .map(sequence)
        .transpose()?
        .or(request.from_sequence);
    let to = request
        .to_id
        .as_ref()
        .map(sequence)
        .transpose()?
        .or(request.to_sequence);
    let last = state.last_sequence.cast_signed();
    let request = ReplayRequest {
        from_sequence: from,
        to_sequence: Some(to.map_or(last, |to| to.min(last))),
        from_id: None,
        to_id: None,
        ..request.clone()
    };
    request.check()?;
    let share = share_of(state, &request.relay, &request.route).ok_or_else(|| {
        refused(format!(
            "there is no route {:?} of relay {:?}",
            request.route, request.relay
        ))
    })?;
    let mut row = ReplayRow {
        request,
        requested_at: Timestamp::now(),
        events: 0,
        settled: Default::default(),
    };
    row.events = left(state, &row, &share);
    let (id, events) = (state.replays.len() as i64 + 1, Some(row.events));
    state.replays.insert(id, row);
    Ok(Replay {
        id,
        events,
        gone: None,
        retained: Retained::default(),
    })
}

/// What a route takes, in whatever group.
pub(super) fn share_of(state: &State, relay: &str, route: &str) -> Option<Share> {
    let of_route = |((of, name, _), _): &(&RouteKey, &RouteRow)| of == relay && name == route;
    let (_, row) = state.routes.iter().find(of_route)?;
    Some(Share::from_definition(relay, route, &row.definition)?.in_group(Group::ALL))
}

/// How many events a replay is still to bring.
fn left(state: &State, row: &ReplayRow, share: &Share) -> i64 {
    let left = state.left_of(row, share);
    left.filter(|(_, _, standing)| *standing != Standing::Aside).count() as i64
}

fn replay_status(state: &State, id: i64, row: &ReplayRow) -> ReplayStatus {
    let ReplayRequest { relay, route, .. } = &row.request;
    let share = share_of(state, relay, route);
    let left = share.map_or(0, |share| left(state, row, &share));
    ReplayStatus {
        id,
        relay: relay.clone(),
        route: route.clone(),
        events: Some(row.events),
        left: Some(left),
        requested_at: row.requested_at,
        finished_at: (left == 0).then(Timestamp::now),
    }
}

fn forget(state: &mut State, relay: &str) -> Result<Forgotten, StoreError> {
    let refused = |words: String| Err(StoreError::new(StoreFailure::Refused, words));
    let now = Instant::now();
    if state.leases(relay).next().is_none() {
        return refused(format!("there is no relay {relay:?}"));
    }
    if state.leases(relay).any(|row| row.is_held(now)) {
        return refused(format!("relay {relay:?} is run at present"));
    }
    state.relays.retain(|(of, _), _| of != relay);
    let own = state.routes.keys().filter(|(of, _, _)| of == relay);
    let routes: BTreeSet<String> = own.map(|(_, route, _)| route.clone()).collect();
    state.routes.retain(|(of, _, _), _| of != relay);
    let before = state.parked.len();
    state.parked.retain(|_, parked| parked.relay != relay);
    let parked = (before - state.parked.len()) as u64;
    state.replays.retain(|_, replay| replay.request.relay != relay);
    state.skipped.retain(|(of, _)| of != relay);
    Ok(Forgotten {
        routes: routes.into_iter().collect(),
        parked,
        slots: Vec::new(),
    })
}

fn replace<T: Clone>(field: &mut T, new: &Option<T>) {
    if let Some(new) = new {
        field.clone_from(new);
    }
}

fn pick(state: &State, filter: &ParkedFilter, also: impl Fn(&ParkedRow) -> bool) -> Vec<i64> {
    let fits = |(id, parked): &(&i64, &ParkedRow)| {
        let plain = &parked.row.plain;
        (filter.ids.is_empty() || filter.ids.contains(id))
            && filter.relay.as_ref().is_none_or(|relay| parked.relay == *relay)
            && filter.route.as_ref().is_none_or(|route| parked.route == *route)
            && filter.topic.as_ref().is_none_or(|topic| plain.topic == *topic)
            && filter.key.as_ref().is_none_or(|key| plain.key.as_ref() == Some(key))
            && also(parked)
    };
    let limit = filter
        .limit
        .map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(0));
    state
        .parked
        .iter()
        .filter(fits)
        .map(|(id, _)| *id)
        .take(limit)
        .collect()
}

fn shown(id: i64, parked: &ParkedRow, with_payload: bool) -> ParkedEvent {
    let plain = &parked.row.plain;
    ParkedEvent {
        id,
        relay: parked.relay.clone(),
        route: parked.route.clone(),
        state: parked.state.as_str().to_owned(),
        event_id: plain.id,
        topic: plain.topic.clone(),
        key: plain.key.clone(),
        event_type: plain.event_type.clone(),
        content_type: plain.content_type.clone(),
        headers: plain.headers.clone(),
        payload: if with_payload {
            plain.payload.clone()
        } else {
            Vec::new()
        },
        payload_bytes: plain.payload.len() as i64,
        occurred_at: parked.row.occurred_at,
        parked_at: parked.parked_at,
        attempts: parked.attempts,
        error: parked.error.clone(),
    }
}

fn relays(state: &State, now: Instant) -> Vec<RelayStatus> {
    let mut relays: BTreeMap<&str, Vec<GroupStatus>> = BTreeMap::new();
    for ((name, index), row) in &state.relays {
        if *index >= row.groups {
            continue;
        }
        let unsettled = state
            .routes
            .iter()
            .filter(|((relay, _, group), _)| (relay, group) == (name, index));
        let held = row.is_held(now);
        relays.entry(name).or_default().push(GroupStatus {
            index: *index,
            holder: row.holder.clone().filter(|_| held),
            epoch: row.epoch,
            renewed_seconds_ago: row.renewed_at.map(|at| (now - at).as_secs_f64()),
            lease_seconds: row.expires_at.filter(|_| held).map(|at| (at - now).as_secs_f64()),
            feed: None,
            feed_reason: None,
            slot: None,
            unsettled: unsettled
                .map(|(key, row)| route_status(state, key, row).unsettled)
                .sum(),
            lag_seconds: None,
        });
    }
    let relay = |(name, groups): (&str, Vec<GroupStatus>)| {
        let mut relay = RelayStatus::of_groups(name.to_owned(), groups);
        if relay.groups.len() == 1 {
            relay.groups.clear();
        }
        relay
    };
    relays.into_iter().map(relay).collect()
}

/// Each route once.
fn routes(state: &State) -> Vec<RouteStatus> {
    let mut routes: BTreeMap<(&str, &str), RouteStatus> = BTreeMap::new();
    for (key, row) in &state.routes {
        let group = route_status(state, key, row);
        match routes.entry((&key.0, &key.1)) {
            Entry::Vacant(place) => _ = place.insert(group),
            Entry::Occupied(mut route) => route.get_mut().absorb(group),
        }
    }
    routes.into_values().collect()
}

fn route_status(state: &State, (relay, route, _): &RouteKey, row: &RouteRow) -> RouteStatus {
    let share = Share::from_definition(relay, route, &row.definition);
    let unsettled: Vec<_> = state
        .rows
        .iter()
        .filter(|(sequence, event)| {
            share.as_ref().is_some_and(|share| event.is_taken_by(share)) && !row.covers(**sequence, event)
        })
        .collect();
    let aside = |held: bool| {
        let own = state
            .parked
            .values()
            .filter(|parked| parked.relay == *relay && parked.route == *route);
        own.filter(|parked| (parked.state == Aside::Held) == held).count() as i64
    };
    let oldest = unsettled.iter().map(|(_, event)| event.occurred_at).min();
    RouteStatus {
        relay: relay.clone(),
        route: route.clone(),
        state: row.state.as_str().to_owned(),
        halted: row.halted.clone(),
        unsettled: Some(unsettled.len() as i64),
        lag_seconds: oldest.map(|oldest| Timestamp::now().duration_since(oldest).as_secs_f64()),
        delivered: row.delivered as i64,
        failed: row.failed as i64,
        parked: aside(false),
        held: aside(true),
        last_error: row.last_error.clone(),
    }
}
