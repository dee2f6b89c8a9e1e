//! What operators ask to be delivered again.

use onewrite_core::routing::UNROUTED;
use onewrite_core::source::ParkReason;
use onewrite_core::store::{ParkedEdit, ParkedFilter, ReplayRequest};
use onewrite_core::{BatchLimit, Lease, StoreFailure};

use super::fixture::{DELIVERED, Fixture, LIMIT, Reader, everything, parking, payloads, poison, routes};

const PARKED: &str = "SELECT group_concat(route || '/' || state || '/' || CAST(payload AS TEXT), ',' ORDER BY id) \
                      FROM onewrite_parked_event";

/// Appends events of a key and parks the first with the others held behind it.
async fn parked_and_held(fixture: &Fixture, count: usize) -> (Lease, Reader) {
    let lease = fixture.begin(&everything()).await;
    let mut feed = fixture.feed_of(&lease, &everything()[0]).await;
    for number in 1..=count {
        fixture.append("t", Some("k"), &number.to_string());
    }
    let events = feed.wait_for(count).await;
    feed.park(&events[0], poison("the broker's words")).await;
    for event in &events[1..] {
        feed.park(event, ParkReason::Held).await;
    }
    feed.settle(&events).await;
    let redeliveries = fixture.redeliveries(&lease, &everything()[0]).await;
    (lease, redeliveries)
}

async fn retry(fixture: &Fixture) -> u64 {
    fixture
        .operations
        .retry(&ParkedFilter::default())
        .await
        .expect("marked events")
}

fn replay(route: &str) -> ReplayRequest {
    ReplayRequest {
        relay: "shop".to_owned(),
        route: route.to_owned(),
        ..ReplayRequest::default()
    }
}

#[tokio::test]
async fn a_retried_event_and_those_held_behind_it_come_in_order_and_go_when_they_are_settled() {
    let fixture = Fixture::new();
    let (lease, mut redeliveries) = parked_and_held(&fixture, 5).await;
    assert!(redeliveries.batch().await.is_empty());
    assert_eq!(retry(&fixture).await, 1);
    let first = redeliveries
        .next(BatchLimit { events: 2, ..LIMIT })
        .await
        .expect("a batch");
    assert_eq!(payloads(&first), ["1", "2"]);
    // What is under way does not come twice.
    let rest = redeliveries.batch().await;
    assert_eq!(payloads(&rest), ["3", "4", "5"]);
    assert!(redeliveries.batch().await.is_empty());
    redeliveries.settle(&first).await;
    // The next incarnation hands out what is not settled.
    let mut next = fixture.redeliveries(&lease, &everything()[0]).await;
    let again = next.batch().await;
    assert_eq!(payloads(&again), ["3", "4", "5"]);
    next.settle(&again).await;
    assert_eq!(fixture.number("SELECT count(*) FROM onewrite_parked_event"), 0);
}

