//! Routes that are new, that take other events than before, or that are gone.

use super::fixture::{Fixture, LIMIT, append, everything, payloads, routes, run};

#[tokio::test]
async fn a_new_relay_begins_at_the_beginning() {
    let fixture = Fixture::new().await;
    fixture.append_all(&["1", "2"]).await;
    assert_eq!(payloads(&fixture.feed().await.wait_for(2).await), ["1", "2"]);
}

#[tokio::test]
async fn an_unchanged_route_keeps_its_progress_and_one_that_is_gone_loses_it() {
    let fixture = Fixture::new().await;
    let both = routes(&[("a", "a"), ("b", "b")]);
    let lease = fixture.begin(&both).await;
    for topic in ["a", "b", "c"] {
        fixture.append(topic, None, topic).await;
    }
    let mut feed = fixture.feed_of(&lease, &both[0]).await;
    let events = feed.wait_for(1).await;
    feed.settle(&events).await;
    let lease = fixture.begin(&both).await;
    assert!(fixture.feed_of(&lease, &both[0]).await.drain(LIMIT).await.is_empty());
    fixture.begin(&routes(&[("b", "b")])).await;
    assert_eq!(
        fixture
            .number("SELECT count(*) FROM onewrite.route WHERE name = 'a'")
            .await,
        0
    );
    assert_eq!(fixture.number("SELECT count(*) FROM onewrite.route").await, 2);
}

/// A route that takes more than before begins at the lowest floor, with what is pending below it and is its own.
#[tokio::test]
async fn a_changed_route_misses_nothing() {
    let fixture = Fixture::new().await;
    let before = routes(&[("a", "a"), ("b", "*")]);
    let lease = fixture.begin(&before).await;
    let (mut a, mut b) = (
        fixture.feed_of(&lease, &before[0]).await,
        fixture.feed_of(&lease, &before[1]).await,
    );
    for (topic, payload) in [("a", "a1"), ("b", "b1"), ("a", "a2"), ("b", "b2")] {
        fixture.append(topic, None, payload).await;
    }
    let (of_a, of_b) = (a.wait_for(2).await, b.wait_for(2).await);
    // Both move their floors past everything so far, but leave their first event pending.
    a.retry(&of_a[..1]);
    b.retry(&of_b[..1]);
    a.settle(&of_a[1..]).await;
    b.settle(&of_b[1..]).await;
    for (topic, payload) in [("a", "a3"), ("b", "b3"), ("b", "b4")] {
        fixture.append(topic, None, payload).await;
    }
    let of_b = b.wait_for(2).await;
    b.retry(&of_b[..1]);
    b.settle(&of_b[1..]).await;
    // Now `b` is gone, and `a` takes its events: a3 and b3 are unsettled, a1 and b1 pending, b4 settled above the lower floor.
    let after = routes(&[("a", "*")]);
    let lease = fixture.begin(&after).await;
    let mut events = payloads(&fixture.feed_of(&lease, &after[0]).await.wait_for(5).await);
    assert_eq!(&events[..2], ["a1", "b1"]);
    events.sort_unstable();
    assert_eq!(events, ["a1", "a3", "b1", "b3", "b4"]);
}

#[tokio::test]
async fn a_new_route_is_not_handed_what_is_pending_of_another() {
    let fixture = Fixture::new().await;
    let before = routes(&[("a", "a")]);
    let lease = fixture.begin(&before).await;
    let mut a = fixture.feed_of(&lease, &before[0]).await;
    let mut rest = fixture.feed_of(&lease, &before[1]).await;
    for (topic, payload) in [("a", "a1"), ("a", "a2"), ("b", "b1")] {
        fixture.append(topic, None, payload).await;
    }
    let (of_a, of_rest) = (a.wait_for(2).await, rest.wait_for(1).await);
    a.retry(&of_a[..1]);
    a.settle(&of_a[1..]).await;
    rest.settle(&of_rest).await;
    let after = routes(&[("a", "a"), ("b", "b")]);
    let lease = fixture.begin(&after).await;
    assert_eq!(
        payloads(&fixture.feed_of(&lease, &after[0]).await.wait_for(1).await),
        ["a1"]
    );
    assert!(
        payloads(&fixture.feed_of(&lease, &after[1]).await.drain(LIMIT).await)
            .iter()
            .all(|payload| payload == "b1")
    );
}

#[tokio::test]
async fn a_database_restored_from_a_dump_is_told_not_skipped() {
    let fixture = Fixture::new().await;
    fixture.begin(&everything()).await;
    run(
        &fixture.application,
        "UPDATE onewrite.route SET floor_snapshot = '900000000:900000000:'",
    )
    .await;
    append(&fixture.application, "t", None, "1").await;
    let mut feed = fixture.feed().await;
    let error = feed.next(LIMIT).await.expect_err("an event would be skipped");
    assert_eq!(error.failure, onewrite_core::StoreFailure::Refused);
    assert!(error.to_string().contains("restored from a logical dump"), "{error}");
    // What it says to do works.
    run(
        &fixture.application,
        "UPDATE onewrite.outbox SET xid = '1'; DELETE FROM onewrite.route",
    )
    .await;
    assert_eq!(payloads(&fixture.feed().await.wait_for(1).await), ["1"]);
}
