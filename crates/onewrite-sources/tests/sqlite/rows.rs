//! Rows as any program may write them, and names as anybody may choose them.

use onewrite_core::routing::Share;
use onewrite_core::source::ParkReason;
use onewrite_core::store::{ParkedFilter, ReplayRequest, RouteReport, RouteState};
use onewrite_core::{Lease, Outbox, StoreFailure};

use super::fixture::{DELIVERED, Fixture, Reader, TTL, connect, everything, parking, payloads, poison};

#[tokio::test]
async fn a_payload_comes_whatever_type_of_value_it_was_given_as() {
    let fixture = Fixture::new();
    let mut feed = fixture.feed().await;
    fixture.sql(
        "INSERT INTO onewrite_outbox (topic, payload) VALUES ('t', '{\"text\": \"ä\"}'), ('t', x'00ff'), ('t', ''), ('t', x''), \
         ('t', 17), ('t', 'a' || char(0) || 'b')",
    );
    let events = feed.wait_for(6).await;
    let payloads: Vec<&[u8]> = events.iter().map(|sourced| &*sourced.event.payload).collect();
    let expected: [&[u8]; 6] = ["{\"text\": \"ä\"}".as_bytes(), b"\x00\xff", b"", b"", b"17", b"a\0b"];
    assert_eq!(payloads, expected);
    for sourced in &events {
        assert_eq!(sourced.defect, None);
        assert_eq!(sourced.event.id.get_version_num(), 4);
        assert_eq!(&*sourced.event.content_type, "application/json");
        assert!(sourced.event.occurred_at.as_second() > 1_700_000_000);
    }
}

#[tokio::test]
async fn a_row_that_is_no_event_comes_with_its_defect_and_stays_none_when_it_is_parked_and_retried() {
    let fixture = Fixture::new();
    let lease = fixture.begin(&everything()).await;
    let share = &everything()[0];
    let mut feed = fixture.feed_of(&lease, share).await;
    // Checks can be switched off, and headers that are nested pass them.
    fixture.sql("PRAGMA ignore_check_constraints = true");
    let bad = [
        ("headers", "'{\"a\": {\"b\": 1}}'", "headers hold an object"),
        ("headers", "'[]'", "headers hold an array at the top"),
        ("headers", "'{'", "headers hold no JSON"),
        ("headers", "'{\"a\": \"b\\u0000\"}'", "control character"),
        ("id", "'seven'", "id holds \"seven\""),
        ("occurred_at", "'yesterday'", "occurred_at holds \"yesterday\""),
        ("key", "x'6b'", "key holds bytes"),
        ("key", "CAST(x'ff' AS TEXT)", "key is not valid UTF-8"),
        ("type", "'a' || char(13)", "control character"),
        ("content_type", "CAST(x'c0' AS TEXT)", "content_type is not valid UTF-8"),
    ];
    for (column, value, _) in bad {
        fixture.sql(&format!(
            "INSERT INTO onewrite_outbox (topic, payload, {column}) VALUES ('t', 'x', {value})"
        ));
    }
    fixture.sql("INSERT INTO onewrite_outbox (topic, payload) VALUES (CAST(x'74ff' AS TEXT), 'x')");
    let expected: Vec<&str> = bad
        .iter()
        .map(|(.., told)| *told)
        .chain(["topic is not valid UTF-8"])
        .collect();
    let told = |events: &[onewrite_core::Sourced]| {
        for (sourced, expected) in events.iter().zip(&expected) {
            let defect = sourced.defect.as_deref().expect("a defect");
            assert!(defect.contains(expected), "{defect} does not tell {expected}");
        }
        assert_eq!(events.len(), expected.len());
    };
    let events = feed.wait_for(expected.len()).await;
    told(&events);
    let parked: Vec<_> = events.iter().map(|event| parking(event, poison("no event"))).collect();
    feed.source.park(&parked).await.expect("parked events");
    feed.settle(&events).await;
    let shown = fixture
        .operations
        .parked(&ParkedFilter::default())
        .await
        .expect("a list");
    assert_eq!(shown.len(), expected.len());
    assert_eq!(shown[1].headers, serde_json::json!([]));
    assert_eq!(shown[2].headers, serde_json::json!("{"));
    fixture
        .operations
        .retry(&ParkedFilter::default())
        .await
        .expect("marked events");
    let mut redeliveries = fixture.redeliveries(&lease, share).await;
    told(&redeliveries.batch().await);
}

