//! What operators ask to be delivered again.

use onewrite_core::routing::UNROUTED;
use onewrite_core::source::ParkReason;
use onewrite_core::{BatchLimit, Lease, Sourced};

use super::fixture::{Fixture, LIMIT, Reader, everything, payloads, poison, routes, run};

/// Appends events of a key and parks the first with the others held behind it.
async fn parked_and_held(fixture: &Fixture, count: usize) -> (Lease, Reader) {
    let lease = fixture.begin(&everything()).await;
    let mut feed = fixture.feed_of(&lease, &everything()[0]).await;
    for number in 1..=count {
        fixture.append("t", Some("k"), &number.to_string()).await;
    }
    let events = feed.wait_for(count).await;
    feed.park(&events[0], poison("the broker's words\0")).await;
    for event in &events[1..] {
        feed.park(event, ParkReason::Held).await;
    }
    feed.settle(&events).await;
    let redeliveries = fixture.redeliveries(&lease, &everything()[0]).await;
    (lease, redeliveries)
}

async fn states(fixture: &Fixture) -> Vec<String> {
    let sql = "SELECT convert_from(payload, 'UTF8') || ' ' || state || ' ' || attempts || ' ' || error \
               FROM onewrite.parked_event ORDER BY sequence";
    fixture
        .application
        .query(sql, &[])
        .await
        .expect("rows")
        .iter()
        .map(|row| row.get(0))
        .collect()
}

const RETRY: &str = "UPDATE onewrite.parked_event SET state = 'retry' WHERE state = 'parked'";

#[tokio::test]
async fn held_events_follow_when_nothing_blocks_their_key_any_more() {
    let fixture = Fixture::new().await;
    let (lease, mut redeliveries) = parked_and_held(&fixture, 3).await;
    assert_eq!(
        states(&fixture).await,
        [
            "1 parked 3 the broker's words\u{fffd}",
            "2 held 3 waits behind a parked event of its key",
            "3 held 3 waits behind a parked event of its key"
        ]
    );
    let blocked = fixture.outbox.blocked_keys(&lease, "all").await.expect("keys");
    assert_eq!(blocked, ["k".into()]);
    assert!(redeliveries.batch().await.is_empty());
    fixture.sql(RETRY).await;
    let events = redeliveries.batch().await;
    assert_eq!(payloads(&events), ["1", "2", "3"]);
    assert!(
        redeliveries.batch().await.is_empty(),
        "unsettled events were handed out twice"
    );
    redeliveries.settle(&events[..1]).await;
    assert_eq!(fixture.number("SELECT count(*) FROM onewrite.parked_event").await, 2);
    assert!(redeliveries.batch().await.is_empty());
    // The next incarnation hands out what is left.
    let mut redeliveries = fixture.redeliveries(&lease, &everything()[0]).await;
    let events = redeliveries.batch().await;
    assert_eq!(payloads(&events), ["2", "3"]);
    redeliveries.settle(&events).await;
    assert!(
        fixture
            .outbox
            .blocked_keys(&lease, "all")
            .await
            .expect("keys")
            .is_empty()
    );
}

#[tokio::test]
async fn held_events_follow_when_the_poison_is_skipped() {
    let fixture = Fixture::new().await;
    let (_, mut redeliveries) = parked_and_held(&fixture, 3).await;
    run(
        &fixture.application,
        "DELETE FROM onewrite.parked_event WHERE state = 'parked'",
    )
    .await;
    assert_eq!(payloads(&redeliveries.batch().await), ["2", "3"]);
}

#[tokio::test]
async fn an_event_that_is_poison_again_stays_with_new_words() {
    let fixture = Fixture::new().await;
    let (_, mut redeliveries) = parked_and_held(&fixture, 2).await;
    fixture.sql(RETRY).await;
    let events = redeliveries.batch().await;
    redeliveries.park(&events[0], poison("still not")).await;
    redeliveries.park(&events[1], ParkReason::Held).await;
    assert_eq!(
        states(&fixture).await,
        [
            "1 parked 6 still not",
            "2 held 6 waits behind a parked event of its key"
        ]
    );
    // An operator is faster than the record: both come again in their order, and the record then takes nothing from them.
    fixture.sql(RETRY).await;
    let again = redeliveries.batch().await;
    assert_eq!(payloads(&again), ["1", "2"]);
    redeliveries.settle(&events).await;
    assert!(
        redeliveries.batch().await.is_empty(),
        "unsettled events were handed out twice"
    );
    assert_eq!(states(&fixture).await.len(), 2, "what is under way was removed");
    redeliveries.settle(&again).await;
    assert!(states(&fixture).await.is_empty());
}

