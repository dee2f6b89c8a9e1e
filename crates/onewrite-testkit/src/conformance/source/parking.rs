//! Cases of events that are set aside and delivered again.

use onewrite_core::ParkReason;
use onewrite_core::routing::UNROUTED;
use onewrite_core::store::{ParkedEdit, ParkedEvent, ParkedFilter};
use serde_json::json;

use super::SourceHarness;
use super::session::{Session, event, events, exactly, parking, poison, sourced_ids, topic, works};
use crate::conformance::Wrong;

pub(super) async fn parking_twice_leaves_one(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let session = Session::new(harness).await?;
    let written = events(6, 6);
    session.commit(&written).await?;
    let mut feed = session.feed().await?;
    let handed_out = feed.rest().await?;
    feed.park(&[poison(&handed_out[1]), poison(&handed_out[2])]).await?;
    // The reply was lost; and then the relay was killed before it settled anything, and its successor parks anew.
    feed.park(&[poison(&handed_out[1]), poison(&handed_out[2])]).await?;
    let mut feed = session.feed().await?;
    let again = feed.rest().await?;
    exactly(&written, &again)?;
    feed.park(&[poison(&again[1]), poison(&again[4])]).await?;
    feed.settle(&[]).await?;
    let parked = list(
        &session,
        ParkedFilter {
            with_payload: true,
            ..ParkedFilter::default()
        },
    )
    .await?;
    let mut found: Vec<_> = parked.iter().map(|parked| parked.event_id).collect();
    let mut wanted = [written[1].id, written[2].id, written[4].id];
    found.sort_unstable();
    wanted.sort_unstable();
    if found != wanted {
        return Err(Wrong::new(
            format!("{wanted:?} are parked, each once"),
            format!("{found:?}"),
        ));
    }
    for parked in &parked {
        if parked.state != "parked" || parked.error != "refused by the broker" || parked.payload != vec![b'x'; 100] {
            return Err(Wrong::new(
                "a parked event is as it was, with the broker's words",
                format!("{parked:?}"),
            ));
        }
    }
    exactly(&[], &session.redeliveries_of(0).await?.rest().await?)
}

pub(super) async fn held_events_follow_when_their_key_is_free(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    for mended in [true, false] {
        let session = Session::new(harness).await?;
        let written = events(8, 2);
        session.commit(&written).await?;
        let mut feed = session.feed().await?;
        let handed_out = feed.rest().await?;
        let of_key: Vec<_> = handed_out
            .iter()
            .filter(|sourced| sourced.event.key.as_deref() == Some("key-0"))
            .collect();
        feed.park(&[poison(of_key[0]), parking(of_key[1], ParkReason::Held)])
            .await?;
        feed.park(&[
            parking(of_key[2], ParkReason::Held),
            parking(of_key[3], ParkReason::Held),
        ])
        .await?;
        feed.settle(&[]).await?;
        blocked(&session, &["key-0"]).await?;
        let mut redeliveries = session.redeliveries_of(0).await?;
        exactly(&[], &redeliveries.rest().await?).map_err(|wrong| wrong.when("while the poison is parked"))?;

        let filter = ParkedFilter {
            key: Some("key-0".to_owned()),
            limit: Some(1),
            ..ParkedFilter::default()
        };
        let mut due: Vec<_> = written
            .iter()
            .filter(|event| event.key.as_deref() == Some("key-0"))
            .cloned()
            .collect();
        if mended {
            let retried = session
                .operations
                .retry(&filter)
                .await
                .map_err(|error| works("retrying", &error))?;
            if retried != 1 {
                return Err(Wrong::new(
                    "retry tells how many events it marked: 1",
                    retried.to_string(),
                ));
            }
        } else {
            let skipped = session
                .operations
                .skip(&filter)
                .await
                .map_err(|error| works("skipping", &error))?;
            if skipped.len() != 1 || skipped[0].event_id != due[0].id || skipped[0].payload != *due[0].payload {
                return Err(Wrong::new(
                    "skip gives back what it gives up, with its payload",
                    format!("{skipped:?}"),
                ));
            }
            due.remove(0);
        }
        let handed_out = redeliveries.until(due.len()).await?;
        exactly(&due, &handed_out)?;
        exactly(&[], &redeliveries.rest().await?).map_err(|wrong| wrong.when("while they are under way"))?;
        redeliveries.settle(&[]).await?;
        blocked(&session, &[]).await?;
        nothing_parked(&session).await?;
        exactly(&[], &session.feed().await?.rest().await?)?;
    }
    Ok(())
}

