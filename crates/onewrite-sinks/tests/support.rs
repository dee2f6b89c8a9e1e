//! Events, and the part of the engine that tries again, for the tests of every adapter.

use bytes::Bytes;
use jiff::Timestamp;
use onewrite_core::{Action, DeliveryReport, Event, Outcome, Sink, SinkError};
use uuid::Uuid;

/// An event of this number: its id, its topic `t`, a JSON payload that holds the number.
pub fn event(number: u128, key: Option<&str>) -> Event {
    Event {
        id: Uuid::from_u128(number),
        topic: "shop.orders".into(),
        key: key.map(Into::into),
        event_type: Some("OrderPlaced".into()),
        payload: Bytes::from(format!("{{\"number\": {number}}}")),
        content_type: "application/json".into(),
        headers: Vec::new(),
        occurred_at: Timestamp::from_microsecond(1_700_000_000_000_001).unwrap(),
        replay: None,
        headers_complete: false,
        verbatim: None,
    }
}

/// Events numbered from 1, their keys taken in turn from `keys`.
pub fn events(count: u128, keys: &[&str]) -> Vec<Event> {
    (0..count)
        .map(|number| event(number + 1, Some(keys[number as usize % keys.len()])))
        .collect()
}

/// One delivery and its outcomes.
pub async fn deliver(sink: &dyn Sink, batch: &[Event]) -> (Result<(), SinkError>, Vec<Outcome>) {
    let mut report = DeliveryReport::new(batch.len());
    let result = sink.deliver(batch, &mut report).await;
    (result, report.into_outcomes())
}

/// What became of one event, in a word.
pub fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Unknown => "unknown",
        Outcome::Delivered => "delivered",
        Outcome::Failed(error) => match error.action {
            Action::Retry { .. } => "retry",
            Action::Reconnect => "reconnect",
            Action::Park => "park",
            Action::Halt => "halt",
        },
    }
}

/// The words of all outcomes.
pub fn words(outcomes: &[Outcome]) -> Vec<&'static str> {
    outcomes.iter().map(word).collect()
}

/// Delivers until nothing is left, as core does but without its waits, and returns what was parked.
///
/// # Panics
/// When events are left after `rounds`, or when the sink halts.
pub async fn settle(sink: &dyn Sink, batch: &[Event], rounds: usize) -> Vec<Uuid> {
    let mut left = batch.to_vec();
    let (mut parked, mut why) = (Vec::new(), String::new());
    for _ in 0..rounds {
        let (result, outcomes) = deliver(sink, &left).await;
        if let Err(error) = result {
            assert_ne!(error.action, Action::Halt, "{error}");
            why = error.to_string();
        }
        let mut rest = Vec::new();
        for (event, outcome) in left.into_iter().zip(outcomes) {
            match word(&outcome) {
                "delivered" => {}
                "park" => parked.push(event.id),
                _ => {
                    if let Outcome::Failed(error) = &outcome {
                        why = error.to_string();
                    }
                    rest.push(event);
                }
            }
        }
        if rest.is_empty() {
            return parked;
        }
        left = rest;
    }
    panic!(
        "{} of {} events are left after {rounds} rounds; the last reason: {why}",
        left.len(),
        batch.len()
    );
}
