//! Cases in which the broker refuses events.

use onewrite_core::{Event, Outcome};
use uuid::Uuid;

use super::drive::Drive;
use super::events::{Maker, dressed};
use super::{SinkHarness, expect};
use crate::conformance::Wrong;

pub(super) async fn poison_is_parked_with_words_and_stops_its_key_alone(
    harness: &mut dyn SinkHarness,
) -> Result<(), Wrong> {
    let destination = harness.destination().await?;
    match harness.poison() {
        Some(poison) => refused(harness, &destination, poison).await,
        None => Ok(()),
    }
}

pub(super) async fn an_oversized_event_is_parked_alone(harness: &mut dyn SinkHarness) -> Result<(), Wrong> {
    let destination = harness.destination().await?;
    match harness.oversize() {
        Some(oversize) => refused(harness, &destination, oversize).await,
        None => Ok(()),
    }
}

pub(super) async fn every_event_has_an_outcome_of_its_own(harness: &mut dyn SinkHarness) -> Result<(), Wrong> {
    let destination = harness.destination().await?;
    let Some(poison) = harness.poison() else { return Ok(()) };
    let mut drive = Drive::new(&destination, harness);
    drive.concurrency(2);
    let mut maker = Maker::new(&destination.topic);
    let mut sent = Vec::new();
    let mut refused = Vec::new();
    for at in 0..400 {
        if at % 29 == 7 {
            let poison = dressed(poison.clone(), &format!("key-{}", at % 40));
            refused.push(poison.id);
            sent.push(poison);
        }
        sent.push(maker.event(Some(&format!("key-{}", at % 40))));
    }
    drive.all(&sent).await?;
    expect::parked_only(&drive.said, &refused)?;
    expect::arrived_in_order(&sent, &drive.said, &harness.read_back().await?)?;
    drive.close().await
}

/// One refused event in the middle of its key, among events of other keys.
async fn refused(harness: &mut dyn SinkHarness, destination: &super::Destination, refused: Event) -> Result<(), Wrong> {
    let mut drive = Drive::new(destination, harness);
    let mut maker = Maker::new(&destination.topic);
    let refused = dressed(refused, "refused");
    let mut sent = maker.events(20, 4);
    sent.push(maker.event(Some("refused")));
    sent.push(refused.clone());
    sent.extend([maker.event(Some("refused")), maker.event(Some("refused"))]);
    sent.extend(maker.events(20, 4));

    let round = drive.once(&sent).await?;
    let arrived = harness.read_back().await?;
    expect::order(&sent, &arrived)?;
    stopped_behind_it(&sent, &round.outcomes, &refused.id, &arrived)?;

    drive.all(&sent).await?;
    expect::parked_only(&drive.said, &[refused.id])?;
    let arrived = harness.read_back().await?;
    expect::arrived_in_order(&sent, &drive.said, &arrived)?;
    if arrived.iter().any(|found| found.id == refused.id) {
        return Err(Wrong::new(
            "what is parked has not arrived",
            format!("{} has", refused.id),
        ));
    }
    drive.close().await
}

/// In the delivery in which an event was refused, nothing behind it under its key reached the broker.
fn stopped_behind_it(
    sent: &[Event],
    outcomes: &[Outcome],
    refused: &Uuid,
    arrived: &[super::Arrived],
) -> Result<(), Wrong> {
    let Some(at) = sent.iter().position(|event| event.id == *refused) else {
        return Ok(());
    };
    if matches!(outcomes[at], Outcome::Delivered) {
        let seen = format!("{refused} was reported delivered");
        return Err(Wrong::new("what the broker refuses for good is parked", seen));
    }
    let behind = sent[at + 1..].iter().filter(|event| event.key == sent[at].key);
    for event in behind {
        if arrived.iter().any(|found| found.id == event.id) {
            let seen = format!(
                "{} arrived in the delivery in which {refused} before it was refused",
                event.id
            );
            return Err(Wrong::new("a failure stops its key", seen));
        }
    }
    Ok(())
}