pub(super) async fn a_retried_event_comes_again_until_it_is_settled(
    harness: &mut dyn SourceHarness,
) -> Result<(), Wrong> {
    let session = Session::new(harness).await?;
    let written = park_some(&session, 6).await?;
    retry(&session).await?;
    let mut redeliveries = session.redeliveries_of(0).await?;
    let handed_out = redeliveries.rest().await?;
    exactly(&written, &handed_out)?;
    redeliveries
        .settle_through(Some(handed_out[3].position), &[handed_out[1].position])
        .await?;
    // The relay is killed; its successor brings what was not settled.
    let mut redeliveries = session.redeliveries_of(0).await?;
    let handed_out = redeliveries.rest().await?;
    let due = [&written[1..2], &written[4..]].concat();
    exactly(&due, &handed_out)?;
    redeliveries.settle(&[]).await?;
    nothing_parked(&session).await
}

pub(super) async fn a_retried_event_that_is_parked_again_stays(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let session = Session::new(harness).await?;
    let written = park_some(&session, 3).await?;
    retry(&session).await?;
    let mut redeliveries = session.redeliveries_of(0).await?;
    let handed_out = redeliveries.rest().await?;
    let again = parking(&handed_out[1], ParkReason::Poison("refused again".to_owned()));
    redeliveries.park(&[again]).await?;
    redeliveries.settle(&[]).await?;
    let parked = list(&session, ParkedFilter::default()).await?;
    let fits = parked.len() == 1
        && parked[0].event_id == written[1].id
        && parked[0].state == "parked"
        && parked[0].error == "refused again";
    if !fits {
        return Err(Wrong::new(
            "an event that was parked anew stays, with the new words",
            format!("{parked:?}"),
        ));
    }
    exactly(&[], &redeliveries.rest().await?)?;
    retry(&session).await?;
    exactly(&written[1..2], &redeliveries.until(1).await?).map_err(|wrong| wrong.when("after another retry"))?;
    redeliveries.settle(&[]).await?;
    nothing_parked(&session).await
}

/// A batch of redeliveries is settled from its beginning on, so one event of a key may be settled while the next one, which was set aside
/// in the same breath, is not. A retry that comes just then must not let a third one overtake the second.
pub(super) async fn what_is_set_aside_again_is_not_overtaken_when_it_is_retried(
    harness: &mut dyn SourceHarness,
) -> Result<(), Wrong> {
    let session = Session::new(harness).await?;
    let written = events(3, 1);
    session.commit(&written).await?;
    let mut feed = session.feed().await?;
    let of_key = feed.rest().await?;
    feed.park(&[poison(&of_key[0]), parking(&of_key[1], ParkReason::Held)])
        .await?;
    retry(&session).await?;
    let mut redeliveries = session.redeliveries_of(0).await?;
    let handed_out = redeliveries.rest().await?;
    exactly(&written[..2], &handed_out)?;
    feed.park(&[parking(&of_key[2], ParkReason::Held)]).await?;
    feed.settle(&[]).await?;
    redeliveries
        .park(&[poison(&handed_out[0]), parking(&handed_out[1], ParkReason::Held)])
        .await?;
    redeliveries.settle_through(Some(handed_out[0].position), &[]).await?;
    retry(&session).await?;
    exactly(&written, &redeliveries.rest().await?).map_err(|wrong| wrong.when("after another retry"))?;
    redeliveries.settle(&[]).await?;
    nothing_parked(&session).await
}

pub(super) async fn an_edited_event_comes_as_edited(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let session = Session::new(harness).await?;
    park_some(&session, 1).await?;
    let parked = list(&session, ParkedFilter::default()).await?;
    let edit = ParkedEdit {
        topic: Some("shop.mended".to_owned()),
        payload: Some(b"mended".to_vec()),
        content_type: Some("text/plain".to_owned()),
        headers: Some(json!({"mended": "yes"})),
    };
    let edited = session
        .operations
        .edit(parked[0].id, &edit)
        .await
        .map_err(|error| works("editing", &error))?;
    let missing = session
        .operations
        .edit(parked[0].id + 1_000, &edit)
        .await
        .map_err(|error| works("editing", &error))?;
    if !edited || missing {
        return Err(Wrong::new(
            "edit tells whether there is such an event: true, false",
            format!("{edited}, {missing}"),
        ));
    }
    retry(&session).await?;
    if session.operations.edit(parked[0].id, &edit).await.is_ok() {
        return Err(Wrong::new(
            "an event under retry is not edited, since it may be on its way",
            "it was",
        ));
    }
    let mut redeliveries = session.redeliveries_of(0).await?;
    let handed_out = redeliveries.until(1).await?;
    let event = &handed_out[0].event;
    let headers: Vec<_> = event.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    let fits = &*event.topic == "shop.mended"
        && event.payload == "mended"
        && &*event.content_type == "text/plain"
        && headers == [("mended", "yes")]
        && event.id == parked[0].event_id;
    if !fits {
        return Err(Wrong::new(
            "an edited event comes as edited, with its id",
            format!("{event:?}"),
        ));
    }
    redeliveries.settle(&[]).await?;
    nothing_parked(&session).await
}

