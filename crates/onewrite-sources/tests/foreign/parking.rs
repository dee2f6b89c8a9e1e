//! Setting rows aside, and delivering them again.

use onewrite_core::source::ParkReason;
use onewrite_core::store::{ParkedEdit, ParkedFilter, ReplayRequest};
use serde_json::json;

use super::fixture::{Foreign, RELAY, everything, payloads, poison, told};

fn all() -> ParkedFilter {
    ParkedFilter::default()
}

#[tokio::test]
async fn events_that_are_set_aside_stand_in_the_order_in_which_they_come() {
    let foreign = Foreign::plain(&[("settle", "delete")]).await;
    foreign.insert("t", Some("k"), &["1", "2", "3"]).await;
    let lease = foreign.begin(&everything()).await;
    let share = &everything()[0];
    let mut feed = foreign.fixture.feed_of(&lease, share).await;
    let events = feed.batch().await;
    // The second turned out to be no event before the first was delivered; then the relay was killed.
    feed.park(&events[1], poison("no event")).await;
    feed.park(&events[2], ParkReason::Held).await;
    let mut feed = foreign.fixture.feed_of(&lease, share).await;
    let events = feed.batch().await;
    assert_eq!(payloads(&events), ["1", "2", "3"]);
    feed.park(&events[0], ParkReason::Held).await;
    feed.park(&events[1], poison("no event, once more")).await;
    feed.park(&events[2], ParkReason::Held).await;
    feed.settle(&events).await;
    assert_eq!(foreign.number("SELECT count(*) FROM outbox").await, 0);
    let parked = foreign.parked().await;
    let states: Vec<_> = parked
        .iter()
        .map(|(state, body, _)| (state.as_str(), body.as_str()))
        .collect();
    assert_eq!(states, [("parked", "2"), ("held", "3"), ("held", "1")]);
    assert_eq!(parked[0].2, "no event, once more");

    foreign.operations.retry(&all()).await.expect("a retry");
    let mut redeliveries = foreign.fixture.redeliveries(&lease, share).await;
    let events = redeliveries.batch().await;
    assert_eq!(payloads(&events), ["1", "2", "3"]);
    redeliveries.settle(&events).await;
    assert!(foreign.parked().await.is_empty());
}

#[tokio::test]
async fn an_event_can_be_mended_and_nothing_can_be_replayed() {
    let foreign = Foreign::plain(&[("settle", "delete")]).await;
    foreign.insert("t", Some("k"), &["broken"]).await;
    let lease = foreign.begin(&everything()).await;
    let mut feed = foreign.fixture.feed_of(&lease, &everything()[0]).await;
    let events = feed.batch().await;
    feed.park(&events[0], poison("no\0no")).await;
    feed.settle(&events).await;
    let id = foreign.operations.parked(&all()).await.expect("a list")[0].id;
    let edit = ParkedEdit {
        topic: Some("mended".to_owned()),
        payload: Some(b"mended".to_vec()),
        headers: Some(json!({"a": "b"})),
        ..ParkedEdit::default()
    };
    assert!(foreign.operations.edit(id, &edit).await.expect("an edit"));
    foreign.operations.retry(&all()).await.expect("a retry");
    let mut redeliveries = foreign.fixture.redeliveries(&lease, &everything()[0]).await;
    let events = redeliveries.batch().await;
    assert_eq!(payloads(&events), ["mended"]);
    assert_eq!((&*events[0].event.topic, events[0].event.headers.len()), ("mended", 1));
    assert_eq!(events[0].event.verbatim, None);

    let request = ReplayRequest {
        relay: RELAY.to_owned(),
        route: "all".to_owned(),
        key: Some("k".to_owned()),
        ..ReplayRequest::default()
    };
    assert_eq!(
        told(foreign.operations.replay(&request).await),
        "nothing is kept of table public.outbox that could be replayed: with the contract \"columns\" an event is gone for Onewrite \
         once it is settled; write it anew, under another id if consumers are to take it a second time"
    );
}

#[tokio::test]
async fn an_id_that_comes_twice_is_set_aside_once() {
    let foreign = Foreign::plain(&[("settle", "delete")]).await;
    let insert =
        "INSERT INTO outbox (id, topic, key, body) VALUES ('11111111-1111-4111-8111-111111111111', 't', 'k', 'a')";
    foreign.sql(insert).await;
    let mut feed = foreign.feed().await;
    let events = feed.batch().await;
    feed.park(&events[0], poison("no")).await;
    feed.settle(&events).await;
    foreign.sql(insert).await;
    let events = feed.wait_for(1).await;
    feed.park(&events[0], poison("still no")).await;
    feed.settle(&events).await;
    let parked = foreign.parked().await;
    assert_eq!(parked, [("parked".to_owned(), "a".to_owned(), "still no".to_owned())]);
}
