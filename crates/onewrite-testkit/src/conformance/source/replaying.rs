//! Cases of replays.

use onewrite_core::store::{ParkedFilter, ReplayRequest, ReplayStatus};
use onewrite_core::{ParkReason, Sourced};
use uuid::Uuid;

use super::SourceHarness;
use super::session::{RELAY, Session, events, exactly, parking, poison, topic, works};
use crate::conformance::Wrong;

pub(super) async fn a_replay_brings_what_it_names_and_ends(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    if !harness.replays() {
        return Ok(());
    }
    let session = shop(harness).await?;
    let written = events(30, 3);
    session.commit(&written).await?;
    let mut feed = session.feed().await?;
    feed.rest().await?;
    feed.settle(&[]).await?;
    let of_key: Vec<_> = written
        .iter()
        .filter(|event| event.key.as_deref() == Some("key-1"))
        .cloned()
        .collect();
    let of_one = ReplayRequest {
        key: Some("key-1".to_owned()),
        ..request()
    };
    let replay = session.operations.replay(&of_one).await;
    let number = replay.map_err(|error| works("asking for a replay", &error))?.id;
    // Not part of it: it was written later.
    session.commit(&events(3, 3)).await?;
    let mut redeliveries = session.redeliveries_of(0).await?;
    let handed_out = redeliveries.until(of_key.len()).await?;
    exactly(&of_key, &handed_out)?;
    for sourced in &handed_out {
        if !is_of(sourced, number) || sourced.defect.is_some() {
            let seen = format!("{:?}, defect {:?}", sourced.event.replay, sourced.defect);
            return Err(Wrong::new(format!("a replayed event tells its replay, {number}"), seen));
        }
    }
    redeliveries.settle_through(Some(handed_out[5].position), &[]).await?;
    let mut redeliveries = session.redeliveries_of(0).await?;
    exactly(&of_key[6..], &redeliveries.until(of_key.len() - 6).await?)
        .map_err(|wrong| wrong.when("after a restart"))?;
    redeliveries.settle(&[]).await?;
    exactly(&[], &session.redeliveries_of(0).await?.rest().await?)?;
    Ok(())
}

pub(super) async fn a_replay_is_bounded_by_ids_or_otherwise(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    if !harness.replays() {
        return Ok(());
    }
    let session = shop(harness).await?;
    let written = events(9, 3);
    session.commit(&written).await?;
    delivered(&session).await?;
    let unbounded = request();
    if session.operations.replay(&unbounded).await.is_ok() {
        let required = "a replay of everything there is must be asked for by a bound";
        return Err(Wrong::new(required, "it was accepted"));
    }
    let by_ids = ReplayRequest {
        ids: vec![written[4].id, written[2].id],
        ..unbounded
    };
    let asked = session.operations.replay(&by_ids).await;
    asked.map_err(|error| works("asking for a replay", &error))?;
    let mut redeliveries = session.redeliveries_of(0).await?;
    let due = [written[2].clone(), written[4].clone()];
    exactly(&due, &redeliveries.until(2).await?)?;
    redeliveries.settle(&[]).await?;
    exactly(&[], &redeliveries.rest().await?)
}

pub(super) async fn a_replay_of_a_range_is_counted_and_followed(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    if !harness.replays() {
        return Ok(());
    }
    let session = shop(harness).await?;
    let written = events(9, 3);
    session.commit(&written).await?;
    delivered(&session).await?;
    let range = |from: Uuid, to: Uuid| ReplayRequest {
        from_id: Some(from),
        to_id: Some(to),
        ..request()
    };
    let stranger = Uuid::new_v4();
    for (request, words) in [
        (range(written[2].id, stranger), stranger.to_string()),
        (range(written[6].id, written[2].id), "exchange the two".to_owned()),
    ] {
        let told = match session.operations.replay(&request).await {
            Ok(replay) => format!("{replay:?}"),
            Err(error) => error.to_string(),
        };
        if !told.contains(&words) {
            return Err(Wrong::new(format!("the range is refused with {words:?}"), told));
        }
    }
    let replay = asked(&session, &range(written[2].id, written[6].id), 5).await?;
    followed(&session, replay, 5, 5, false).await?;
    let mut redeliveries = session.redeliveries_of(0).await?;
    let handed_out = redeliveries.until(5).await?;
    exactly(&written[2..7], &handed_out)?;
    redeliveries.settle_through(Some(handed_out[2].position), &[]).await?;
    followed(&session, replay, 5, 2, false).await?;
    redeliveries.settle(&[]).await?;
    exactly(&[], &redeliveries.rest().await?)?;
    followed(&session, replay, 5, 0, true).await
}

