//! Starting is healing: the next incarnation hands out exactly what is not settled.

use onewrite_core::{BatchLimit, Settlement};

use super::fixture::{Fixture, LIMIT, append, payloads, positions, run};

#[tokio::test]
async fn from_the_middle_of_a_window_with_pending_events() {
    let fixture = Fixture::new().await;
    let mut feed = fixture.feed().await;
    let late = fixture.database.connect().await;
    run(&late, "BEGIN").await;
    append(&late, "t", None, "late").await;
    fixture.append_all(&["1", "2", "3", "4", "5", "6"]).await;
    let events = feed.next(BatchLimit { events: 4, ..LIMIT }).await.expect("a batch");
    assert_eq!(payloads(&events), ["1", "2", "3", "4"]);
    feed.retry(&events[1..2]);
    feed.settle(&events[..1]).await;
    feed.settle(&events[2..3]).await;
    run(&late, "COMMIT").await;
    // 2 is pending, 4 was handed out and not settled, 5 and 6 were never handed out.
    for _ in 0..2 {
        feed = fixture.feed().await;
        let again = feed.wait_for(5).await;
        assert_eq!(payloads(&again), ["2", "4", "5", "6", "late"]);
        assert!(feed.drain(LIMIT).await.is_empty());
    }
    let again = feed.wait_for(0).await;
    assert!(again.is_empty());
}

#[tokio::test]
async fn pending_events_stay_pending_until_they_are_settled() {
    let fixture = Fixture::new().await;
    let mut feed = fixture.feed().await;
    fixture.append_all(&["1", "2", "3"]).await;
    let events = feed.wait_for(3).await;
    feed.retry(&events[..2]);
    feed.settle(&events[2..]).await;
    assert_eq!(
        fixture
            .number("SELECT cardinality(pending)::bigint FROM onewrite.route")
            .await,
        2
    );
    feed = fixture.feed().await;
    let events = feed.wait_for(2).await;
    assert_eq!(payloads(&events), ["1", "2"]);
    feed.settle(&events[..1]).await;
    feed = fixture.feed().await;
    let events = feed.wait_for(1).await;
    assert_eq!(payloads(&events), ["2"]);
    fixture.append_all(&["4"]).await;
    let more = feed.wait_for(1).await;
    feed.settle(&events).await;
    feed.settle(&more).await;
    assert_eq!(
        fixture
            .number("SELECT cardinality(pending)::bigint FROM onewrite.route")
            .await,
        0
    );
    assert!(fixture.feed().await.drain(LIMIT).await.is_empty());
}

#[tokio::test]
async fn pending_events_come_within_the_limits_too() {
    let fixture = Fixture::new().await;
    let mut feed = fixture.feed().await;
    let names: Vec<String> = (10..30).map(|number| number.to_string()).collect();
    fixture
        .append_all(&names.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let events = feed.wait_for(20).await;
    feed.retry(&events[..19]);
    feed.settle(&events[19..]).await;
    feed = fixture.feed().await;
    let mut again = Vec::new();
    for limit in [
        BatchLimit {
            events: 5,
            bytes: 1 << 20,
        },
        BatchLimit { events: 100, bytes: 7 },
    ] {
        let events = feed.next(limit).await.expect("a batch");
        again.push(events.len());
    }
    assert_eq!(again, [5, 4]);
    assert_eq!(payloads(&feed.drain(LIMIT).await), names[9..19]);
}

#[tokio::test]
async fn settling_twice_is_harmless() {
    let fixture = Fixture::new().await;
    let mut feed = fixture.feed().await;
    fixture.append_all(&["1", "2"]).await;
    let events = feed.wait_for(2).await;
    let settlement = Settlement {
        through: Some(events[0].position),
        pending: vec![],
    };
    for _ in 0..2 {
        feed.source.settle(&settlement).await.expect("recorded progress");
    }
    assert_eq!(payloads(&fixture.feed().await.wait_for(1).await), ["2"]);
}

/// A batch that nobody waited for is handed out by the next call, at whatever point the call was abandoned.
#[tokio::test]
async fn an_abandoned_call_loses_nothing() {
    let fixture = Fixture::new().await;
    let mut feed = fixture.feed().await;
    let (mut expected, mut came) = (Vec::new(), Vec::new());
    for polls in 1..40 {
        fixture.append_all(&["a", "b"]).await;
        expected.extend(["a", "b"]);
        let mut call = Box::pin(feed.source.next_batch(BatchLimit { events: 3, ..LIMIT }));
        for _ in 0..polls {
            if let std::task::Poll::Ready(events) = futures::poll!(&mut call) {
                came.extend(events.expect("a batch"));
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    came.extend(feed.drain(LIMIT).await);
    assert_eq!(payloads(&came), expected);
    assert!(positions(&came).windows(2).all(|pair| pair[0] < pair[1]));
}

/// What concerns other routes is passed, so that a start need not read it again and segments can be emptied.
#[tokio::test]
async fn a_route_that_nothing_is_for_moves_its_floor_all_the_same() {
    let fixture = Fixture::new().await;
    let shares = super::fixture::routes(&[("few", "few"), ("many", "*")]);
    let lease = fixture.begin(&shares).await;
    let mut feed = fixture.feed_of(&lease, &shares[0]).await;
    let rows = "INSERT INTO onewrite.outbox (topic, payload) SELECT 'other', 'x' FROM generate_series(1, 20000)";
    run(&fixture.application, rows).await;
    assert!(feed.drain(LIMIT).await.is_empty());
    let unseen = "SELECT count(*) FROM onewrite.outbox, onewrite.route WHERE name = 'few' \
                  AND NOT pg_visible_in_snapshot(xid, floor_snapshot::pg_snapshot)";
    assert_eq!(fixture.number(unseen).await, 0);
    fixture.append("few", None, "one").await;
    assert_eq!(payloads(&feed.wait_for(1).await), ["one"]);
}