#[tokio::test]
async fn an_event_that_is_poison_once_more_stays_and_holds_its_key() {
    let fixture = Fixture::new();
    let (lease, mut redeliveries) = parked_and_held(&fixture, 3).await;
    retry(&fixture).await;
    let events = redeliveries.batch().await;
    redeliveries.park(&events[0], poison("still")).await;
    for event in &events[1..] {
        redeliveries.park(event, ParkReason::Held).await;
    }
    redeliveries.settle(&events).await;
    assert_eq!(fixture.ask::<String>(PARKED, []), "all/parked/1,all/held/2,all/held/3");
    let told: (String, i64) = fixture
        .application
        .query_row(
            "SELECT error, attempts FROM onewrite_parked_event WHERE state = 'parked'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .expect("a row");
    assert_eq!(told, ("still".to_owned(), 6));
    assert_eq!(
        *fixture.outbox.blocked_keys(&lease, "all").await.expect("keys"),
        ["k".into()]
    );
    assert!(redeliveries.batch().await.is_empty());
    // Given up, it holds nothing any more; what was only held is not given up by the way.
    let skipped = fixture
        .operations
        .skip(&ParkedFilter::default())
        .await
        .expect("skipped events");
    assert_eq!(skipped.len(), 1);
    assert_eq!(skipped[0].payload, b"1");
    assert_eq!(payloads(&redeliveries.batch().await), ["2", "3"]);
}

#[tokio::test]
async fn parking_twice_leaves_one_and_waiting_does_not_undo_poison() {
    let fixture = Fixture::new();
    let lease = fixture.begin(&everything()).await;
    let mut feed = fixture.feed_of(&lease, &everything()[0]).await;
    fixture.append("t", Some("k"), "1");
    let events = feed.wait_for(1).await;
    feed.park(&events[0], poison("first")).await;
    feed.park(&events[0], ParkReason::Held).await;
    assert_eq!(fixture.ask::<String>(PARKED, []), "all/parked/1");
    feed.park(&events[0], poison("second")).await;
    assert_eq!(
        fixture.ask::<String>("SELECT error || attempts FROM onewrite_parked_event", []),
        "second3"
    );
}

#[tokio::test]
async fn what_no_route_took_comes_under_the_route_that_takes_it_and_belongs_to_it_then() {
    let fixture = Fixture::new();
    let shares = routes(&[("a", "a")]);
    let lease = fixture.begin(&shares).await;
    let mut unrouted = fixture.feed_of(&lease, &shares[1]).await;
    fixture.append("b", Some("k"), "1");
    fixture.append("c", Some("k"), "2");
    let events = unrouted.wait_for(2).await;
    for event in &events {
        unrouted.park(event, poison("no route")).await;
    }
    unrouted.settle(&events).await;
    let shares = routes(&[("a", "a"), ("b", "b")]);
    let lease = fixture.begin(&shares).await;
    retry(&fixture).await;
    let (mut a, mut b) = (
        fixture.redeliveries(&lease, &shares[0]).await,
        fixture.redeliveries(&lease, &shares[1]).await,
    );
    let mut unrouted = fixture.redeliveries(&lease, &shares[2]).await;
    assert!(a.batch().await.is_empty());
    let taken = b.batch().await;
    assert_eq!(payloads(&taken), ["1"]);
    assert_eq!(payloads(&unrouted.batch().await), ["2"]);
    b.park(&taken[0], poison("refused")).await;
    b.settle(&taken).await;
    assert_eq!(
        fixture.ask::<String>(PARKED, []),
        format!("b/parked/1,{UNROUTED}/retry/2")
    );
}

#[tokio::test]
async fn an_edited_event_comes_as_it_was_edited() {
    let fixture = Fixture::new();
    let (_, mut redeliveries) = parked_and_held(&fixture, 1).await;
    let id = fixture.number("SELECT id FROM onewrite_parked_event");
    let edit = ParkedEdit {
        topic: Some("u".to_owned()),
        payload: Some(b"better".to_vec()),
        headers: Some(serde_json::json!({"a": "b"})),
        ..ParkedEdit::default()
    };
    assert!(fixture.operations.edit(id, &edit).await.expect("an answer"));
    assert!(!fixture.operations.edit(id + 1, &edit).await.expect("an answer"));
    let too_long = ParkedEdit {
        topic: Some("t".repeat(300)),
        ..ParkedEdit::default()
    };
    assert!(fixture.operations.edit(id, &too_long).await.is_err());
    retry(&fixture).await;
    let event = redeliveries.batch().await.remove(0).event;
    assert_eq!((&*event.topic, &*event.payload), ("u", &b"better"[..]));
    assert_eq!(event.headers, [("a".into(), "b".into())]);
}

#[tokio::test]
async fn an_event_that_may_be_on_its_way_is_not_edited() {
    let fixture = Fixture::new();
    let (_, mut redeliveries) = parked_and_held(&fixture, 2).await;
    retry(&fixture).await;
    let edit = ParkedEdit {
        payload: Some(b"better".to_vec()),
        ..ParkedEdit::default()
    };
    let first = fixture.number("SELECT min(id) FROM onewrite_parked_event");
    let refused = async |id: i64, told: &str| {
        let error = fixture.operations.edit(id, &edit).await.expect_err("refused");
        assert_eq!(error.failure, StoreFailure::Refused);
        let words = error.to_string();
        let begin = format!("parked event {id} is left as it is: ");
        assert!(words.starts_with(&begin) && words.contains(told), "{words}");
    };
    refused(first, "\"retry\"").await;
    refused(first + 1, "\"held\"").await;
    let events = redeliveries.batch().await;
    refused(first, "\"retry\"").await;
    assert_eq!(fixture.ask::<String>(PARKED, []), "all/retry/1,all/held/2");
    // It is parked once more, and can be edited again.
    redeliveries.park(&events[0], poison("still")).await;
    assert!(fixture.operations.edit(first, &edit).await.expect("an answer"));
    assert_eq!(fixture.ask::<String>(PARKED, []), "all/parked/better,all/held/2");
}

#[tokio::test]
async fn a_replay_brings_what_it_names_marks_it_and_ends() {
    let fixture = Fixture::new();
    let shares = routes(&[("a", "a.*"), ("rest", "*")]);
    let lease = fixture.begin(&shares).await;
    append_of_three_days(&fixture);
    fixture.sql(DELIVERED);
    let mut redeliveries = fixture.redeliveries(&lease, &shares[0]).await;
    for (request, expected) in replays_and_what_they_bring(&fixture) {
        let number = fixture.operations.replay(&request).await.expect("a request").id;
        // Events of later are no part of it.
        fixture.append("a.x", Some("k"), "later");
        let events = redeliveries.batch().await;
        assert_eq!(payloads(&events), expected, "{request:?}");
        for sourced in &events {
            assert_eq!(sourced.event.replay, Some(number));
        }
        redeliveries.settle(&events).await;
        assert!(redeliveries.batch().await.is_empty());
        let unfinished = fixture.number("SELECT count(*) FROM onewrite_replay WHERE finished_at IS NULL");
        assert_eq!(unfinished, 0);
        fixture.sql("DELETE FROM onewrite_outbox WHERE payload = CAST('later' AS BLOB)");
    }
}

/// Events of two routes and two keys, their times written in the ways that there are.
fn append_of_three_days(fixture: &Fixture) {
    for (topic, key, payload, time) in [
        ("a.x", "k", "1", "2026-01-01T00:00:00Z"),
        ("a.y", "k", "2", "2026-01-02 00:00:00"),
        ("b", "k", "3", "2026-01-02T00:00:00.000Z"),
        ("a.x", "l", "4", "2026-01-02T12:00:00.5Z"),
        ("a.x", "k", "5", "2026-01-03T00:00:00Z"),
    ] {
        fixture.sql(&format!(
            "INSERT INTO onewrite_outbox (topic, key, payload, occurred_at) VALUES ('{topic}', '{key}', '{payload}', '{time}')"
        ));
    }
}

fn replays_and_what_they_bring(fixture: &Fixture) -> [(ReplayRequest, Vec<&'static str>); 5] {
    let day = |day: u8| Some(format!("2026-01-0{day}T00:00:00Z").parse().expect("a time"));
    let id = fixture.ask::<String>("SELECT upper(id) FROM onewrite_outbox WHERE sequence = 2", []);
    [
        (
            ReplayRequest {
                since: day(2),
                until: day(3),
                ..replay("a")
            },
            vec!["2", "4"],
        ),
        (
            ReplayRequest {
                topic: Some("a.x".to_owned()),
                ..replay("a")
            },
            vec!["1", "4", "5"],
        ),
        (
            ReplayRequest {
                key: Some("k".to_owned()),
                ..replay("a")
            },
            vec!["1", "2", "5"],
        ),
        (
            ReplayRequest {
                ids: vec![id.parse().expect("an id")],
                ..replay("a")
            },
            vec!["2"],
        ),
        (
            ReplayRequest {
                since: day(2),
                key: Some("K".to_owned()),
                ..replay("a")
            },
            vec![],
        ),
    ]
}

#[tokio::test]
async fn a_replay_goes_on_where_it_stood_and_reads_a_bounded_stretch_at_a_time() {
    let fixture = Fixture::new();
    let lease = fixture.begin(&everything()).await;
    let fill = "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 110000) \
                INSERT INTO onewrite_outbox (topic, payload) SELECT 'common', 'x' FROM n";
    fixture.append("rare", None, "1");
    fixture.sql(fill);
    fixture.append("rare", None, "2");
    fixture.sql(DELIVERED);
    let request = ReplayRequest {
        topic: Some("rare".to_owned()),
        ..replay("all")
    };
    fixture.operations.replay(&request).await.expect("a request");
    let mut redeliveries = fixture.redeliveries(&lease, &everything()[0]).await;
    let first = redeliveries.batch().await;
    assert_eq!(payloads(&first), ["1"]);
    assert!(redeliveries.batch().await.is_empty());
    futures::FutureExt::now_or_never(redeliveries.source.wait()).expect("it is not at the end yet");
    redeliveries.settle(&first).await;
    let mut next = fixture.redeliveries(&lease, &everything()[0]).await;
    assert_eq!(payloads(&next.wait_for(1).await), ["2"]);
}

#[tokio::test]
async fn a_replayed_event_that_is_poison_is_parked_as_it_was_written() {
    let fixture = Fixture::new();
    let lease = fixture.begin(&everything()).await;
    fixture.append("t", Some("k"), "1");
    fixture.sql(DELIVERED);
    let request = ReplayRequest {
        key: Some("k".to_owned()),
        ..replay("all")
    };
    fixture.operations.replay(&request).await.expect("a request");
    let mut redeliveries = fixture.redeliveries(&lease, &everything()[0]).await;
    let events = redeliveries.batch().await;
    fixture.sql("DELETE FROM onewrite_outbox");
    redeliveries
        .source
        .park(&[parking(&events[0], poison("no"))])
        .await
        .expect("parked");
    redeliveries.settle(&events).await;
    retry(&fixture).await;
    let again = redeliveries.batch().await;
    assert_eq!(again[0].defect, None);
    assert!(again[0].event.headers.is_empty());
    assert_eq!(again[0].event.id, events[0].event.id);
    assert_eq!(again[0].event.occurred_at, events[0].event.occurred_at);
}
