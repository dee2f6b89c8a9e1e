//! Cases in which the broker stops.

use onewrite_core::Outcome;
use onewrite_core::error::{Action, chain};
use onewrite_core::sink::FindingLevel;
use tokio::time::Instant;

use super::drive::Drive;
use super::events::Maker;
use super::{SinkHarness, expect};
use crate::conformance::Wrong;

pub(super) async fn what_is_delivered_outlives_a_restart_of_the_broker(
    harness: &mut dyn SinkHarness,
) -> Result<(), Wrong> {
    let destination = harness.destination().await?;
    let mut drive = Drive::new(&destination, harness);
    let mut maker = Maker::new(&destination.topic);
    let mut sent = maker.events(1_000, 50);
    drive.all(&sent).await?;
    harness.stop_broker().await?;
    harness.start_broker().await?;
    let arrived = harness.read_back().await?;
    expect::arrived_in_order(&sent, &drive.said, &arrived).map_err(|wrong| wrong.when("after the restart"))?;

    let later = maker.events(100, 50);
    drive.all(&later).await?;
    sent.extend(later);
    expect::arrived_in_order(&sent, &drive.said, &harness.read_back().await?)?;
    drive.close().await
}

pub(super) async fn a_stopped_broker_takes_nothing_and_parks_nothing(
    harness: &mut dyn SinkHarness,
) -> Result<(), Wrong> {
    let destination = harness.destination().await?;
    let mut drive = Drive::new(&destination, harness);
    let mut maker = Maker::new(&destination.topic);
    let mut sent = maker.events(20, 5);
    drive.all(&sent).await?;
    let during = maker.events(100, 5);
    sent.extend_from_slice(&during);

    harness.stop_broker().await?;
    let looked = look_at_stopped(&mut drive, &destination, &during).await;
    harness.start_broker().await?;
    looked?;
    expect::parked_only(&drive.said, &[])?;
    drive.all(&during).await?;
    expect::arrived_in_order(&sent, &drive.said, &harness.read_back().await?)?;
    drive.close().await
}

pub(super) async fn a_broker_killed_in_mid_batch_loses_and_reorders_nothing(
    harness: &mut dyn SinkHarness,
) -> Result<(), Wrong> {
    let destination = harness.destination().await?;
    let mut drive = Drive::new(&destination, harness);
    let mut maker = Maker::new(&destination.topic);
    let mut random = fastrand::Rng::with_seed(11);
    let mut sent = maker.events(2_000, 40);
    let began = Instant::now();
    drive.all(&sent).await?;
    let whole = began.elapsed();
    for _ in 0..2 {
        let events = maker.events(2_000, 40);
        sent.extend_from_slice(&events);
        let when = whole.mul_f64(random.f64());
        let kill = async {
            // Not a wait for something, but the moment of the fault.
            tokio::time::sleep(when).await;
            harness.stop_broker().await
        };
        let (round, killed) = tokio::join!(drive.once(&events), kill);
        killed?;
        harness.start_broker().await?;
        round?;
        drive.all(&events).await?;
    }
    expect::parked_only(&drive.said, &[])?;
    expect::arrived_in_order(&sent, &drive.said, &harness.read_back().await?)?;
    drive.close().await
}

/// What a sink, old or new, says while there is no broker.
async fn look_at_stopped(
    drive: &mut Drive,
    destination: &super::Destination,
    events: &[onewrite_core::Event],
) -> Result<(), Wrong> {
    let round = drive.once(events).await?;
    for (event, outcome) in events.iter().zip(&round.outcomes) {
        if matches!(outcome, Outcome::Delivered) {
            let seen = format!("{} was reported delivered by a stopped broker", event.id);
            return Err(Wrong::new("a stopped broker takes nothing", seen));
        }
    }
    if let Some(halt) = &drive.said.halt {
        return Err(Wrong::new(
            "a broker that cannot be reached is tried again, not given up",
            halt,
        ));
    }
    if let Err(error) = drive.connect().await
        && matches!(error.action, Action::Park | Action::Halt)
    {
        let seen = format!("connecting asked to {:?}: {}", error.action, chain(&error));
        return Err(Wrong::new(
            "a broker that cannot be reached is tried again, not given up",
            seen,
        ));
    }
    let findings = destination
        .connector
        .probe(std::slice::from_ref(&destination.topic))
        .await;
    if !findings.iter().any(|finding| finding.level == FindingLevel::Broken) {
        let seen = format!("{findings:?}");
        return Err(Wrong::new("a probe finds that a stopped broker does not work", seen));
    }
    Ok(())
}