pub(super) async fn a_replay_leaves_alone_what_was_not_delivered(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    if !harness.replays() {
        return Ok(());
    }
    let session = shop(harness).await?;
    let written = events(9, 1);
    session.commit(&written).await?;
    let mut feed = session.feed().await?;
    let handed_out = feed.rest().await?;
    feed.park(&[poison(&handed_out[3])]).await?;
    // Delivered: 0 to 2 and 4. Set aside: 3. Waiting for another try: 5. Not settled: 6 to 8.
    feed.settle_through(Some(handed_out[5].position), &[handed_out[5].position])
        .await?;
    let all = ReplayRequest {
        key: written[0].key.clone(),
        ..request()
    };
    let asked = session.operations.replay(&all).await;
    asked.map_err(|error| works("asking for a replay", &error))?;
    let due = [0, 1, 2, 4].map(|at: usize| written[at].clone());
    let mut redeliveries = session.redeliveries_of(0).await?;
    exactly(&due, &redeliveries.until(due.len()).await?)?;
    redeliveries.settle(&[]).await?;
    exactly(&[], &redeliveries.rest().await?)
}

/// What the progress does not cover yet may have been delivered all the same, so it belongs to the replay: it comes once it is covered,
/// and the replay is not through before.
pub(super) async fn a_replay_waits_for_what_is_not_recorded_yet(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    if !harness.replays() {
        return Ok(());
    }
    let session = shop(harness).await?;
    let written = events(9, 3);
    session.commit(&written).await?;
    let mut feed = session.feed().await?;
    let handed_out = feed.rest().await?;
    // Recorded: 0 to 4. Delivered perhaps, perhaps not: the others.
    feed.settle_through(Some(handed_out[4].position), &[]).await?;
    let replay = asked(&session, &everything(), 9).await?;
    let mut redeliveries = session.redeliveries_of(0).await?;
    exactly(&written[..5], &redeliveries.until(5).await?)?;
    redeliveries.settle(&[]).await?;
    exactly(&[], &redeliveries.rest().await?)?;
    followed(&session, replay, 9, 4, false).await?;
    feed.settle_through(Some(handed_out[6].position), &[]).await?;
    exactly(&written[5..7], &redeliveries.until(2).await?)?;
    redeliveries.settle(&[]).await?;
    followed(&session, replay, 9, 2, false).await?;
    feed.settle(&[]).await?;
    let mut redeliveries = session.redeliveries_of(0).await?;
    exactly(&written[7..], &redeliveries.until(2).await?).map_err(|wrong| wrong.when("after a restart"))?;
    redeliveries.settle(&[]).await?;
    exactly(&[], &redeliveries.rest().await?)?;
    followed(&session, replay, 9, 0, true).await
}

