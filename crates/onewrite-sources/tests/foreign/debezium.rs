//! Debezium's table, both ways of using it, over the log and by polling.

use onewrite_core::event::Verbatim;
use onewrite_core::store::{ParkedEdit, ParkedFilter};
use serde_json::json;

use super::fixture::{Foreign, Map, everything, payloads, poison, routes, told};

const TABLE: &str = "CREATE TABLE outbox (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), aggregatetype varchar(255) NOT NULL, \
                     aggregateid varchar(255) NOT NULL, type varchar(255) NOT NULL, payload jsonb, seq bigserial, place int)";

const CONVERTERS: Map<'static> = (
    "converters",
    &[
        ("key.converter", "org.apache.kafka.connect.storage.StringConverter"),
        ("value.converter", "org.apache.kafka.connect.storage.StringConverter"),
    ],
);

const ROUTER: Map<'static> = (
    "router",
    &[
        (
            "table.fields.additional.placement",
            "type:header:eventType,place:partition",
        ),
        ("route.tombstone.on.empty.payload", "true"),
    ],
);

const CONTRACT: [(&str, &str); 2] = [("contract", "debezium"), ("table", "outbox")];

async fn insert(foreign: &Foreign, aggregate: &str, id: &str, payload: Option<&str>, place: Option<i32>) {
    let sql = "INSERT INTO outbox (aggregatetype, aggregateid, type, payload, place) VALUES ($1, $2, 'Paid', $3::text::jsonb, $4)";
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 4] = [&aggregate, &id, &payload, &place];
    foreign
        .fixture
        .application
        .execute(sql, &parameters)
        .await
        .expect("an inserted row");
}

/// Checks the records of rows that both feeds must make alike.
fn check(events: &[onewrite_core::Sourced]) {
    assert_eq!(payloads(events), ["{\"a\": 1}", ""]);
    let event = &events[0].event;
    assert_eq!(
        (&*event.topic, event.key.as_deref()),
        ("outbox.event.Order", Some("42"))
    );
    assert_eq!(event.event_type.as_deref(), Some("Paid"));
    let record = event.verbatim.as_deref().expect("a record");
    let headers: Vec<_> = record
        .headers
        .iter()
        .map(|(name, value)| (&**name, value.as_deref()))
        .collect();
    let id = event.id.to_string();
    assert_eq!(
        headers,
        [("id", Some(id.as_bytes())), ("eventType", Some(b"Paid".as_slice()))]
    );
    assert_eq!(
        (record.key.as_deref(), record.partition, record.tombstone),
        (Some(b"42".as_slice()), Some(2), false)
    );
    let record = events[1].event.verbatim.as_deref().expect("a record");
    assert_eq!((record.partition, record.tombstone), (None, true));
    assert_eq!((&events[0].defect, &events[1].defect), (&None, &None));
}

#[tokio::test]
async fn rows_that_stay_and_rows_that_vanish_come_over_the_log() {
    let foreign = Foreign::new(TABLE, &CONTRACT, &[CONVERTERS, ROUTER]).await;
    let mut feed = foreign.feed().await;
    insert(&foreign, "Order", "42", Some("{\"a\": 1}"), Some(2)).await;
    foreign.sql("BEGIN").await;
    insert(&foreign, "Order", "42", None, None).await;
    foreign.sql("DELETE FROM outbox WHERE payload IS NULL; COMMIT").await;
    check(&feed.wait_for(2).await);
    // Not an event, and not an error: Debezium only warns of it.
    foreign.sql("UPDATE outbox SET aggregateid = '43'").await;
    insert(&foreign, "Order", "44", Some("{}"), None).await;
    assert_eq!(payloads(&feed.wait_for(1).await), ["{}"]);
    drop(feed);
    foreign.end().await;
}

#[tokio::test]
async fn rows_that_stay_can_be_polled() {
    let texts = [
        CONTRACT.as_slice(),
        &[("feed", "poll"), ("settle", "delete"), ("order_by", "seq")],
    ]
    .concat();
    let foreign = Foreign::new(TABLE, &texts, &[CONVERTERS, ROUTER]).await;
    insert(&foreign, "Order", "42", Some("{\"a\": 1}"), Some(2)).await;
    insert(&foreign, "Order", "42", None, None).await;
    let mut feed = foreign.feed().await;
    let events = feed.batch().await;
    check(&events);
    feed.settle(&events).await;
    assert_eq!(foreign.number("SELECT count(*) FROM outbox").await, 0);
}