pub(super) async fn an_event_that_no_route_took_comes_under_the_route_that_takes_it(
    harness: &mut dyn SourceHarness,
) -> Result<(), Wrong> {
    let mut session = Session::with_routes(harness, &[("a", topic("a"))]).await?;
    let written = [event("b", Some("key")), event("c", Some("key"))];
    session.commit(&written).await?;
    let mut unrouted = session.feed_of(1).await?;
    let handed_out = unrouted.rest().await?;
    exactly(&written, &handed_out)?;
    unrouted
        .park(&handed_out.iter().map(poison).collect::<Vec<_>>())
        .await?;
    unrouted.settle(&[]).await?;
    session.adopt(&[("a", topic("a")), ("b", topic("b"))]).await?;
    retry(&session).await?;
    exactly(&[], &session.redeliveries_of(0).await?.rest().await?)
        .map_err(|wrong| wrong.when("on a route of other topics"))?;
    let mut taking = session.redeliveries_of(1).await?;
    let taken = taking.until(1).await?;
    exactly(&written[..1], &taken)?;
    taking.park(&taken.iter().map(poison).collect::<Vec<_>>()).await?;
    taking.settle(&[]).await?;
    let of_b = ParkedFilter {
        route: Some("b".to_owned()),
        ..ParkedFilter::default()
    };
    let parked = list(&session, of_b).await?;
    if parked.len() != 1 {
        return Err(Wrong::new(
            "parked again, it belongs to the route that took it",
            format!("{parked:?}"),
        ));
    }
    retry(&session).await?;
    exactly(&written[..1], &taking.until(1).await?)?;
    let mut unrouted = session.redeliveries_of(2).await?;
    exactly(&written[1..], &unrouted.until(1).await?).map_err(|wrong| wrong.when(&format!("on {UNROUTED}")))?;
    taking.settle(&[]).await?;
    unrouted.settle(&[]).await?;
    nothing_parked(&session).await
}

/// Writes events of as many keys and parks them all.
async fn park_some(session: &Session, count: usize) -> Result<Vec<onewrite::Event>, Wrong> {
    let written = events(count, count);
    session.commit(&written).await?;
    let mut feed = session.feed().await?;
    let handed_out = feed.rest().await?;
    feed.park(&handed_out.iter().map(poison).collect::<Vec<_>>()).await?;
    feed.settle(&[]).await?;
    if sourced_ids(&handed_out).len() != count {
        return Err(Wrong::new(format!("{count} events come"), handed_out.len().to_string()));
    }
    Ok(written)
}

async fn retry(session: &Session) -> Result<(), Wrong> {
    let retried = session.operations.retry(&ParkedFilter::default()).await;
    retried.map(|_| ()).map_err(|error| works("retrying", &error))
}

async fn list(session: &Session, filter: ParkedFilter) -> Result<Vec<ParkedEvent>, Wrong> {
    session
        .operations
        .parked(&filter)
        .await
        .map_err(|error| works("listing parked events", &error))
}

async fn nothing_parked(session: &Session) -> Result<(), Wrong> {
    match list(session, ParkedFilter::default()).await?.first() {
        None => Ok(()),
        Some(left) => Err(Wrong::new(
            "an event that was delivered in the end is no longer set aside",
            format!("{left:?}"),
        )),
    }
}

async fn blocked(session: &Session, wanted: &[&str]) -> Result<(), Wrong> {
    let route = &session.shares[0].route;
    let keys = session.outbox.blocked_keys(&session.lease, route).await;
    let keys = keys.map_err(|error| works("asking for blocked keys", &error))?;
    let keys: Vec<&str> = keys.iter().map(|key| &**key).collect();
    if keys == wanted {
        return Ok(());
    }
    Err(Wrong::new(
        format!("the blocked keys are {wanted:?}"),
        format!("{keys:?}"),
    ))
}