/// An event that waits for a retry, for days perhaps, holds up neither the others of its replay nor another replay.
pub(super) async fn a_pending_event_holds_up_its_own_replay_only_at_its_end(
    harness: &mut dyn SourceHarness,
) -> Result<(), Wrong> {
    if !harness.replays() {
        return Ok(());
    }
    let session = shop(harness).await?;
    let written = events(9, 3);
    session.commit(&written).await?;
    let mut feed = session.feed().await?;
    let handed_out = feed.rest().await?;
    feed.settle(&[1, 4, 7].map(|at: usize| handed_out[at].position)).await?;
    let first = asked(&session, &everything(), 9).await?;
    let of_key = ReplayRequest {
        key: written[0].key.clone(),
        ..request()
    };
    let second = asked(&session, &of_key, 3).await?;
    let of_keys = |keys: &[usize]| -> Vec<_> {
        let indices = (0..9).filter(|at| keys.contains(&(at % 3)));
        indices.map(|at| written[at].clone()).collect()
    };
    let mut redeliveries = session.redeliveries_of(0).await?;
    let came = redeliveries.until(9).await?;
    let by_first = came
        .iter()
        .filter(|sourced| is_of(sourced, first))
        .cloned()
        .collect::<Vec<_>>();
    let by_second = came
        .iter()
        .filter(|sourced| is_of(sourced, second))
        .cloned()
        .collect::<Vec<_>>();
    exactly(&of_keys(&[0, 2]), &by_first)?;
    exactly(&of_keys(&[0]), &by_second)?;
    redeliveries.settle(&[]).await?;
    exactly(&[], &redeliveries.rest().await?)?;
    followed(&session, second, 3, 0, true).await?;
    feed.settle(&[]).await?;
    exactly(&of_keys(&[1]), &redeliveries.until(3).await?)?;
    redeliveries.settle(&[]).await?;
    exactly(&[], &redeliveries.rest().await?)?;
    followed(&session, first, 9, 0, true).await
}

/// What is set aside waits for a person: a replay is through without it, and was not counted with it.
pub(super) async fn a_replay_ends_without_what_is_set_aside(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    if !harness.replays() {
        return Ok(());
    }
    let session = shop(harness).await?;
    let written = events(8, 2);
    session.commit(&written).await?;
    let mut feed = session.feed().await?;
    let handed_out = feed.rest().await?;
    feed.park(&[
        poison(&handed_out[2]),
        parking(&handed_out[4], ParkReason::Held),
        parking(&handed_out[6], ParkReason::Held),
    ])
    .await?;
    feed.settle(&[]).await?;
    let replay = asked(&session, &everything(), 5).await?;
    let mut redeliveries = session.redeliveries_of(0).await?;
    let due = [0, 1, 3, 5, 7].map(|at: usize| written[at].clone());
    exactly(&due, &redeliveries.until(due.len()).await?)?;
    redeliveries.settle(&[]).await?;
    exactly(&[], &redeliveries.rest().await?)?;
    followed(&session, replay, 5, 0, true).await?;
    retry(&session).await?;
    let aside = [2, 4, 6].map(|at: usize| written[at].clone());
    exactly(&aside, &redeliveries.until(aside.len()).await?)?;
    redeliveries.settle(&[]).await?;
    exactly(&[], &redeliveries.rest().await?)?;
    followed(&session, replay, 5, 0, true).await
}

/// A parked event under retry may be delivered without its being recorded, as any other.
pub(super) async fn a_replay_waits_for_events_under_retry(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    if !harness.replays() {
        return Ok(());
    }
    let session = shop(harness).await?;
    let written = events(4, 1);
    session.commit(&written).await?;
    let mut feed = session.feed().await?;
    let handed_out = feed.rest().await?;
    feed.park(&[poison(&handed_out[1]), parking(&handed_out[2], ParkReason::Held)])
        .await?;
    feed.settle(&[handed_out[3].position]).await?;
    retry(&session).await?;
    let mut redeliveries = session.redeliveries_of(0).await?;
    exactly(&written[1..3], &redeliveries.until(2).await?)?;
    let delivered = redeliveries.last;
    let replay = asked(&session, &everything(), 4).await?;
    exactly(&written[..1], &redeliveries.until(1).await?)?;
    exactly(&[], &redeliveries.rest().await?)?;
    redeliveries.settle_through(delivered, &[]).await?;
    exactly(&written[1..3], &redeliveries.until(2).await?)?;
    feed.settle(&[]).await?;
    exactly(&written[3..], &redeliveries.until(1).await?)?;
    redeliveries.settle(&[]).await?;
    exactly(&[], &redeliveries.rest().await?)?;
    followed(&session, replay, 4, 0, true).await
}