/// A run that crashed between parking and recording hands out the same events again: what is set aside stays as it is.
#[tokio::test]
async fn parking_twice_leaves_one() {
    let fixture = Fixture::new().await;
    let lease = fixture.begin(&everything()).await;
    fixture.append("t", Some("k"), "1").await;
    for reason in [poison("first"), ParkReason::Held, poison("second")] {
        let mut feed = fixture.feed_of(&lease, &everything()[0]).await;
        let events = feed.wait_for(1).await;
        feed.park(&events[0], reason).await;
    }
    assert_eq!(states(&fixture).await, ["1 parked 3 second"]);
}

#[tokio::test]
async fn an_unrouted_event_goes_to_the_route_that_takes_it_now() {
    let fixture = Fixture::new().await;
    let before = routes(&[("a", "a")]);
    let lease = fixture.begin(&before).await;
    assert_eq!(before[1].route, UNROUTED);
    let mut unrouted = fixture.feed_of(&lease, &before[1]).await;
    for topic in ["b", "c"] {
        fixture.append(topic, None, topic).await;
    }
    let events = unrouted.wait_for(2).await;
    for event in &events {
        unrouted.park(event, poison("no route takes it")).await;
    }
    unrouted.settle(&events).await;
    fixture.sql(RETRY).await;
    let after = routes(&[("a", "a"), ("b", "b")]);
    let lease = fixture.begin(&after).await;
    let mut taken: Vec<Vec<Sourced>> = Vec::new();
    for share in &after {
        let mut redeliveries = fixture.redeliveries(&lease, share).await;
        let events = redeliveries.batch().await;
        redeliveries.settle(&events).await;
        taken.push(events);
    }
    let taken: Vec<Vec<String>> = taken.iter().map(|events| payloads(events)).collect();
    assert_eq!(taken, [vec![], vec!["b".to_owned()], vec!["c".to_owned()]]);
    assert_eq!(fixture.number("SELECT count(*) FROM onewrite.parked_event").await, 0);
}

#[tokio::test]
async fn a_batch_of_redeliveries_keeps_its_limits() {
    let fixture = Fixture::new().await;
    let (_, mut redeliveries) = parked_and_held(&fixture, 5).await;
    fixture.sql(RETRY).await;
    for (limit, expected) in [
        (BatchLimit { events: 2, ..LIMIT }, vec!["1", "2"]),
        (BatchLimit { bytes: 1, ..LIMIT }, vec!["3"]),
        (LIMIT, vec!["4", "5"]),
    ] {
        assert_eq!(payloads(&redeliveries.next(limit).await.expect("a batch")), expected);
    }
}

async fn request(fixture: &Fixture, columns: &str, values: &str) {
    let sql = format!(
        "INSERT INTO onewrite.replay (relay, route, up_to{columns}) \
         SELECT 'shop', 'a', last_value{values} FROM onewrite.outbox_sequence"
    );
    fixture.sql(&sql).await;
}