#[tokio::test]
async fn several_routes_share_polled_rows_where_the_topic_can_be_told() {
    let texts = [CONTRACT.as_slice(), &[("settle", "delete"), ("order_by", "seq")]].concat();
    let replacement = (
        "router",
        &[("route.topic.replacement", "shop.${routedByValue}.it's")] as &[_],
    );
    let foreign = Foreign::new(TABLE, &texts, &[CONVERTERS, replacement]).await;
    insert(&foreign, "Order", "1", Some("1"), None).await;
    insert(&foreign, "Invoice", "2", Some("2"), None).await;
    let shares = routes(&[("orders", "shop.Order.it's"), ("rest", "*")]);
    let lease = foreign.begin(&shares).await;
    for (share, expected) in shares.iter().zip(["1", "2"]) {
        let mut feed = foreign.fixture.feed_of(&lease, share).await;
        assert_eq!(payloads(&feed.batch().await), [expected]);
    }
    let pattern = ("router", &[("route.topic.regex", "(?<routedByValue>O.*)")] as &[_]);
    let other =
        super::fixture::open(&foreign.fixture.database, &texts, &[CONVERTERS, pattern]).expect("options that fit");
    assert_eq!(
        told(other.outbox.adopt(&lease, &shares).await),
        "source.router: with a regular expression of its own the router's topics cannot be told in SQL, and several routes cannot share \
         polled rows; give one route everything, or use settle = \"nothing\""
    );
}

#[tokio::test]
async fn what_debezium_would_stop_at_is_found_with_its_defect() {
    let fatal = (
        "router",
        &[
            ("table.op.invalid.behavior", "fatal"),
            ("table.fields.additional.placement", "place:partition"),
        ] as &[_],
    );
    let foreign = Foreign::new(TABLE, &CONTRACT, &[CONVERTERS, fatal]).await;
    let mut feed = foreign.feed().await;
    insert(&foreign, "Order", "42", Some("{\"a\": 1}"), Some(-1)).await;
    foreign.sql("UPDATE outbox SET place = 1").await;
    insert(&foreign, "Order", "43", Some("{}"), None).await;
    let events = feed.wait_for(3).await;
    let defects: Vec<_> = events.iter().map(|sourced| sourced.defect.as_deref()).collect();
    assert_eq!(
        defects,
        [
            Some("place is the partition -1, and there are none below 0"),
            Some("a row of the outbox was updated; its rows are only inserted and deleted"),
            None
        ]
    );
    assert_eq!(events[0].event.key.as_deref(), Some("42"));
    assert!(
        payloads(&events)[0].contains("\"aggregatetype\":\"Order\""),
        "{:?}",
        payloads(&events)
    );
    // The update has a place of its own between the inserts.
    feed.settle(&[events[0].clone(), events[2].clone()]).await;
    assert_eq!(foreign.feed().await.wait_for(2).await.len(), 2);
    drop(feed);
    foreign.end().await;
}

#[tokio::test]
async fn a_record_that_was_set_aside_comes_back_to_the_byte() {
    let texts = [CONTRACT.as_slice(), &[("settle", "delete"), ("order_by", "seq")]].concat();
    let foreign = Foreign::new(TABLE, &texts, &[CONVERTERS, ROUTER]).await;
    insert(&foreign, "Order", "42", Some("{\"a\": 1}"), Some(2)).await;
    insert(&foreign, "Order", "42", None, None).await;
    let lease = foreign.begin(&everything()).await;
    let share = &everything()[0];
    let mut feed = foreign.fixture.feed_of(&lease, share).await;
    let events = feed.batch().await;
    for event in &events {
        feed.park(event, poison("no")).await;
    }
    feed.settle(&events).await;
    let retry = async || {
        let retried = foreign.operations.retry(&ParkedFilter::default()).await;
        retried.expect("a retry")
    };
    retry().await;
    let mut redeliveries = foreign.fixture.redeliveries(&lease, share).await;
    let again = redeliveries.batch().await;
    let records = |events: &[onewrite_core::Sourced]| -> Vec<Option<Box<Verbatim>>> {
        events.iter().map(|sourced| sourced.event.verbatim.clone()).collect()
    };
    assert_eq!(records(&again), records(&events));
    assert_eq!(payloads(&again), payloads(&events));
    for event in &again {
        redeliveries.park(event, poison("still no")).await;
    }
    drop(redeliveries);

    // Mended: the tombstone gets a value, and the headers are others.
    let parked = foreign
        .operations
        .parked(&ParkedFilter::default())
        .await
        .expect("a list");
    let edit = ParkedEdit {
        payload: Some(b"{}".to_vec()),
        headers: Some(json!({"mended": "ä"})),
        ..ParkedEdit::default()
    };
    assert!(foreign.operations.edit(parked[1].id, &edit).await.expect("an edit"));
    retry().await;
    let mut redeliveries = foreign.fixture.redeliveries(&lease, share).await;
    let mended = redeliveries.batch().await.remove(1).event;
    let record = mended.verbatim.expect("a record");
    assert_eq!((record.tombstone, &mended.payload[..]), (false, b"{}".as_slice()));
    assert_eq!(record.key.as_deref(), Some(b"42".as_slice()));
    let headers: Vec<_> = record
        .headers
        .iter()
        .map(|(name, value)| (&**name, value.as_deref()))
        .collect();
    assert_eq!(headers, [("mended", Some("ä".as_bytes()))]);
}