/// What an operator gave up is never delivered, whatever is replayed afterwards.
pub(super) async fn a_replay_leaves_out_what_was_skipped(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    if !harness.replays() {
        return Ok(());
    }
    let session = shop(harness).await?;
    let written = events(4, 1);
    session.commit(&written).await?;
    let mut feed = session.feed().await?;
    let handed_out = feed.rest().await?;
    feed.park(&[poison(&handed_out[1])]).await?;
    feed.settle(&[]).await?;
    let skipped = session.operations.skip(&ParkedFilter::default()).await;
    let skipped = skipped.map_err(|error| works("skipping an event", &error))?;
    if skipped.len() != 1 {
        return Err(Wrong::new("the parked event is skipped", format!("{skipped:?}")));
    }
    let by_id = ReplayRequest {
        ids: vec![written[1].id],
        ..request()
    };
    let nothing = asked(&session, &by_id, 0).await?;
    let rest = asked(&session, &everything(), 3).await?;
    let mut redeliveries = session.redeliveries_of(0).await?;
    let due = [0, 2, 3].map(|at: usize| written[at].clone());
    exactly(&due, &redeliveries.until(due.len()).await?)?;
    redeliveries.settle(&[]).await?;
    exactly(&[], &redeliveries.rest().await?)?;
    followed(&session, nothing, 0, 0, true).await?;
    followed(&session, rest, 3, 0, true).await
}

/// A fresh outbox whose route `shop` takes what the cases write.
async fn shop(harness: &mut dyn SourceHarness) -> Result<Session, Wrong> {
    Session::with_routes(harness, &[("shop", topic("shop.*"))]).await
}

/// Of the route `shop`, without a bound.
fn request() -> ReplayRequest {
    ReplayRequest {
        relay: RELAY.to_owned(),
        route: "shop".to_owned(),
        ..ReplayRequest::default()
    }
}

/// Of the route `shop`, all that there is.
fn everything() -> ReplayRequest {
    ReplayRequest {
        from_sequence: Some(1),
        ..request()
    }
}

/// Asks for a replay, of which the answer says how many events it holds, and returns its number.
async fn asked(session: &Session, request: &ReplayRequest, events: i64) -> Result<i64, Wrong> {
    let replay = session.operations.replay(request).await;
    let replay = replay.map_err(|error| works("asking for a replay", &error))?;
    if replay.events != Some(events) || replay.gone.is_some() {
        let required = format!("the answer counts what the replay will bring: {events} events");
        return Err(Wrong::new(required, format!("{replay:?}")));
    }
    Ok(replay.id)
}

/// Whether an event was handed out by this replay.
fn is_of(sourced: &Sourced, replay: i64) -> bool {
    sourced.event.replay == Some(replay)
}

/// Has every parked event tried again.
async fn retry(session: &Session) -> Result<(), Wrong> {
    let retried = session.operations.retry(&ParkedFilter::default()).await;
    retried
        .map(|_| ())
        .map_err(|error| works("retrying parked events", &error))
}

/// Has everything handed out and settled.
async fn delivered(session: &Session) -> Result<(), Wrong> {
    let mut feed = session.feed().await?;
    feed.rest().await?;
    feed.settle(&[]).await
}

/// The status says of a replay how much is left, and whether it is through.
async fn followed(session: &Session, id: i64, events: i64, left: i64, through: bool) -> Result<(), Wrong> {
    let status = session.operations.status().await;
    let status = status.map_err(|error| works("reading the status", &error))?;
    let fits = |replay: &ReplayStatus| {
        let is_through = replay.finished_at.is_some();
        replay.id == id && (replay.events, replay.left, is_through) == (Some(events), Some(left), through)
    };
    if status.replays.iter().any(fits) {
        return Ok(());
    }
    let required = format!("the status has {left} of {events} events of replay {id} left, through: {through}");
    Err(Wrong::new(required, format!("{:?}", status.replays)))
}
