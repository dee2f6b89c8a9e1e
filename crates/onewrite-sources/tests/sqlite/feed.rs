//! The cursor: where it begins, what it hands out, what is recorded of it.

use futures::FutureExt as _;
use onewrite_core::{BatchLimit, StoreFailure};

use super::fixture::{Fixture, LIMIT, connect, everything, parking, payloads, poison, routes};

#[tokio::test]
async fn a_restart_begins_with_what_is_pending_and_goes_on_behind_what_is_settled() {
    let fixture = Fixture::new();
    let mut feed = fixture.feed().await;
    fixture.append_all(&["1", "2", "3", "4", "5", "6"]);
    let events = feed.next(BatchLimit { events: 4, ..LIMIT }).await.expect("a batch");
    feed.retry(&events[1..2]);
    feed.settle(&events[..1]).await;
    feed.settle(&events[2..3]).await;
    // 2 is pending, 4 was handed out and not settled, 5 and 6 were never handed out.
    for _ in 0..2 {
        feed = fixture.feed().await;
        let again = feed.wait_for(4).await;
        assert_eq!(payloads(&again), ["2", "4", "5", "6"]);
        assert!(feed.drain(LIMIT).await.is_empty());
    }
    feed = fixture.feed().await;
    let again = feed.wait_for(4).await;
    feed.retry(&again[..1]);
    feed.settle(&again[1..]).await;
    assert_eq!(fixture.ask::<String>("SELECT pending FROM onewrite_route", []), "[2]");
    feed = fixture.feed().await;
    let last = feed.wait_for(1).await;
    assert_eq!(payloads(&last), ["2"]);
    feed.settle(&last).await;
    assert_eq!(fixture.ask::<String>("SELECT pending FROM onewrite_route", []), "[]");
    assert!(fixture.feed().await.drain(LIMIT).await.is_empty());
}

#[tokio::test]
async fn a_sequence_whose_first_use_was_rolled_back_comes_with_its_second() {
    let fixture = Fixture::new();
    let mut feed = fixture.feed().await;
    for round in 0..3 {
        fixture.sql("BEGIN; INSERT INTO onewrite_outbox (topic, payload) VALUES ('t', 'gone'); ROLLBACK");
        fixture.append("t", None, &round.to_string());
        let events = feed.wait_for(1).await;
        assert_eq!(payloads(&events), [round.to_string()]);
        feed.settle(&events).await;
    }
    // A sequence of a deleted row is never drawn again.
    fixture.sql("DELETE FROM onewrite_outbox");
    fixture.append("t", None, "after");
    assert_eq!(payloads(&feed.wait_for(1).await), ["after"]);
}

#[tokio::test]
async fn nothing_is_handed_out_without_a_commit_that_reaches_the_disk() {
    let fixture = Fixture::new();
    let mut feed = fixture.feed().await;
    let observer = connect(&fixture.path());
    let version = || {
        observer
            .query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0))
            .expect("a version")
    };
    let fences = || fixture.number("SELECT fences FROM onewrite_relay");
    for _ in 0..50 {
        fixture.append("t", None, "x");
        let (before, counted) = (version(), fences());
        assert_eq!(feed.batch().await.len(), 1);
        assert_ne!(version(), before, "the fence wrote nothing");
        assert!(fences() > counted);
        let (before, counted) = (version(), fences());
        assert!(feed.batch().await.is_empty());
        assert_eq!(
            (version(), fences()),
            (before, counted),
            "a look that finds nothing writes nothing"
        );
    }
}

