//! Cases of routes that change.

use std::collections::HashSet;

use onewrite::Event;
use onewrite_core::{BatchLimit, Sourced};

use super::SourceHarness;
use super::session::{Session, event, exactly, sourced_ids, topic};
use crate::conformance::Wrong;

pub(super) async fn a_changed_definition_loses_nothing(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let mut session = Session::with_routes(harness, &[("a", topic("a")), ("b", topic("b"))]).await?;
    let written: Vec<Event> = (0..60)
        .map(|at| event(["a", "b", "c"][at % 3], Some(&format!("key-{}", at % 4))))
        .collect();
    session.commit(&written[..30]).await?;
    session.commit(&written[30..]).await?;
    // Route a is half done with one event pending, b is done, and nobody has taken c but the catch-all, which is done as well.
    let mut a = session.feed_of(0).await?;
    let some = a
        .read(BatchLimit {
            events: 10,
            bytes: 1 << 20,
        })
        .await?;
    a.settle(&[some[4].position]).await?;
    for at in [1, 2] {
        let mut feed = session.feed_of(at).await?;
        feed.rest().await?;
        feed.settle(&[]).await?;
    }
    // Now b takes c as well. What a has settled is settled; b may bring again what it brought, but misses nothing of a floor.
    session.adopt(&[("a", topic("a")), ("b", topic("*"))]).await?;
    let done: HashSet<_> = sourced_ids(&some)
        .into_iter()
        .filter(|id| *id != some[4].event.id)
        .collect();
    let due: Vec<Event> = written
        .iter()
        .filter(|event| event.topic == "a" && !done.contains(&event.id))
        .cloned()
        .collect();
    exactly(&due, &session.feed_of(0).await?.rest().await?)
        .map_err(|wrong| wrong.when("on the route that did not change"))?;
    let handed_out = session.feed_of(1).await?.rest().await?;
    only_of(&handed_out, &["b", "c"])?;
    let later = [event("c", Some("late")), event("b", Some("late"))];
    session.commit(&later).await?;
    let mut b = session.feed_of(1).await?;
    let handed_out = b.rest().await?;
    at_least(&later, &handed_out)?;
    b.settle(&[]).await?;
    exactly(&[], &session.feed_of(1).await?.rest().await?)
}

pub(super) async fn a_new_route_begins_at_the_lowest_floor(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let mut session = Session::with_routes(harness, &[("a", topic("a"))]).await?;
    let old: Vec<Event> = (0..20).map(|at| event(["a", "b"][at % 2], Some("key"))).collect();
    session.commit(&old).await?;
    let mut pending = Vec::new();
    for at in 0..session.shares.len() {
        let mut feed = session.feed_of(at).await?;
        let handed_out = feed.rest().await?;
        pending.push(handed_out[3].event.id);
        feed.settle(&[handed_out[3].position]).await?;
        // Once more with something later, so that the floor is past the pending event.
        session.commit(&[event(["a", "b"][at], Some("key"))]).await?;
        let later = feed.until(1).await?;
        feed.settle_through(later.last().map(|sourced| sourced.position), &[handed_out[3].position])
            .await?;
    }
    let new = [event("b", Some("key")), event("a", Some("key"))];
    session.commit(&new).await?;
    // The route a is gone, and a new one takes everything: whatever was not settled by any route must come.
    session.adopt(&[("new", topic("*"))]).await?;
    let mut feed = session.feed().await?;
    let handed_out = feed.rest().await?;
    at_least(&new, &handed_out)?;
    let found = sourced_ids(&handed_out);
    if let Some(missing) = pending.iter().find(|id| !found.contains(id)) {
        let seen = format!("{missing} was pending on a route before and did not come");
        return Err(Wrong::new(
            "a new route brings every event that is pending on any route",
            seen,
        ));
    }
    feed.settle(&[]).await?;
    exactly(&[], &session.feed().await?.rest().await?)
}

fn at_least(due: &[Event], handed_out: &[Sourced]) -> Result<(), Wrong> {
    let found = sourced_ids(handed_out);
    match due.iter().find(|event| !found.contains(&event.id)) {
        None => Ok(()),
        Some(missing) => {
            let seen = format!("{} of topic {:?} did not come", missing.id, missing.topic);
            Err(Wrong::new("a route that changed misses nothing that it takes", seen))
        }
    }
}

fn only_of(handed_out: &[Sourced], topics: &[&str]) -> Result<(), Wrong> {
    match handed_out
        .iter()
        .find(|sourced| !topics.contains(&&*sourced.event.topic))
    {
        None => Ok(()),
        Some(other) => {
            let seen = format!(
                "an event of topic {:?} came to the route of {topics:?}",
                other.event.topic
            );
            Err(Wrong::new(
                "a route hands out only what it takes, also of what others left pending",
                seen,
            ))
        }
    }
}
