//! The database as operators see it.

use async_trait::async_trait;
use jiff::Timestamp;
use onewrite_core::event::headers_from_json;
use onewrite_core::routing::Share;
use onewrite_core::sink::Finding;
use onewrite_core::store::{
    ParkedEdit, ParkedEvent, ParkedFilter, RelayStatus, ReplayRequest, RouteStatus, SegmentStatus, Status,
};
use onewrite_core::{Operations, StoreError, StoreFailure};
use tokio::time::Instant;

use super::database::MemoryDatabase;
use super::state::{Aside, ParkedRow, RelayRow, ReplayRow, RouteRow, State};

#[async_trait]
impl Operations for MemoryDatabase {
    async fn status(&self) -> Result<Status, StoreError> {
        self.call(|state| {
            let now = Instant::now();
            let bytes = state.rows.values().map(|row| row.plain.payload.len() as i64).sum();
            Ok(Status {
                schema_version: 1,
                relays: state
                    .relays
                    .iter()
                    .map(|(name, row)| relay_status(name, row, now))
                    .collect(),
                routes: state
                    .routes
                    .iter()
                    .map(|((relay, route), row)| route_status(state, relay, route, row))
                    .collect(),
                segments: vec![SegmentStatus {
                    name: "memory".to_owned(),
                    bytes,
                    current: true,
                }],
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
                let removed = picked
                    .into_iter()
                    .filter_map(|id| Some((id, state.parked.remove(&id)?)));
                Ok(removed.map(|(id, parked)| shown(id, &parked, true)).collect())
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
            let plain = &mut parked.row.plain;
            replace(&mut plain.topic, &edit.topic);
            replace(&mut plain.payload, &edit.payload);
            replace(&mut plain.content_type, &edit.content_type);
            replace(&mut plain.headers, &edit.headers);
            Ok(true)
        })
        .await
    }

    async fn replay(&self, request: &ReplayRequest) -> Result<i64, StoreError> {
        let unbounded = request.since.is_none()
            && request.until.is_none()
            && request.topic.is_none()
            && request.key.is_none()
            && request.ids.is_empty();
        if unbounded {
            let words = "a replay needs a bound: since, until, a topic, a key, or ids";
            return Err(StoreError::new(StoreFailure::Refused, words));
        }
        let number = self
            .call(|state| {
                let number = state.replays.len() as i64 + 1;
                let replay = ReplayRow {
                    request: request.clone(),
                    up_to: state.last_sequence,
                    settled: Default::default(),
                };
                state.replays.insert(number, replay);
                Ok(number)
            })
            .await?;
        self.changed();
        Ok(number)
    }

    async fn set_paused(&self, relay: &str, route: Option<&str>, paused: bool) -> Result<u64, StoreError> {
        self.call(|state| {
            let mut count = 0;
            for ((of, name), row) in &mut state.routes {
                if of == relay && route.is_none_or(|route| route == name) {
                    row.paused = paused;
                    row.halted.take_if(|_| !paused);
                    count += 1;
                }
            }
            Ok(count)
        })
        .await
    }

    async fn probe(&self) -> Vec<Finding> {
        vec![Finding::works("the database in memory", "it is part of this process")]
    }
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

fn relay_status(name: &str, row: &RelayRow, now: Instant) -> RelayStatus {
    RelayStatus {
        name: name.to_owned(),
        holder: row.holder.clone().filter(|_| row.expires_at.is_some_and(|at| at > now)),
        epoch: row.epoch,
        renewed_seconds_ago: row.renewed_at.map(|at| (now - at).as_secs_f64()),
    }
}

fn route_status(state: &State, relay: &str, route: &str, row: &RouteRow) -> RouteStatus {
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
            .filter(|parked| parked.relay == relay && parked.route == route);
        own.filter(|parked| (parked.state == Aside::Held) == held).count() as i64
    };
    let oldest = unsettled.iter().map(|(_, event)| event.occurred_at).min();
    RouteStatus {
        relay: relay.to_owned(),
        route: route.to_owned(),
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