#[tokio::test]
async fn an_older_epoch_can_do_nothing_any_more() {
    let fixture = Fixture::new();
    let share = &everything()[0];
    let old = fixture.begin(&everything()).await;
    let mut feed = fixture.feed_of(&old, share).await;
    let mut redeliveries = fixture.redeliveries(&old, share).await;
    fixture.append_all(&["1", "2"]);
    let events = feed.next(BatchLimit { events: 1, ..LIMIT }).await.expect("a batch");
    fixture.begin(&everything()).await;
    let fenced = |result: Result<(), onewrite_core::StoreError>| {
        assert_eq!(result.expect_err("it is fenced").failure, StoreFailure::Fenced);
    };
    fenced(feed.next(LIMIT).await.map(|_| ()));
    fenced(feed.source.park(&[parking(&events[0], poison("no"))]).await);
    events.iter().for_each(|event| feed.ledger.settle(event.position));
    fenced(feed.record().await);
    fenced(fixture.outbox.renew(&old, super::fixture::TTL, &[]).await.map(|_| ()));
    fenced(fixture.outbox.halt(&old, "all", "why").await);
    fenced(fixture.outbox.adopt(&old, &[]).await);
    fenced(fixture.outbox.feed(&old, share).await.map(|_| ()));
    fenced(fixture.outbox.redeliveries(&old, share).await.map(|_| ()));
    fenced(fixture.outbox.maintain(&old).await.map(|_| ()));
    fixture.sql(
        "INSERT INTO onewrite_parked_event (relay, route, sequence, state, event_id, topic, content_type, headers, occurred_at, \
         attempts, error, payload) SELECT 'shop', 'all', sequence, 'retry', id, topic, content_type, headers, occurred_at, 1, '', \
         payload FROM onewrite_outbox",
    );
    fenced(redeliveries.next(LIMIT).await.map(|_| ()));
    fixture
        .outbox
        .release(&old)
        .await
        .expect("releasing what is not held changes nothing");
    assert_eq!(fixture.number("SELECT sequence FROM onewrite_route"), 0);
    assert_eq!(fixture.number("SELECT holder IS NOT NULL FROM onewrite_relay"), 1);
}

