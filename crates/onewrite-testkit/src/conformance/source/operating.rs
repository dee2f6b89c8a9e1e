//! Cases of what else operators do.

use onewrite_core::StoreFailure;
use onewrite_core::store::{ParkedFilter, RouteControl, RouteReport, RouteState};

use super::SourceHarness;
use super::session::{LONG, RELAY, Session, events, poison, topic, works};
use crate::conformance::Wrong;

pub(super) async fn a_relay_that_nobody_runs_can_be_given_up(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let session = Session::new(harness).await?;
    session.commit(&events(3, 3)).await?;
    let mut feed = session.feed().await?;
    let handed_out = feed.rest().await?;
    feed.park(&[poison(&handed_out[0])]).await?;
    if session.operations.forget(RELAY).await.is_ok() {
        return Err(Wrong::new("a relay that is run is not given up", "it was"));
    }
    let released = session.outbox.release(&session.lease).await;
    released.map_err(|error| works("releasing the lease", &error))?;
    let forgotten = session.operations.forget(RELAY).await;
    let forgotten = forgotten.map_err(|error| works("giving a relay up", &error))?;
    if !forgotten.routes.iter().any(|route| route == "all") || forgotten.parked != 1 {
        let required = "the answer tells the relay's routes and how much was parked";
        return Err(Wrong::new(required, format!("{forgotten:?}")));
    }
    let status = session.operations.status().await;
    let status = status.map_err(|error| works("reading the status", &error))?;
    let parked = session.operations.parked(&ParkedFilter::default()).await;
    let parked = parked.map_err(|error| works("listing parked events", &error))?;
    if !status.relays.is_empty() || !status.routes.is_empty() || !parked.is_empty() {
        return Err(Wrong::new(
            "nothing of the relay is left",
            format!("{status:?}, {parked:?}"),
        ));
    }
    match session.operations.forget(RELAY).await {
        Err(error) if error.failure == StoreFailure::Refused => Ok(()),
        other => Err(Wrong::new("a relay that is not there is refused", format!("{other:?}"))),
    }
}

pub(super) async fn pausing_and_halting_reach_the_relay(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let session = Session::with_routes(harness, &[("a", topic("a")), ("b", topic("b"))]).await?;
    controls(&session, "a", false, None).await?;
    let paused = session.operations.set_paused(RELAY, Some("a"), true).await;
    if paused.map_err(|error| works("pausing", &error))? != 1 {
        return Err(Wrong::new(
            "pausing tells how many routes there were: 1",
            "another count",
        ));
    }
    controls(&session, "a", true, None).await?;
    controls(&session, "b", false, None).await?;
    session
        .outbox
        .halt(&session.lease, "b", "words")
        .await
        .map_err(|error| works("halting", &error))?;
    controls(&session, "b", false, Some("words")).await?;
    // A halt outlives a restart.
    session
        .outbox
        .adopt(&session.lease, &session.shares)
        .await
        .map_err(|error| works("adopting routes", &error))?;
    controls(&session, "b", false, Some("words")).await?;
    controls(&session, "a", true, None).await?;
    session
        .operations
        .set_paused(RELAY, None, false)
        .await
        .map_err(|error| works("resuming", &error))?;
    controls(&session, "a", false, None).await?;
    controls(&session, "b", false, None).await
}

pub(super) async fn the_status_tells_what_is_unsettled_and_parked(
    harness: &mut dyn SourceHarness,
) -> Result<(), Wrong> {
    let session = Session::new(harness).await?;
    session.commit(&events(20, 4)).await?;
    let mut feed = session.feed().await?;
    let handed_out = feed.rest().await?;
    feed.park(&[poison(&handed_out[0])]).await?;
    feed.settle_through(Some(handed_out[11].position), &[handed_out[3].position])
        .await?;
    let report = RouteReport {
        route: "all".to_owned(),
        state: RouteState::Retrying,
        delivered: 10,
        failed: 2,
        last_error: Some("no broker".to_owned()),
    };
    for _ in 0..2 {
        let renewed = session
            .outbox
            .renew(&session.lease, LONG, std::slice::from_ref(&report))
            .await;
        renewed.map_err(|error| works("renewing the lease", &error))?;
    }
    let status = session
        .operations
        .status()
        .await
        .map_err(|error| works("reading the status", &error))?;
    let Some(route) = status
        .routes
        .iter()
        .find(|route| route.route == "all" && route.relay == RELAY)
    else {
        return Err(Wrong::new("the status has every route", format!("{:?}", status.routes)));
    };
    let found = (
        route.unsettled,
        route.parked,
        route.held,
        route.delivered,
        route.failed,
        route.state.as_str(),
    );
    let wanted = (harness.counts().then_some(9), 1, 0, 20, 4, "retrying");
    if found != wanted
        || route.lag_seconds.is_some() != harness.counts()
        || route.last_error.as_deref() != Some("no broker")
    {
        return Err(Wrong::new(
            format!("unsettled, parked, held, delivered, failed, state: {wanted:?}"),
            format!("{route:?}"),
        ));
    }
    let leads = |relay: &onewrite_core::store::RelayStatus| {
        relay.name == RELAY && relay.holder.as_deref() == Some("first") && relay.epoch == session.lease.epoch
    };
    if !status.relays.iter().any(leads) || status.segments.is_empty() {
        return Err(Wrong::new(
            "the status has the relay's holder and the segments",
            format!("{status:?}"),
        ));
    }
    Ok(())
}

pub(super) async fn a_list_of_parked_events_is_limited(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let session = Session::new(harness).await?;
    session.commit(&events(5, 5)).await?;
    let mut feed = session.feed().await?;
    let parkings: Vec<_> = feed.rest().await?.iter().map(poison).collect();
    feed.park(&parkings).await?;
    feed.settle(&[]).await?;
    for (limit, wanted) in [(Some(0), 0), (Some(2), 2), (Some(9), 5), (None, 5)] {
        let filter = ParkedFilter {
            limit,
            ..ParkedFilter::default()
        };
        let parked = session.operations.parked(&filter).await;
        let parked = parked.map_err(|error| works("listing parked events", &error))?;
        if parked.len() != wanted {
            let required = format!("of 5 parked events the limit {limit:?} lists {wanted}");
            return Err(Wrong::new(required, parked.len().to_string()));
        }
    }
    Ok(())
}

async fn controls(session: &Session, route: &str, paused: bool, halted: Option<&str>) -> Result<(), Wrong> {
    let wanted = RouteControl {
        route: route.to_owned(),
        paused,
        halted: halted.map(str::to_owned),
    };
    let found = session.outbox.renew(&session.lease, LONG, &[]).await;
    let found = found.map_err(|error| works("renewing the lease", &error))?;
    if found.contains(&wanted) {
        return Ok(());
    }
    Err(Wrong::new(format!("renewing returns {wanted:?}"), format!("{found:?}")))
}
