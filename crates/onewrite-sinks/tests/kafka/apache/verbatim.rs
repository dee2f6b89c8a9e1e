//! Records that the source's contract lays down to the byte.

use bytes::Bytes;
use onewrite_core::event::Verbatim;
use onewrite_core::{Event, Outcome};
use onewrite_testkit::servers::{Kafka, Record};

use crate::kafka::{connector, to};
use crate::support::{deliver, event, words};

fn verbatim(topic: &str, number: u128, key: Option<&str>, verbatim: Verbatim) -> Event {
    Event {
        verbatim: Some(Box::new(verbatim)),
        ..to(topic, event(number, key))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_written_to_the_byte() {
    let kafka = Kafka::shared().await;
    kafka.create_topic("verbatim", 5, &[]).await;
    let sink = connector(&kafka.bootstrap(), &[]).connect().await.unwrap();
    let full = Verbatim {
        key: Some(Bytes::from_static(b"\"foobar\"")),
        tombstone: false,
        headers: vec![
            ("id".into(), Some(Bytes::from_static(b"\0\xff"))),
            ("none".into(), None),
            ("empty".into(), Some(Bytes::new())),
            ("id".into(), Some(Bytes::from_static(b"again"))),
        ],
        partition: Some(4),
        timestamp: Some(1_600_000_000_123),
    };
    let tombstone = Verbatim {
        key: Some(Bytes::from_static(b"foobar")),
        tombstone: true,
        ..Verbatim::default()
    };
    let batch = [
        verbatim("verbatim", 1, Some("a"), full.clone()),
        verbatim("verbatim", 2, Some("b"), tombstone),
        verbatim("verbatim", 3, None, Verbatim::default()),
    ];
    let (result, outcomes) = deliver(&*sink, &batch).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(words(&outcomes), ["delivered"; 3]);
    let records = kafka.read_all("verbatim").await;
    let of = |key: Option<&[u8]>| -> &Record {
        records
            .iter()
            .find(|record| record.key.as_deref() == key)
            .expect("a record")
    };
    let record = of(full.key.as_deref());
    let headers: Vec<_> = full
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.as_ref().map(|value| value.to_vec())))
        .collect();
    assert_eq!(record.headers, headers);
    assert_eq!((record.partition, record.timestamp), (4, Some(1_600_000_000_123)));
    assert_eq!(record.value.as_deref(), Some(&batch[0].payload[..]));
    let record = of(Some(b"foobar"));
    // Where Java's client would send the record's own key, at the time of the event.
    assert_eq!(record.partition, (-790_332_482 & i32::MAX) % 5);
    assert_eq!(
        (record.value.as_deref(), record.timestamp),
        (None, Some(1_700_000_000_000))
    );
    assert_eq!((record.headers.len(), of(None).headers.len()), (0, 0));
    sink.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_not_there_parks_the_event_and_stops_its_key() {
    let kafka = Kafka::shared().await;
    kafka.create_topic("few", 3, &[]).await;
    let sink = connector(&kafka.bootstrap(), &[]).connect().await.unwrap();
    let to_partition = |number, key, partition| {
        let record = Verbatim {
            partition: Some(partition),
            ..Verbatim::default()
        };
        verbatim("few", number, Some(key), record)
    };
    // One key goes from partition to partition, each record after the answer to the one before.
    let mut batch: Vec<_> = (1..=30)
        .map(|number| to_partition(number, "wanders", (number % 3) as i32))
        .collect();
    batch.extend([
        to_partition(31, "a", 3),
        to_partition(32, "a", 0),
        to_partition(33, "b", -1),
    ]);
    let (result, outcomes) = deliver(&*sink, &batch).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(words(&outcomes)[..30], ["delivered"; 30]);
    assert_eq!(words(&outcomes)[30..], ["park", "unknown", "park"]);
    for (at, told) in [
        (30, "asks for partition 3, and the topic has 3"),
        (32, "asks for partition -1"),
    ] {
        let Outcome::Failed(error) = &outcomes[at] else {
            panic!()
        };
        assert!(error.to_string().contains(told), "{error}");
    }
    assert_eq!(kafka.count("few").await, 30);
    sink.close().await.unwrap();
}