#[tokio::test]
async fn a_batch_whose_future_was_dropped_comes_again() {
    let fixture = Fixture::new();
    let mut feed = fixture.feed().await;
    fixture.append_all(&["1", "2", "3"]);
    // Dropped at each point at which it waits: when the reading is asked for, when the fence is, and in between.
    for polls in 1..6 {
        let mut next = feed.source.next_batch(LIMIT);
        for _ in 0..polls {
            if (&mut next).now_or_never().is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let fences = || fixture.number("SELECT fences FROM onewrite_relay");
    // Until the fence is committed and all that is missing is that the answer is taken. Where it was taken, once more.
    'again: loop {
        assert!(std::time::Instant::now() < deadline, "no fence was committed unseen");
        let before = fences();
        let mut next = feed.source.next_batch(LIMIT);
        while fences() == before {
            if (&mut next).now_or_never().is_some() {
                drop(next);
                feed = fixture.feed().await;
                continue 'again;
            }
            tokio::task::yield_now().await;
        }
        break;
    }
    let events = feed.batch().await;
    assert_eq!(payloads(&events), ["1", "2", "3"]);
    feed.settle(&events).await;
    assert!(feed.batch().await.is_empty());
}

#[tokio::test]
async fn a_share_that_takes_little_gets_over_long_stretches_of_others_and_records_it() {
    let fixture = Fixture::new();
    let shares = routes(&[("rare", "rare.*"), ("rest", "*")]);
    let lease = fixture.begin(&shares).await;
    let mut feed = fixture.feed_of(&lease, &shares[0]).await;
    fixture.sql(
        "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 170000) \
         INSERT INTO onewrite_outbox (topic, payload) SELECT 'common', 'x' FROM n",
    );
    fixture.append("rare.one", None, "found");
    // No call reads over more than a bounded stretch, and waiting ends at once while there is more.
    let (mut calls, mut found) = (0, Vec::new());
    while found.is_empty() {
        found = feed.batch().await;
        calls += 1;
        if found.is_empty() {
            feed.source.wait().now_or_never().expect("it is not at the end yet");
        }
    }
    assert_eq!((payloads(&found), calls), (vec!["found".to_owned()], 4));
    // Recorded on the way, without anything settled.
    let recorded = |route: &str| fixture.ask::<i64>("SELECT sequence FROM onewrite_route WHERE name = ?1", [route]);
    assert!(recorded("rare") >= 100_000, "{}", recorded("rare"));
    feed.settle(&found).await;
    fixture.sql("INSERT INTO onewrite_outbox (topic, payload) VALUES ('common', 'x')");
    assert_eq!(recorded("rare"), 170_001);
    assert_eq!(recorded("rest"), 0);
}

#[tokio::test]
async fn pending_events_that_a_route_no_longer_takes_do_not_hold_its_progress_for_ever() {
    let fixture = Fixture::new();
    let mut feed = fixture.feed().await;
    fixture.append("old", None, "pending");
    fixture.append("new", None, "settled");
    let events = feed.batch().await;
    feed.retry(&events[..1]);
    feed.settle(&events[1..]).await;
    // The route now takes other events. It begins where the old one stood, with the pending event, which is none of its own.
    let shares = routes(&[("all", "new"), ("others", "old")]);
    let lease = fixture.begin(&shares).await;
    let mut feed = fixture.feed_of(&lease, &shares[0]).await;
    assert_eq!(
        fixture.ask::<String>("SELECT pending FROM onewrite_route WHERE name = 'all'", []),
        "[1]"
    );
    assert!(feed.batch().await.is_empty());
    fixture.append("new", None, "next");
    let events = feed.wait_for(1).await;
    feed.settle(&events).await;
    assert_eq!(
        fixture.ask::<String>("SELECT pending FROM onewrite_route WHERE name = 'all'", []),
        "[]"
    );
    let mut others = fixture.feed_of(&lease, &shares[1]).await;
    assert_eq!(payloads(&others.wait_for(1).await), ["pending"]);
}

#[tokio::test]
async fn a_new_route_begins_at_the_lowest_floor_and_those_that_are_gone_are_removed() {
    let fixture = Fixture::new();
    let shares = routes(&[("a", "a"), ("b", "b")]);
    let lease = fixture.begin(&shares).await;
    let (mut a, mut b) = (
        fixture.feed_of(&lease, &shares[0]).await,
        fixture.feed_of(&lease, &shares[1]).await,
    );
    for (number, topic) in ["b", "a", "b", "a", "a"].into_iter().enumerate() {
        fixture.append(topic, None, &(number + 1).to_string());
    }
    let (of_a, of_b) = (a.wait_for(3).await, b.wait_for(2).await);
    b.retry(&of_b[..1]);
    b.settle(&of_b[1..]).await;
    a.settle(&of_a[..1]).await;
    // The lowest floor is a's, at 2; b's is higher, but 1 is pending there.
    let shares = routes(&[("a", "a"), ("c", "*")]);
    let lease = fixture.begin(&shares).await;
    let mut c = fixture.feed_of(&lease, &shares[1]).await;
    assert_eq!(payloads(&c.wait_for(2).await), ["1", "3"]);
    let names = fixture.ask::<String>("SELECT group_concat(name, ',' ORDER BY name) FROM onewrite_route", []);
    assert_eq!(names, "a,c");
    assert_eq!(
        payloads(&fixture.feed_of(&lease, &shares[0]).await.wait_for(2).await),
        ["4", "5"]
    );
}

#[tokio::test]
async fn a_read_counts_keys_and_headers_as_well_as_payloads() {
    const APPEND: &str = "\
        INSERT INTO onewrite_outbox (topic, key, headers, payload) \
        SELECT 't', printf('%.*c', 1000, 'k'), json_object('a', printf('%.*c', 8000, 'x')), x'' \
        FROM (WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers LIMIT 50) SELECT * FROM numbers)";
    let fixture = Fixture::new();
    let lease = fixture.begin(&everything()).await;
    let mut feed = fixture.feed_of(&lease, &everything()[0]).await;
    fixture.sql(APPEND);
    let limit = BatchLimit { bytes: 60_000, ..LIMIT };
    // The one that crosses the limit comes as well.
    let events = feed.next(limit).await.expect("a batch");
    assert_eq!(events.len(), 7);
    let rest = feed.drain(limit).await;
    assert_eq!(rest.len(), 43);
    for event in events.iter().chain(&rest) {
        feed.park(event, poison("no")).await;
    }
    fixture.sql("UPDATE onewrite_parked_event SET state = 'retry'");
    let mut redeliveries = fixture.redeliveries(&lease, &everything()[0]).await;
    assert_eq!(redeliveries.next(limit).await.expect("a batch").len(), 7);
    assert_eq!(redeliveries.drain(limit).await.len(), 43);
}