#[tokio::test]
async fn a_replay_hands_out_what_the_route_takes_and_ends() {
    let fixture = Fixture::new().await;
    let shares = routes(&[("a", "a.*")]);
    let lease = fixture.begin(&shares).await;
    for (topic, payload) in [("a.1", "1"), ("b", "2"), ("a.2", "3"), ("a.1", "4")] {
        fixture.append(topic, Some(topic), payload).await;
    }
    let mut feed = fixture.feed_of(&lease, &shares[0]).await;
    let events = feed.wait_for(3).await;
    feed.settle(&events).await;
    request(&fixture, ", since", ", now() - interval '1 hour'").await;
    request(&fixture, ", topic", ", 'a.1'").await;
    request(&fixture, ", key", ", 'a.2'").await;
    request(&fixture, ", until", ", now() - interval '1 hour'").await;
    request(
        &fixture,
        ", ids",
        ", (SELECT array_agg(id) FROM onewrite.outbox WHERE payload IN ('2', '4'))",
    )
    .await;
    // Written after the requests: no part of them.
    fixture.append("a.1", None, "5").await;
    let mut redeliveries = fixture.redeliveries(&lease, &shares[0]).await;
    let first = redeliveries
        .next(BatchLimit { events: 2, ..LIMIT })
        .await
        .expect("a batch");
    assert_eq!(payloads(&first), ["1", "3"]);
    assert_eq!(first[0].event.replay, Some(1));
    assert_eq!(first[0].defect, None);
    // The first is under retry: a crash now begins with it again.
    redeliveries.retry(&first[..1]);
    redeliveries.settle(&first[1..]).await;
    let mut redeliveries = fixture.redeliveries(&lease, &shares[0]).await;
    let events = redeliveries.drain(LIMIT).await;
    let by_replay = |number: i64| -> Vec<String> {
        let of = |event: &&Sourced| event.event.replay == Some(number);
        payloads(&events.iter().filter(of).cloned().collect::<Vec<_>>())
    };
    let replays = [1, 2, 3, 4, 5].map(by_replay);
    assert_eq!(
        replays,
        [vec!["1", "3", "4"], vec!["1", "4"], vec!["3"], vec![], vec!["4"]]
            .map(|texts: Vec<&str>| { texts.into_iter().map(str::to_owned).collect::<Vec<_>>() })
    );
    redeliveries.settle(&events).await;
    assert_eq!(
        fixture
            .number("SELECT count(*) FROM onewrite.replay WHERE finished_at IS NULL")
            .await,
        0
    );
    assert!(redeliveries.drain(LIMIT).await.is_empty());
}

#[tokio::test]
async fn a_replay_of_nothing_ends_at_once_and_poison_in_one_is_parked() {
    let fixture = Fixture::new().await;
    let shares = routes(&[("a", "*")]);
    let lease = fixture.begin(&shares).await;
    request(&fixture, ", key", ", 'none'").await;
    let mut redeliveries = fixture.redeliveries(&lease, &shares[0]).await;
    assert!(redeliveries.drain(LIMIT).await.is_empty());
    assert_eq!(
        fixture
            .number("SELECT count(*) FROM onewrite.replay WHERE finished_at IS NOT NULL")
            .await,
        1
    );
    fixture.append("t", None, "1").await;
    let mut feed = fixture.feed_of(&lease, &shares[0]).await;
    let delivered = feed.wait_for(1).await;
    feed.settle(&delivered).await;
    request(&fixture, ", topic", ", 't'").await;
    let events = redeliveries.drain(LIMIT).await;
    assert_eq!(payloads(&events), ["1"]);
    redeliveries.park(&events[0], poison("no")).await;
    redeliveries.settle(&events).await;
    assert!(redeliveries.drain(LIMIT).await.is_empty());
    assert_eq!(
        fixture
            .number("SELECT count(*) FROM onewrite.replay WHERE finished_at IS NOT NULL")
            .await,
        2
    );
    assert_eq!(states(&fixture).await, ["1 parked 3 no"]);
    assert_eq!(
        fixture
            .number("SELECT count(*) FROM onewrite.parked_event WHERE headers = '{}'")
            .await,
        1
    );
}

#[tokio::test]
async fn an_event_of_two_replays_that_are_poison_together_is_set_aside_once() {
    let fixture = Fixture::new().await;
    let shares = routes(&[("a", "*")]);
    let lease = fixture.begin(&shares).await;
    fixture.append("t", None, "1").await;
    let mut feed = fixture.feed_of(&lease, &shares[0]).await;
    let delivered = feed.wait_for(1).await;
    feed.settle(&delivered).await;
    for _ in 0..2 {
        request(&fixture, ", topic", ", 't'").await;
    }
    let mut redeliveries = fixture.redeliveries(&lease, &shares[0]).await;
    let events = redeliveries.drain(LIMIT).await;
    assert_eq!(payloads(&events), ["1", "1"]);
    redeliveries
        .park_all(&[(&events[0], ParkReason::Held), (&events[1], poison("no"))])
        .await;
    redeliveries.settle(&events).await;
    assert_eq!(states(&fixture).await, ["1 parked 3 no"]);
    assert!(redeliveries.drain(LIMIT).await.is_empty());
}
