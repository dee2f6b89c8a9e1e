//! Logical messages as events.

use std::collections::BTreeMap;

use onewrite_core::options::Value;
use onewrite_sources::registry::source_type;
use onewrite_testkit::servers::Postgres;
use onewrite_testkit::wait::until;

use super::fixture::{Foreign, Reader, everything, payloads};
use crate::postgres::fixture::Fixture;
use crate::tables::options;

/// A relay over the messages with these prefixes.
async fn messages(prefixes: &[&str]) -> Foreign {
    let server = Postgres::shared(15).await;
    let fixture = Fixture::of(server.database().await).await;
    let texts = [("url", fixture.database.url.as_str()), ("contract", "debezium")];
    let mut options = options(&texts, &[]).expect("texts that fit");
    let source = source_type("postgres").expect("it is built in");
    let field = |name: &str| source.fields.iter().find(|field| field.name == name).expect("a field");
    let prefixes = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
    options.set(field("messages"), Value::List(prefixes));
    let texts = [
        ("key.converter", "org.apache.kafka.connect.storage.StringConverter"),
        ("value.converter", "org.apache.kafka.connect.json.JsonConverter"),
        ("value.converter.schemas.enable", "false"),
    ];
    let texts = texts.map(|(name, text)| (name.to_owned(), text.to_owned()));
    options.set(field("converters"), Value::Map(BTreeMap::from(texts)));
    let opened = source.open(&options).expect("options that fit");
    Foreign {
        fixture: Fixture {
            outbox: opened.outbox,
            ..fixture
        },
        operations: opened.operations,
        server,
    }
}

async fn emit(foreign: &Foreign, transactional: bool, prefix: &str, id: u32, payload: &str) {
    let content = format!(
        "{{\"id\": \"00000000-0000-4000-8000-{id:012}\", \"aggregatetype\": \"Order\", \"aggregateid\": \"{id}\", \"type\": \"Paid\", \
         \"payload\": {{\"n\": {payload}}}}}"
    );
    let emit = "SELECT pg_logical_emit_message($1, $2, $3)";
    let emitted = foreign
        .fixture
        .application
        .query(emit, &[&transactional, &prefix, &content])
        .await;
    emitted.expect("an emitted message");
}

#[tokio::test]
async fn messages_of_the_prefixes_are_events_and_others_are_not() {
    let foreign = messages(&["outbox", "Out\"Box"]).await;
    let mut feed = foreign.feed().await;
    emit(&foreign, true, "outbox", 1, "1").await;
    emit(&foreign, true, "other", 2, "2").await;
    emit(&foreign, false, "Out\"Box", 3, "3").await;
    foreign.sql("BEGIN").await;
    emit(&foreign, true, "outbox", 4, "4").await;
    foreign.sql("ROLLBACK; BEGIN").await;
    emit(&foreign, true, "outbox", 5, "5").await;
    emit(&foreign, true, "outbox", 6, "6").await;
    foreign.sql("COMMIT").await;
    let events = feed.wait_for(4).await;
    assert_eq!(payloads(&events), ["{\"n\":1}", "{\"n\":3}", "{\"n\":5}", "{\"n\":6}"]);
    let event = &events[0].event;
    let record = event.verbatim.as_deref().expect("a record");
    assert_eq!((&*event.topic, event.key.as_deref()), ("outbox.event.Order", Some("1")));
    assert_eq!(record.key.as_deref(), Some(b"1".as_slice()));
    assert_eq!(event.event_type.as_deref(), Some("Paid"));
    assert_eq!(event.id.to_string(), "00000000-0000-4000-8000-000000000001");

    feed.retry(&events[1..2]);
    feed.settle(&[&events[..1], &events[2..3]].concat()).await;
    assert_eq!(
        payloads(&foreign.feed().await.wait_for(2).await),
        ["{\"n\":3}", "{\"n\":6}"]
    );
    drop(feed);
    foreign.end().await;
}

/// The server does not send a message again that ends where the slot stands.
#[tokio::test]
async fn a_message_of_no_transaction_comes_again_after_the_slot_has_moved_as_far_as_it_may() {
    const CONFIRMED: &str = "SELECT (confirmed_flush_lsn - '0/0')::bigint FROM pg_replication_slots \
                             WHERE slot_name = (SELECT slot FROM onewrite.relay)";
    let foreign = messages(&["outbox"]).await;
    let mut feed = foreign.feed().await;
    emit(&foreign, true, "outbox", 1, "1").await;
    let first = feed.wait_for(1).await;
    emit(&foreign, false, "outbox", 2, "2").await;
    let second = feed.wait_for(1).await;
    feed.retry(&second);
    feed.settle(&first).await;
    // Only what is settled held the slot where it stood before; so it stands now where it stays.
    let settled = i64::try_from(first[0].position.generation).expect("a place in the log");
    let moved = until("the slot moves on", async || {
        let confirmed = foreign.number(CONFIRMED).await;
        (confirmed > settled).then_some(confirmed)
    })
    .await;
    let end = i64::try_from(second[0].position.generation).expect("a place in the log");
    drop(feed);
    let mut feed = foreign.feed().await;
    assert_eq!(payloads(&feed.wait_for(1).await), ["{\"n\":2}"]);
    assert!(moved < end, "{moved} is where the message ends, {end}, or beyond");
    drop(feed);
    foreign.end().await;
}

/// One that is written amid a transaction comes before it, and can end where the transaction's commit begins.
#[tokio::test]
async fn a_message_amid_a_transaction_takes_nothing_from_it() {
    let foreign = messages(&["outbox"]).await;
    let mut feed = foreign.feed().await;
    foreign.sql("BEGIN").await;
    emit(&foreign, true, "outbox", 1, "1").await;
    emit(&foreign, false, "outbox", 2, "2").await;
    foreign.sql("COMMIT").await;
    let events = feed.wait_for(2).await;
    assert_eq!(payloads(&events), ["{\"n\":2}", "{\"n\":1}"]);
    assert!(events[0].position.generation <= events[1].position.generation);
    feed.retry(&events[1..]);
    feed.settle(&events[..1]).await;
    drop(feed);
    let mut feed = foreign.feed().await;
    let again = feed.wait_for(1).await;
    assert_eq!((again[0].position, again.len()), (events[1].position, 1));
    drop(feed);
    foreign.end().await;
}

#[tokio::test]
async fn a_message_that_is_no_event_is_found_with_its_defect() {
    let foreign = messages(&["outbox"]).await;
    let lease = foreign.begin(&everything()).await;
    let mut feed: Reader = foreign.fixture.feed_of(&lease, &everything()[0]).await;
    foreign
        .sql("SELECT pg_logical_emit_message(true, 'outbox', 'no JSON')")
        .await;
    emit(&foreign, true, "outbox", 1, "1").await;
    let events = feed.wait_for(2).await;
    let defect = events[0].defect.as_deref().expect("a defect");
    assert!(
        defect.starts_with("the message that begins with \"no JSON\" is no event: "),
        "{defect}"
    );
    assert_eq!((payloads(&events)[0].as_str(), &events[1].defect), ("no JSON", &None));
    // The same one in every run.
    let mut again = foreign.fixture.feed_of(&lease, &everything()[0]).await;
    assert_eq!(again.wait_for(2).await[0].event.id, events[0].event.id);
    drop((feed, again));
    foreign.end().await;
}