#[tokio::test]
async fn held_events_of_odd_keys_follow_as_well() {
    let fixture = Fixture::new();
    let lease = fixture.begin(&everything()).await;
    let share = &everything()[0];
    let mut feed = fixture.feed_of(&lease, share).await;
    fixture.sql("PRAGMA ignore_check_constraints = true");
    let keys = ["''", "'a''b\"%_'", "CAST(x'ff' AS TEXT)", "x'ff'", "'ä'", "'A'", "'a'"];
    for key in keys {
        for payload in ["poison", "held"] {
            fixture.sql(&format!(
                "INSERT INTO onewrite_outbox (topic, key, payload) VALUES ('t', {key}, '{payload}')"
            ));
        }
    }
    let events = feed.wait_for(2 * keys.len()).await;
    for pair in events.chunks(2) {
        feed.park(&pair[0], poison("no")).await;
        feed.park(&pair[1], ParkReason::Held).await;
    }
    feed.settle(&events).await;
    let mut redeliveries = fixture.redeliveries(&lease, share).await;
    assert!(redeliveries.batch().await.is_empty());
    fixture
        .operations
        .skip(&ParkedFilter::default())
        .await
        .expect("skipped events");
    let held = redeliveries.batch().await;
    assert_eq!(payloads(&held), vec!["held"; keys.len()]);
    redeliveries.settle(&held).await;
    assert_eq!(fixture.number("SELECT count(*) FROM onewrite_parked_event"), 0);
}

const HOSTILE: [&str; 9] = [
    "'; DROP TABLE onewrite_outbox; --",
    "a\"b",
    "%",
    "ä\n\t",
    "[x]",
    "?1",
    "$1",
    "",
    "a\0b",
];

#[tokio::test]
async fn names_are_names_and_nothing_else() {
    let fixture = Fixture::new();
    for name in HOSTILE {
        let share = &onewrite_core::routing::shares(name, &[(name.to_owned(), Default::default())])[0];
        let outbox: &dyn Outbox = &*fixture.outbox;
        let lease = outbox
            .acquire(name, name, TTL)
            .await
            .expect("an answer")
            .expect("the lease");
        assert_eq!(outbox.acquire(name, "another", TTL).await.expect("an answer"), None);
        outbox
            .adopt(&lease, std::slice::from_ref(share))
            .await
            .expect("adopted routes");
        an_event_is_parked(&fixture, &lease, share).await;
        the_route_is_halted(outbox, &lease, name).await;
        the_event_is_listed(&fixture, name).await;
        the_event_is_replayed(&fixture, &lease, share).await;
        assert_eq!(
            fixture
                .operations
                .set_paused(name, Some(name), false)
                .await
                .expect("an answer"),
            1
        );
    }
    let status = fixture.operations.status().await.expect("a status");
    assert_eq!(
        (status.relays.len(), status.routes.len()),
        (HOSTILE.len(), HOSTILE.len())
    );
    assert!(
        status
            .routes
            .iter()
            .all(|route| (route.delivered, route.failed, route.parked) == (3, 1, 1))
    );
}

/// Its key is the name of the relay and of the route, as are the words of its error.
async fn an_event_is_parked(fixture: &Fixture, lease: &Lease, share: &Share) {
    let name = &*share.route;
    let mut feed = fixture.feed_of(lease, share).await;
    fixture
        .application
        .execute(
            "INSERT INTO onewrite_outbox (topic, key, payload) VALUES ('t', ?1, 'x')",
            [name],
        )
        .expect("a row");
    let events = feed.drain(super::fixture::LIMIT).await;
    let last = events.last().expect("an event");
    assert_eq!(last.event.key.as_deref(), Some(name));
    feed.park(last, poison(name)).await;
    feed.settle(&events).await;
    assert_eq!(
        *fixture.outbox.blocked_keys(lease, name).await.expect("keys"),
        [name.into()]
    );
}

