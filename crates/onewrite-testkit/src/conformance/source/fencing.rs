//! Cases of a relay that has lost its lease without knowing.

use std::time::Duration;

use onewrite::Event;
use onewrite_core::store::{ParkedFilter, RouteReport, RouteState};
use onewrite_core::{Lease, Settlement, Sourced};

use super::SourceHarness;
use super::session::{ALL, LONG, Reader, Session, events, exactly, is_fenced, poison, take_over, works};
use crate::conformance::Wrong;

pub(super) async fn a_newer_lease_fences_reading(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let Zombie { session, mut feed, .. } = zombie(harness).await?;
    session.commit(&events(5, 1)).await?;
    is_fenced("reading", feed.source.next_batch(ALL).await)?;
    let opened = session.outbox.feed(&session.lease, &session.shares[0]).await;
    match opened {
        Ok(mut source) => is_fenced("reading from a feed opened late", source.next_batch(ALL).await),
        Err(error) => is_fenced::<()>("opening a feed", Err(error)),
    }
}

pub(super) async fn a_newer_lease_fences_settling(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let Zombie {
        mut session,
        mut feed,
        handed_out,
        written,
        successor,
    } = zombie(harness).await?;
    let settlement = Settlement {
        through: handed_out.last().map(|sourced| sourced.position),
        pending: Vec::new(),
    };
    is_fenced("settling", feed.source.settle(&settlement).await)?;
    // And it has done nothing: the new holder reads everything that was not settled.
    session.lease = successor;
    exactly(&written, &session.feed().await?.rest().await?)
}

pub(super) async fn a_newer_lease_fences_parking(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let Zombie {
        session,
        mut feed,
        handed_out,
        ..
    } = zombie(harness).await?;
    let parking = poison(&handed_out[0]);
    is_fenced("parking", feed.source.park(&[parking]).await)?;
    let parked = session.operations.parked(&ParkedFilter::default()).await;
    match parked.map_err(|error| works("listing parked events", &error))?.first() {
        None => Ok(()),
        Some(parked) => Err(Wrong::new(
            "a fenced relay parks nothing",
            format!("{} is parked", parked.event_id),
        )),
    }
}

pub(super) async fn a_newer_lease_fences_renewing(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let Zombie { session, .. } = zombie(harness).await?;
    let report = RouteReport {
        route: "all".to_owned(),
        state: RouteState::Running,
        delivered: 1_000,
        failed: 0,
        last_error: None,
    };
    is_fenced("renewing", session.outbox.renew(&session.lease, LONG, &[report]).await)?;
    is_fenced(
        "adopting routes",
        session.outbox.adopt(&session.lease, &session.shares).await,
    )?;
    is_fenced(
        "halting a route",
        session.outbox.halt(&session.lease, "all", "words").await,
    )?;
    let status = session
        .operations
        .status()
        .await
        .map_err(|error| works("reading the status", &error))?;
    match status
        .routes
        .iter()
        .find(|route| route.delivered > 0 || route.halted.is_some())
    {
        None => Ok(()),
        Some(route) => Err(Wrong::new(
            "a fenced relay's reports are not stored",
            format!("{route:?}"),
        )),
    }
}

pub(super) async fn a_newer_lease_fences_redeliveries(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let session = Session::new(harness).await?;
    session.commit(&events(4, 4)).await?;
    let mut feed = session.feed().await?;
    let handed_out = feed.rest().await?;
    feed.park(&handed_out.iter().map(poison).collect::<Vec<_>>()).await?;
    feed.settle(&[]).await?;
    let retried = session.operations.retry(&ParkedFilter::default()).await;
    retried.map_err(|error| works("retrying", &error))?;
    let (mut reading, mut settling, mut parking) = (
        session.redeliveries_of(0).await?,
        session.redeliveries_of(0).await?,
        session.redeliveries_of(0).await?,
    );
    let (settled, parked) = (settling.rest().await?, parking.rest().await?);
    depose(&session).await?;
    is_fenced("reading redeliveries", reading.source.next_batch(ALL).await)?;
    let settlement = Settlement {
        through: settled.last().map(|sourced| sourced.position),
        pending: Vec::new(),
    };
    is_fenced("settling redeliveries", settling.source.settle(&settlement).await)?;
    is_fenced("parking redeliveries", parking.source.park(&[poison(&parked[0])]).await)?;
    let left = session.operations.parked(&ParkedFilter::default()).await;
    let left = left.map_err(|error| works("listing parked events", &error))?;
    if left.len() == 4 && left.iter().all(|parked| parked.state == "retry") {
        return Ok(());
    }
    let states: Vec<_> = left.iter().map(|parked| &parked.state).collect();
    Err(Wrong::new(
        "a fenced relay changes no parked event: 4 to be retried",
        format!("{states:?}"),
    ))
}

/// A relay that has read something, and lost its lease since.
struct Zombie {
    session: Session,
    feed: Reader,
    handed_out: Vec<Sourced>,
    written: Vec<Event>,
    /// The lease of the relay that took over.
    successor: Lease,
}

async fn zombie(harness: &mut dyn SourceHarness) -> Result<Zombie, Wrong> {
    let session = Session::new(harness).await?;
    let written = events(10, 2);
    session.commit(&written).await?;
    let mut feed = session.feed().await?;
    let handed_out = feed.rest().await?;
    exactly(&written, &handed_out)?;
    let successor = depose(&session).await?;
    Ok(Zombie {
        session,
        feed,
        handed_out,
        written,
        successor,
    })
}

/// Lets the lease run out and another take it and adopt the routes, as a relay does before anything else.
async fn depose(session: &Session) -> Result<Lease, Wrong> {
    let renewed = session
        .outbox
        .renew(&session.lease, Duration::from_millis(50), &[])
        .await;
    renewed.map_err(|error| works("renewing the lease", &error))?;
    let successor = take_over(&*session.outbox, "second").await?;
    let adopted = session.outbox.adopt(&successor, &session.shares).await;
    adopted.map_err(|error| works("adopting routes", &error))?;
    Ok(successor)
}
