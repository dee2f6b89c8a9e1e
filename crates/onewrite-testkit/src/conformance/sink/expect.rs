//! What must hold of what arrived.

use std::collections::{BTreeMap, HashMap, HashSet};

use onewrite_core::Event;
use onewrite_core::wire::native_headers;
use uuid::Uuid;

use super::Arrived;
use super::drive::Said;
use crate::conformance::Wrong;

/// Everything that was sent, but for what was parked, arrived; nothing else did; first arrivals are in order for each key; and
/// what was said to be delivered is there.
pub(super) fn arrived_in_order(sent: &[Event], said: &Said, arrived: &[Arrived]) -> Result<(), Wrong> {
    order(sent, arrived)?;
    delivered_is_there(said, arrived)?;
    let there: HashSet<Uuid> = arrived.iter().map(|event| event.id).collect();
    let parked: HashSet<Uuid> = said.parked.iter().map(|(id, _)| *id).collect();
    let missing: Vec<&Event> = sent
        .iter()
        .filter(|event| !there.contains(&event.id) && !parked.contains(&event.id))
        .collect();
    match missing.first() {
        None => Ok(()),
        Some(first) => {
            let seen = format!(
                "{} of {} are missing, first {} of key {:?}",
                missing.len(),
                sent.len(),
                first.id,
                first.key
            );
            Err(Wrong::new("everything that was not parked arrived", seen))
        }
    }
}

/// What was said to be delivered is there.
pub(super) fn delivered_is_there(said: &Said, arrived: &[Arrived]) -> Result<(), Wrong> {
    let there: HashSet<Uuid> = arrived.iter().map(|event| event.id).collect();
    let missing: Vec<&Uuid> = said.delivered.iter().filter(|id| !there.contains(id)).collect();
    match missing.first() {
        None => Ok(()),
        Some(first) => {
            let seen = format!(
                "{} of {} are not there, such as {first}",
                missing.len(),
                said.delivered.len()
            );
            Err(Wrong::new("what is reported delivered is at the broker", seen))
        }
    }
}

/// Nothing but what was sent arrived, under its own key, and first arrivals are in order for each key.
pub(super) fn order(sent: &[Event], arrived: &[Arrived]) -> Result<(), Wrong> {
    let places: HashMap<Uuid, (usize, &Event)> = sent
        .iter()
        .enumerate()
        .map(|(at, event)| (event.id, (at, event)))
        .collect();
    let mut seen = HashSet::new();
    let mut last: HashMap<&str, usize> = HashMap::new();
    for event in arrived {
        let Some((place, original)) = places.get(&event.id) else {
            return Err(Wrong::new("nothing arrives that was not sent", event.id.to_string()));
        };
        if event.key.as_deref() != original.key.as_deref() {
            let seen = format!(
                "{} arrived with key {:?} instead of {:?}",
                event.id, event.key, original.key
            );
            return Err(Wrong::new("an event keeps its key", seen));
        }
        let Some(key) = event.key.as_deref().filter(|_| seen.insert(event.id)) else {
            continue;
        };
        if let Some(before) = last.insert(key, *place)
            && before > *place
        {
            let seen = format!("key {key:?}: event {place} of what was sent arrived after event {before}");
            return Err(Wrong::new(
                "first arrivals of a key are in order, whatever failed in between",
                seen,
            ));
        }
    }
    Ok(())
}

/// No event was called poison, but for these.
pub(super) fn parked_only(said: &Said, poison: &[Uuid]) -> Result<(), Wrong> {
    for (id, words) in &said.parked {
        if !poison.contains(id) {
            return Err(Wrong::new(
                "only what the broker refuses for good is parked",
                format!("{id} was parked: {words}"),
            ));
        }
        if words.trim().is_empty() {
            return Err(Wrong::new(
                "a parked event has the broker's words",
                format!("{id} has none"),
            ));
        }
    }
    for id in poison {
        if !said.parked.iter().any(|(parked, _)| parked == id) {
            let fate = if said.delivered.contains(id) {
                "delivered"
            } else {
                "unknown or to be retried"
            };
            return Err(Wrong::new(
                "what the broker refuses for good is parked",
                format!("{id} was reported {fate}"),
            ));
        }
    }
    Ok(())
}

/// Every event is what was sent: payload, key and headers.
pub(super) fn untouched(sent: &[Event], arrived: &[Arrived]) -> Result<(), Wrong> {
    for event in sent {
        let Some(found) = arrived.iter().find(|found| found.id == event.id) else {
            return Err(Wrong::new(
                "every event arrives",
                format!("{} with key {:?} did not", event.id, event.key),
            ));
        };
        if found.payload != *event.payload {
            let seen = format!(
                "{} bytes of {} arrived otherwise, as {} bytes",
                event.payload.len(),
                event.id,
                found.payload.len()
            );
            return Err(Wrong::new("payloads arrive byte for byte", seen));
        }
        if found.key.as_deref() != event.key.as_deref() {
            return Err(Wrong::new(
                "keys arrive as they are",
                format!("{:?} arrived as {:?}", event.key, found.key),
            ));
        }
        let headers = headers(event);
        if found.headers != headers {
            let differing = headers
                .iter()
                .find(|(name, value)| found.headers.get(*name) != Some(*value));
            let added = found.headers.iter().find(|(name, _)| !headers.contains_key(*name));
            let seen = format!("of {}: missing or changed {differing:?}, added {added:?}", event.id);
            return Err(Wrong::new("headers arrive as core's wire format has them", seen));
        }
    }
    Ok(())
}

fn headers(event: &Event) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    native_headers(event, |name, value| {
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    });
    headers
}
