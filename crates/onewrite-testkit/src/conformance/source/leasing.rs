//! Cases of the lease.

use std::time::Duration;

use super::SourceHarness;
use super::session::{LONG, Session, acquire, events, exactly, held, take_over, works};
use crate::conformance::Wrong;

pub(super) async fn one_holder_at_a_time(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let session = Session::new(harness).await?;
    for holder in ["second", "first"] {
        if let Some(lease) = acquire(&*session.outbox, holder, LONG).await? {
            return Err(Wrong::new(
                "a lease has one holder at a time",
                format!("{lease:?} beside {:?}", session.lease),
            ));
        }
    }
    let other = session.outbox.acquire("another relay", "second", LONG).await;
    if other
        .map_err(|error| works("acquiring another relay's lease", &error))?
        .is_none()
    {
        return Err(held("another relay"));
    }
    let renewed = session.outbox.renew(&session.lease, LONG, &[]).await;
    renewed.map(|_| ()).map_err(|error| works("renewing the lease", &error))
}

pub(super) async fn a_released_lease_is_free_at_once(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let session = Session::new(harness).await?;
    session
        .outbox
        .release(&session.lease)
        .await
        .map_err(|error| works("releasing the lease", &error))?;
    let Some(lease) = acquire(&*session.outbox, "second", LONG).await? else {
        return Err(held("a relay that released it"));
    };
    if lease.epoch <= session.lease.epoch {
        let seen = format!("{} after {}", lease.epoch, session.lease.epoch);
        return Err(Wrong::new("the epoch grows with every holder", seen));
    }
    Ok(())
}

pub(super) async fn a_lease_that_ran_out_is_taken_over_where_it_stood(
    harness: &mut dyn SourceHarness,
) -> Result<(), Wrong> {
    let mut session = Session::new(harness).await?;
    let written = events(40, 4);
    session.commit(&written).await?;
    let mut feed = session.feed().await?;
    let handed_out = feed.rest().await?;
    feed.settle_through(Some(handed_out[24].position), &[handed_out[7].position])
        .await?;
    let renewed = session
        .outbox
        .renew(&session.lease, Duration::from_millis(50), &[])
        .await;
    renewed.map_err(|error| works("renewing the lease", &error))?;
    session.lease = take_over(&*session.outbox, "second").await?;
    session
        .outbox
        .adopt(&session.lease, &session.shares)
        .await
        .map_err(|error| works("adopting routes", &error))?;
    let due = [&written[7..8], &written[25..]].concat();
    exactly(&due, &session.feed().await?.rest().await?)
}
