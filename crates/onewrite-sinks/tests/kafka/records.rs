//! What a record looks like, where it goes, and how much fits through.

use bytes::Bytes;
use krafka::testing::{ApiKey, FakeBroker};
use onewrite_core::{Action, Event};

use super::{fake, id, log, sink, to};
use crate::support::{deliver, event, events, word, words};

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_the_event() {
    let broker = fake("shop.orders", 1).await;
    let sink = sink(&broker, &[]).await;
    let mut first = event(1, Some("42"));
    first.headers = vec![
        ("traceparent".into(), "00-ab".into()),
        ("content-type".into(), "mine".into()),
    ];
    let mut second = event(2, None);
    second.payload = Bytes::new();
    second.event_type = None;
    second.key = None;
    let (result, outcomes) = deliver(&*sink, &[first.clone(), second]).await;
    assert!(result.is_ok());
    assert_eq!(words(&outcomes), ["delivered"; 2]);

    let records = broker.all_records("shop.orders").unwrap();
    let headers: Vec<_> = records[0]
        .headers
        .iter()
        .map(|(name, value)| {
            (
                name.clone(),
                String::from_utf8_lossy(value.as_ref().unwrap()).into_owned(),
            )
        })
        .collect();
    let expected = [
        ("traceparent", "00-ab"),
        ("onewrite-id", "00000000-0000-0000-0000-000000000001"),
        ("onewrite-topic", "shop.orders"),
        ("onewrite-type", "OrderPlaced"),
        ("onewrite-occurred-at", "2023-11-14T22:13:20.000001Z"),
        ("content-type", "application/json"),
    ];
    assert_eq!(
        headers,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    assert_eq!(records[0].key.as_deref(), Some(&b"42"[..]));
    assert_eq!(records[0].value.as_deref(), Some(&first.payload[..]));
    assert_eq!(records[0].timestamp, 1_700_000_000_000);
    assert_eq!(records[1].key, None);
    assert_eq!(
        records[1].value.as_deref(),
        Some(&b""[..]),
        "an empty body is no tombstone"
    );
    assert!(records[1].headers.iter().all(|(name, _)| name != "onewrite-type"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_go_where_java_sends_them_and_events_without_a_key_go_everywhere() {
    let broker = fake("shop.orders", 5).await;
    let sink = sink(&broker, &[]).await;
    // murmur2 of these texts, as Java's client has it, made positive, modulo 5.
    let hashes: [(&str, i32); 4] = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("abc", 479_470_107),
        ("a-little-bit-long-string", -985_981_536),
    ];
    let keyed: Vec<Event> = (1..)
        .zip(hashes)
        .map(|(number, (key, _))| event(number, Some(key)))
        .collect();
    assert!(deliver(&*sink, &keyed).await.0.is_ok());
    for record in broker.all_records("shop.orders").unwrap() {
        let key = record.key.clone().unwrap();
        let (_, hash) = hashes.iter().find(|(text, _)| text.as_bytes() == key).unwrap();
        assert_eq!(record.partition, (hash & i32::MAX) % 5, "{key:?}");
    }
    for number in 100..110 {
        assert!(deliver(&*sink, &[event(number, None)]).await.0.is_ok());
    }
    let all = broker.all_records("shop.orders").unwrap();
    for partition in 0..5 {
        let unkeyed = all
            .iter()
            .filter(|record| record.partition == partition && record.key.is_none());
        assert_eq!(unkeyed.count(), 2, "partition {partition}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_larger_than_the_room_goes_through_and_an_event_larger_than_it_too() {
    let broker = fake("shop.orders", 3).await;
    let sink = sink(&broker, &[("compression", "none")]).await;
    let mut batch = events(60, &["a", "b", "c", "d", "e"]);
    for event in &mut batch {
        event.payload = Bytes::from(vec![7; 500_000]);
    }
    batch[30].payload = Bytes::from(vec![7; 12_000_000]);
    let (result, outcomes) = deliver(&*sink, &batch).await;
    assert!(result.is_ok(), "{result:?}");
    assert!(outcomes.iter().all(|outcome| word(outcome) == "delivered"));
    let records = broker.all_records("shop.orders").unwrap();
    assert_eq!(records.len(), 60);
    assert!(
        records
            .iter()
            .any(|record| record.value.as_ref().unwrap().len() == 12_000_000)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_events_share_few_requests() {
    let broker = fake("shop.orders", 1).await;
    let sink = sink(&broker, &[]).await;
    let batch = events(5_000, &["a", "b", "c"]);
    let (result, _) = deliver(&*sink, &batch).await;
    assert!(result.is_ok());
    assert_eq!(log(&broker, "shop.orders").len(), 5_000);
    let requests = broker.request_count(ApiKey::Produce);
    assert!(requests < 200, "{requests} requests for 5000 events");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_created_on_demand_where_the_brokers_do_so() {
    let broker = FakeBroker::start().await.unwrap();
    broker.with_state(|state| state.auto_create_topics = true);
    let sink = sink(&broker, &[]).await;
    let (result, outcomes) = deliver(&*sink, &[event(1, Some("a"))]).await;
    assert!(result.is_ok());
    assert_eq!(words(&outcomes), ["delivered"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_partitions_are_noticed_with_a_new_sink() {
    let broker = fake("shop.orders", 1).await;
    let connector = super::connector(&broker.bootstrap_servers(), &[]);
    let before = connector.connect().await.unwrap();
    assert!(deliver(&*before, &[event(1, Some("foobar"))]).await.0.is_ok());
    broker.add_partitions("shop.orders", 4);
    before.close().await.unwrap();
    let after = connector.connect().await.unwrap();
    assert!(deliver(&*after, &[event(2, Some("foobar"))]).await.0.is_ok());
    let records = broker.all_records("shop.orders").unwrap();
    let partitions: Vec<_> = records
        .iter()
        .map(|record| (id(record).as_u128(), record.partition))
        .collect();
    assert_eq!(partitions, [(1, 0), (2, (-790_332_482 & i32::MAX) % 4)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_changes_topics_waits_for_the_topic_before() {
    let broker = fake("shop.orders", 1).await;
    broker.create_topic("shop.mail", 1);
    let sink = sink(&broker, &[]).await;
    let batch: Vec<Event> = events(30, &["a", "b"])
        .into_iter()
        .enumerate()
        .map(|(at, event)| if at % 3 == 0 { to("shop.mail", event) } else { event })
        .collect();
    let (result, outcomes) = deliver(&*sink, &batch).await;
    assert!(result.is_ok());
    assert!(outcomes.iter().all(|outcome| word(outcome) == "delivered"));
    assert_eq!(log(&broker, "shop.mail").len(), 10);
    assert_eq!(log(&broker, "shop.orders").len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_twice_is_harmless_and_a_closed_sink_delivers_nothing() {
    let broker = fake("shop.orders", 1).await;
    let sink = sink(&broker, &[]).await;
    sink.close().await.unwrap();
    sink.close().await.unwrap();
    let (result, outcomes) = deliver(&*sink, &[event(1, Some("a"))]).await;
    assert_eq!(result.unwrap_err().action, Action::Reconnect);
    assert_eq!(words(&outcomes), ["unknown"]);
    assert!(log(&broker, "shop.orders").is_empty());
}
