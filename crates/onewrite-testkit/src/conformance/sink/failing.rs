//! Cases in which answers are lost or late.

use std::collections::HashSet;

use onewrite_core::Outcome;
use uuid::Uuid;

use super::drive::Drive;
use super::events::Maker;
use super::{SinkHarness, expect};
use crate::conformance::Wrong;

pub(super) async fn a_lost_reply_is_unknown_and_the_same_id_arrives_again(
    harness: &mut dyn SinkHarness,
) -> Result<(), Wrong> {
    let destination = harness.destination().await?;
    let mut drive = Drive::new(&destination, harness);
    let mut maker = Maker::new(&destination.topic);
    let before = maker.events(20, 10);
    drive.all(&before).await?;

    harness.lose_replies(true).await?;
    let lost = maker.events(200, 10);
    let round = drive.once(&lost).await;
    harness.lose_replies(false).await?;
    for (event, outcome) in lost.iter().zip(&round?.outcomes) {
        let seen = match outcome {
            Outcome::Delivered => "was reported delivered",
            Outcome::Failed(error) if error.action == onewrite_core::Action::Park => "was parked",
            Outcome::Failed(_) | Outcome::Unknown => continue,
        };
        let required = "an event whose acknowledgement was lost is unknown, or to be retried";
        return Err(Wrong::new(
            required,
            format!("{} {seen} while nothing came back from the broker", event.id),
        ));
    }
    drive.all(&lost).await?;
    let sent = [before, lost].concat();
    expect::parked_only(&drive.said, &[])?;
    expect::arrived_in_order(&sent, &drive.said, &harness.read_back().await?)?;
    drive.close().await
}

pub(super) async fn a_slow_broker_makes_nothing_unknown_delivered(harness: &mut dyn SinkHarness) -> Result<(), Wrong> {
    let destination = harness.destination().await?;
    let mut drive = Drive::new(&destination, harness);
    let mut maker = Maker::new(&destination.topic);
    let before = maker.events(20, 10);
    drive.all(&before).await?;

    harness.slow_broker(true).await?;
    let slow = maker.events(2_000, 50);
    let round = drive.once(&slow).await;
    let arrived = harness.read_back().await;
    harness.slow_broker(false).await?;
    let (round, arrived) = (round?, arrived?);
    let there: HashSet<Uuid> = arrived.iter().map(|event| event.id).collect();
    for (event, outcome) in slow.iter().zip(&round.outcomes) {
        if matches!(outcome, Outcome::Delivered) && !there.contains(&event.id) {
            let seen = format!(
                "{} was reported delivered by a slow broker that does not hold it",
                event.id
            );
            return Err(Wrong::new("what is reported delivered is at the broker", seen));
        }
    }
    drive.all(&slow).await?;
    let sent = [before, slow].concat();
    expect::parked_only(&drive.said, &[])?;
    expect::arrived_in_order(&sent, &drive.said, &harness.read_back().await?)?;
    drive.close().await
}
