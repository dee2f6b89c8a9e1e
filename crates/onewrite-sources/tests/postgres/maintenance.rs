//! Segments are emptied when nobody needs them, and not before.

use onewrite_core::Lease;
use onewrite_core::store::Maintenance;

use super::fixture::{Fixture, Reader, everything, open, run};

/// How many segments from the current one the given one is, in the order in which they are written to.
fn segment(after_current: i64) -> String {
    format!("((floor(extract(epoch FROM clock_timestamp()) / 3600)::bigint + {after_current}) % 4)")
}

async fn fill(fixture: &Fixture, after_current: i64, count: i64) {
    let sql = format!(
        "INSERT INTO onewrite.outbox (topic, payload, segment) SELECT 't', 'x', {} FROM generate_series(1, {count})",
        segment(after_current)
    );
    run(&fixture.application, &sql).await;
}

/// An outbox with an event in each segment, all handed out.
async fn filled() -> (Fixture, Lease, Reader, Vec<onewrite_core::Sourced>) {
    let fixture = Fixture::new().await;
    for after_current in 0..4 {
        fill(&fixture, after_current, 1).await;
    }
    let lease = fixture.begin(&everything()).await;
    let mut feed = fixture.feed_of(&lease, &everything()[0]).await;
    let events = feed.wait_for(4).await;
    (fixture, lease, feed, events)
}

async fn maintain(fixture: &Fixture, lease: &Lease) -> Maintenance {
    fixture.outbox.maintain(lease).await.expect("maintenance")
}

async fn rows(fixture: &Fixture) -> i64 {
    fixture.number("SELECT count(*) FROM onewrite.outbox").await
}

#[tokio::test]
async fn the_current_and_the_next_segment_are_left_alone_and_settled_others_emptied() {
    let (fixture, lease, mut feed, events) = filled().await;
    feed.settle(&events).await;
    let maintenance = maintain(&fixture, &lease).await;
    assert_eq!((maintenance.emptied.len(), maintenance.blocked), (2, vec![]));
    assert_eq!(rows(&fixture).await, 2);
    assert_eq!(maintain(&fixture, &lease).await, Maintenance::default());
    // Reading goes on.
    fill(&fixture, 0, 3).await;
    let events = feed.wait_for(3).await;
    feed.settle(&events).await;
}

#[tokio::test]
async fn an_unsettled_event_keeps_its_segment() {
    let (fixture, lease, mut feed, events) = filled().await;
    let maintenance = maintain(&fixture, &lease).await;
    assert_eq!((maintenance.emptied.len(), maintenance.blocked.len()), (0, 2));
    assert!(maintenance.blocked[0].ends_with("route \"all\" of relay \"shop\" has not settled all of it"));
    // All but the third, which is pending: the segments beyond the next are those of the third and the fourth.
    feed.retry(&events[2..3]);
    feed.settle(&events[..2]).await;
    feed.settle(&events[3..]).await;
    let maintenance = maintain(&fixture, &lease).await;
    assert_eq!((maintenance.emptied.len(), maintenance.blocked.len()), (1, 1));
    assert_eq!(rows(&fixture).await, 3);
    feed.settle(&events[2..3]).await;
    assert_eq!(maintain(&fixture, &lease).await.emptied.len(), 1);
}

#[tokio::test]
async fn a_route_of_another_relay_that_is_behind_keeps_the_segments() {
    let (fixture, lease, mut feed, events) = filled().await;
    feed.settle(&events).await;
    let other = "INSERT INTO onewrite.route (relay, name, definition, floor_snapshot, floor_sequence) \
                 VALUES ('other', 'slow', '', '1:1:', 0)";
    run(&fixture.application, other).await;
    let maintenance = maintain(&fixture, &lease).await;
    assert_eq!((maintenance.emptied.len(), maintenance.blocked.len()), (0, 2));
    assert!(
        maintenance.blocked[0].contains("route \"slow\" of relay \"other\""),
        "{:?}",
        maintenance.blocked
    );
}

#[tokio::test]
async fn without_any_recorded_route_nothing_is_emptied() {
    let (fixture, lease, mut feed, events) = filled().await;
    feed.settle(&events).await;
    run(&fixture.application, "DELETE FROM onewrite.route").await;
    assert_eq!(maintain(&fixture, &lease).await.emptied, Vec::<String>::new());
    assert_eq!(rows(&fixture).await, 4);
}

/// An open transaction has written to a segment: it is told, not waited for, and its event comes in the end.
#[tokio::test]
async fn a_long_transaction_in_a_segment_keeps_it() {
    let (fixture, lease, mut feed, events) = filled().await;
    feed.settle(&events).await;
    let long = fixture.database.connect().await;
    let sql = format!(
        "BEGIN; INSERT INTO onewrite.outbox (topic, payload, segment) VALUES ('t', 'late', {})",
        segment(2)
    );
    run(&long, &sql).await;
    let maintenance = maintain(&fixture, &lease).await;
    assert_eq!((maintenance.emptied.len(), maintenance.blocked.len()), (1, 1));
    assert!(
        maintenance.blocked[0].contains("a transaction that is still open uses it"),
        "{:?}",
        maintenance.blocked
    );
    run(&long, "COMMIT").await;
    assert_eq!(maintain(&fixture, &lease).await.emptied, Vec::<String>::new());
    let events = feed.wait_for(1).await;
    feed.settle(&events).await;
    assert_eq!(maintain(&fixture, &lease).await.emptied.len(), 1);
}

#[tokio::test]
async fn the_retention_keeps_settled_events() {
    let (fixture, lease, mut feed, events) = filled().await;
    feed.settle(&events).await;
    let keeping = open(&[("url", &fixture.database.url), ("retention", "1h")]).expect("an outbox");
    assert_eq!(
        keeping.maintain(&lease).await.expect("maintenance"),
        Maintenance::default()
    );
    let aged = format!(
        "UPDATE onewrite.outbox SET occurred_at = now() - interval '61 minutes' WHERE segment = {}",
        segment(2)
    );
    run(&fixture.application, &aged).await;
    // The update made new row versions; the feed has seen their transaction's events, so nothing is unsettled.
    assert_eq!(keeping.maintain(&lease).await.expect("maintenance").emptied.len(), 1);
    let endless = open(&[("url", &fixture.database.url), ("retention", "30d")]).expect("an outbox");
    let blocked = endless.maintain(&lease).await.expect("maintenance").blocked;
    assert!(blocked[0].contains("at least half the retention"), "{blocked:?}");
}

#[tokio::test]
async fn an_unfinished_replay_keeps_what_it_needs() {
    let (fixture, lease, mut feed, events) = filled().await;
    feed.settle(&events).await;
    let request = "INSERT INTO onewrite.replay (relay, route, topic, up_to) SELECT 'shop', 'all', 't', last_value FROM onewrite.outbox_sequence";
    run(&fixture.application, request).await;
    let maintenance = maintain(&fixture, &lease).await;
    assert_eq!((maintenance.emptied.len(), maintenance.blocked.len()), (0, 2));
    assert!(maintenance.blocked[0].contains("replay 1"), "{:?}", maintenance.blocked);
    let mut redeliveries = fixture.redeliveries(&lease, &everything()[0]).await;
    let again = redeliveries.wait_for(4).await;
    redeliveries.settle(&again).await;
    assert!(redeliveries.batch().await.is_empty());
    assert_eq!(maintain(&fixture, &lease).await.emptied.len(), 2);
}