async fn the_route_is_halted(outbox: &dyn Outbox, lease: &Lease, name: &str) {
    outbox.halt(lease, name, name).await.expect("a recorded halt");
    let report = RouteReport {
        route: name.to_owned(),
        state: RouteState::Halted,
        delivered: 3,
        failed: 1,
        last_error: Some(name.to_owned()),
    };
    let controls = outbox.renew(lease, TTL, &[report]).await.expect("controls");
    assert_eq!(controls[0].halted.as_deref(), Some(name));
}

async fn the_event_is_listed(fixture: &Fixture, name: &str) {
    let filter = ParkedFilter {
        relay: Some(name.to_owned()),
        route: Some(name.to_owned()),
        key: Some(name.to_owned()),
        topic: Some("t".to_owned()),
        ..ParkedFilter::default()
    };
    let parked = fixture.operations.parked(&filter).await.expect("a list");
    assert_eq!((parked.len(), parked[0].error.as_str()), (1, name));
}

async fn the_event_is_replayed(fixture: &Fixture, lease: &Lease, share: &Share) {
    let name = &*share.route;
    let request = ReplayRequest {
        relay: name.to_owned(),
        route: name.to_owned(),
        key: Some(name.to_owned()),
        ..ReplayRequest::default()
    };
    // Beside the one that is set aside, one that was delivered.
    const INSERT: &str = "INSERT INTO onewrite_outbox (topic, key, payload) VALUES ('t', ?1, 'delivered')";
    fixture.application.execute(INSERT, [name]).expect("an event");
    fixture.sql(DELIVERED);
    fixture.operations.replay(&request).await.expect("a request");
    let mut redeliveries = fixture.redeliveries(lease, share).await;
    let again = redeliveries.batch().await;
    assert_eq!(again.len(), 1, "{name:?}");
    redeliveries.settle(&again).await;
    fixture.sql("DELETE FROM onewrite_outbox WHERE payload = 'delivered'");
}

#[tokio::test]
async fn a_database_in_utf_16_works_as_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("wide.db");
    let mut application = connect(&path);
    application
        .execute_batch("PRAGMA encoding = 'UTF-16le'")
        .expect("a setting");
    onewrite::sqlite::migrate(&mut application).expect("the schema");
    let opened = super::fixture::open(&[("url", path.to_str().expect("a path"))]).expect("an outbox");
    let lease = opened
        .outbox
        .acquire("shop", "test", TTL)
        .await
        .expect("an answer")
        .expect("the lease");
    opened
        .outbox
        .adopt(&lease, &everything())
        .await
        .expect("adopted routes");
    let mut feed = Reader::new(opened.outbox.feed(&lease, &everything()[0]).await.expect("a feed"));
    application
        .execute_batch("INSERT INTO onewrite_outbox (topic, key, payload) VALUES ('ä', 'ß', '{\"é\": 1}')")
        .expect("a row");
    let events = feed.wait_for(1).await;
    assert_eq!(
        (&*events[0].event.topic, events[0].event.key.as_deref()),
        ("ä", Some("ß"))
    );
    assert_eq!(payloads(&events), ["{\"é\": 1}"]);
}

#[tokio::test]
async fn pending_that_cannot_be_read_is_refused_and_not_forgotten() {
    let fixture = Fixture::new();
    let lease = fixture.begin(&everything()).await;
    fixture.sql("UPDATE onewrite_route SET pending = '[1, \"two\"]'");
    let error = fixture
        .outbox
        .feed(&lease, &everything()[0])
        .await
        .map(|_| ())
        .expect_err("refused");
    assert_eq!(error.failure, StoreFailure::Refused, "{error}");
    let error = fixture.outbox.adopt(&lease, &everything()).await.expect_err("refused");
    assert_eq!(error.failure, StoreFailure::Refused, "{error}");
    assert_eq!(
        fixture.ask::<String>("SELECT pending FROM onewrite_route", []),
        "[1, \"two\"]"
    );
}
