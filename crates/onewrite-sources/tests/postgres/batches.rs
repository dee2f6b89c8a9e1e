//! Limits of a batch, and what a row may look like.

use std::collections::BTreeSet;

use onewrite_core::BatchLimit;
use onewrite_testkit::wait;

use super::fixture::{Fixture, LIMIT, payloads, positions, routes, run};

#[tokio::test]
async fn a_batch_stops_at_its_events_and_the_next_goes_on() {
    let fixture = Fixture::new().await;
    let mut feed = fixture.feed().await;
    run(
        &fixture.application,
        "INSERT INTO onewrite.outbox (topic, payload) SELECT 't', i::text::bytea FROM generate_series(1, 1000) AS i",
    )
    .await;
    let mut all = Vec::new();
    for _ in 0..10 {
        let events = feed.next(BatchLimit { events: 100, ..LIMIT }).await.expect("a batch");
        assert_eq!(events.len(), 100);
        all.extend(events);
    }
    assert!(feed.batch().await.is_empty());
    assert_eq!(payloads(&all), (1..=1000).map(|i| i.to_string()).collect::<Vec<_>>());
    assert!(positions(&all).is_sorted());
}

#[tokio::test]
async fn a_batch_stops_at_its_bytes_but_holds_one_event_at_least() {
    let fixture = Fixture::new().await;
    let mut feed = fixture.feed().await;
    let huge = "INSERT INTO onewrite.outbox (topic, payload) SELECT 't', convert_to(repeat(i::text, 300000), 'UTF8') FROM generate_series(1, 6) AS i";
    run(&fixture.application, huge).await;
    let limit = |bytes: usize| BatchLimit { events: 100, bytes };
    let mut counts = Vec::new();
    for bytes in [1, 300_001, 600_000, 10_000_000] {
        counts.push(feed.next(limit(bytes)).await.expect("a batch").len());
    }
    assert_eq!(counts, [1, 2, 2, 1]);
    assert!(feed.batch().await.is_empty());
}

#[tokio::test]
async fn two_routes_share_the_events_and_no_event_has_two_routes() {
    let fixture = Fixture::new().await;
    let shares = routes(&[("a", "a.*"), ("b", "*.b"), ("rest", "*")]);
    let lease = fixture.begin(&shares).await;
    let topics = ["a.x", "a.b", "c.b", "c.c", "A.x"];
    for topic in topics {
        fixture.append(topic, None, topic).await;
    }
    let mut seen = BTreeSet::new();
    for (share, expected) in shares.iter().zip([vec!["a.x", "a.b"], vec!["c.b"], vec!["c.c", "A.x"]]) {
        let events = payloads(&fixture.feed_of(&lease, share).await.wait_for(expected.len()).await);
        assert_eq!(events, expected, "of route {}", share.route);
        assert!(events.into_iter().all(|event| seen.insert(event)));
    }
    assert_eq!(seen.len(), topics.len());
}

#[tokio::test]
async fn a_row_that_is_no_event_comes_with_its_defect() {
    let fixture = Fixture::new().await;
    let mut feed = fixture.feed().await;
    let rows = r#"INSERT INTO onewrite.outbox (topic, payload, headers, type, occurred_at) VALUES
        ('t', 'nested', '{"a": {"b": 1}}', NULL, now()),
        ('t', 'reserved', '{"Onewrite-Id": "x"}', NULL, now()),
        ('t', 'line', '{}', E'a\nb', now()),
        ('t', 'fine', '{"trace": "x", "n": 1, "yes": true, "gone": null}', 'T', '9998-12-31')"#;
    run(&fixture.application, rows).await;
    let events = feed.wait_for(4).await;
    let defects: Vec<&str> = events
        .iter()
        .map(|event| event.defect.as_deref().unwrap_or("none"))
        .collect();
    assert_eq!(
        defects[0],
        "headers hold an object under \"a\"; expected a flat JSON object of texts, numbers and booleans"
    );
    assert!(defects[1].contains("keeps for itself"), "{}", defects[1]);
    assert!(
        defects[2].starts_with("type holds the control character"),
        "{}",
        defects[2]
    );
    assert_eq!(defects[3], "none");
    let headers: Vec<String> = events[3]
        .event
        .headers
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(headers, ["n=1", "trace=x", "yes=true"]);
    // Parking keeps the headers as they were.
    feed.park(&events[0], super::fixture::poison("nested")).await;
    let kept = fixture
        .number(r#"SELECT count(*) FROM onewrite.parked_event WHERE headers = '{"a": {"b": 1}}'"#)
        .await;
    assert_eq!(kept, 1);
}

/// A chunk is read by the indexes, whatever the planner believes of the table.
#[tokio::test]
async fn a_chunk_costs_the_same_whatever_the_backlog() {
    let fixture = Fixture::new().await;
    let mut feed = fixture.feed().await;
    let rows = "INSERT INTO onewrite.outbox (topic, payload, segment) \
                SELECT 't', repeat('x', 300)::bytea, i / 25000 % 4 FROM generate_series(0, 99999) AS i";
    run(&fixture.application, rows).await;
    // A session tells what it has read when it is asked to, or when it ends; until then the figures know nothing of it.
    fixture.sql("SELECT pg_stat_force_next_flush()").await;
    let before = buffers(&fixture).await;
    let limit = BatchLimit {
        events: 1_000,
        bytes: 1 << 24,
    };
    for _ in 0..5 {
        assert_eq!(feed.next(limit).await.expect("a batch").len(), 1_000);
    }
    drop(feed);
    let told = async || Some(buffers(&fixture).await - before).filter(|read| *read > 0);
    let read = wait::until("the feed's session tells what it has read", told).await;
    assert!(read < 20_000, "5,000 of 100,000 rows took {read} page reads");
}

async fn buffers(fixture: &Fixture) -> i64 {
    fixture.sql("SELECT pg_stat_clear_snapshot()").await;
    fixture
        .number(
            "SELECT sum(heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit)::bigint \
             FROM pg_statio_user_tables WHERE schemaname = 'onewrite' AND relname LIKE 'outbox%'",
        )
        .await
}
