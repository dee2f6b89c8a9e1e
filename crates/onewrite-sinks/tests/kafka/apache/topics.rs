//! What real topics take and refuse.

use onewrite_core::sink::FindingLevel;
use onewrite_core::{Action, Outcome};
use onewrite_testkit::servers::Kafka;

use super::log;
use crate::kafka::driver::{Driver, check};
use crate::kafka::{connector, to};
use crate::support::{deliver, event, events, words};

/// Text that no compression makes much smaller.
fn noise(length: usize) -> bytes::Bytes {
    let mut random = fastrand::Rng::with_seed(length as u64);
    (0..length).map(|_| random.u8(..)).collect::<Vec<u8>>().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn records_arrive_exactly_and_where_java_would_send_them() {
    let kafka = Kafka::shared().await;
    kafka.create_topic("exact", 7, &[]).await;
    let sink = connector(&kafka.bootstrap(), &[]).connect().await.unwrap();
    let hashes: [(&str, i32); 3] = [("foobar", -790_332_482), ("abc", 479_470_107), ("21", -973_932_308)];
    let mut batch: Vec<_> = (1..)
        .zip(hashes)
        .map(|(number, (key, _))| to("exact", event(number, Some(key))))
        .collect();
    batch[1].payload = noise(10_000);
    batch[2].payload = bytes::Bytes::new();
    batch.push(to("exact", event(4, None)));
    let (result, outcomes) = deliver(&*sink, &batch).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(words(&outcomes), ["delivered"; 4]);
    let records = kafka.read_all("exact").await;
    for (event, (key, hash)) in batch.iter().zip(hashes) {
        let record = records
            .iter()
            .find(|record| record.key.as_deref() == Some(key.as_bytes()))
            .unwrap();
        assert_eq!(record.partition, (hash & i32::MAX) % 7);
        assert_eq!(record.value.as_deref(), Some(&event.payload[..]));
        assert_eq!(record.timestamp, Some(1_700_000_000_000));
        let header = |name| record.header(name).unwrap_or_default();
        assert_eq!(header("onewrite-id"), event.id.to_string());
        assert_eq!(header("onewrite-occurred-at"), "2023-11-14T22:13:20.000001Z");
        assert_eq!(header("onewrite-type"), "OrderPlaced");
    }
    assert!(records.iter().any(|record| record.key.is_none()));
    sink.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_missing_parks_its_events() {
    let kafka = Kafka::shared().await;
    kafka.create_topic("there", 1, &[]).await;
    let sink = connector(&kafka.bootstrap(), &[]).connect().await.unwrap();
    let batch = [
        to("there", event(1, Some("a"))),
        to("not-there", event(2, Some("a"))),
        to("there", event(3, Some("a"))),
        to("there", event(4, Some("b"))),
    ];
    let (result, outcomes) = deliver(&*sink, &batch).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(words(&outcomes), ["delivered", "park", "unknown", "delivered"]);
    let Outcome::Failed(error) = &outcomes[1] else { panic!() };
    assert!(
        error
            .to_string()
            .contains("topic not-there: Broker: Unknown topic or partition"),
        "{error}"
    );
    assert_eq!(log(&kafka, "there").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_takes_little_gets_small_requests_and_only_what_is_too_large_is_parked() {
    let kafka = Kafka::shared().await;
    for (topic, compression) in [("little-plain", "none"), ("little-lz4", "lz4")] {
        kafka.create_topic(topic, 1, &[("max.message.bytes", "5000")]).await;
        let connector = connector(&kafka.bootstrap(), &[("compression", compression)]);
        let mut batch: Vec<_> = events(600, &["a", "b", "c", "d"])
            .into_iter()
            .map(|event| to(topic, event))
            .collect();
        batch[200].payload = noise(9_000);
        batch[301].payload = noise(4_000);
        let mut driver = Driver::new(connector, &batch, 1);
        driver.run().await;
        let parked: Vec<_> = driver.parked.iter().map(|(id, _)| *id).collect();
        assert_eq!(parked, [batch[200].id], "{:?}", driver.parked);
        assert!(driver.parked[0].1.contains("max.message.bytes"), "{:?}", driver.parked);
        assert_eq!(check(&batch, &log(&kafka, topic).await, &driver.parked), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_the_topic_refuses_is_parked_and_its_neighbours_are_not() {
    let kafka = Kafka::shared().await;
    kafka
        .create_topic("compacted", 1, &[("cleanup.policy", "compact")])
        .await;
    let connector = connector(&kafka.bootstrap(), &[]);
    let sink = connector.connect().await.unwrap();
    assert!(deliver(&*sink, &[to("compacted", event(1, Some("a")))]).await.0.is_ok());
    // A compacted topic takes no record without a key.
    let mut left: Vec<_> = (2..40)
        .map(|number| to("compacted", event(number, (number != 20).then_some("a"))))
        .collect();
    let mut sink = sink;
    let mut parked = Vec::new();
    for _ in 0..6 {
        let (result, outcomes) = deliver(&*sink, &left).await;
        let mut rest = Vec::new();
        for (event, outcome) in left.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Delivered => {}
                Outcome::Failed(error) if error.action == Action::Park => parked.push((event.id, error.to_string())),
                _ => rest.push(event),
            }
        }
        left = rest;
        if result.is_err() {
            sink.close().await.unwrap();
            sink = connector.connect().await.unwrap();
        }
    }
    assert!(left.is_empty(), "{} are left", left.len());
    assert_eq!(parked.len(), 1, "{parked:?}");
    assert_eq!(parked[0].0.as_u128(), 20);
    assert!(
        parked[0].1.contains("topic compacted, partition 0: Broker: "),
        "{parked:?}"
    );
    let ids: Vec<u128> = log(&kafka, "compacted").await.iter().map(|id| id.as_u128()).collect();
    assert_eq!(ids, (1..40).filter(|number| *number != 20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_tells_what_a_person_should_know_of_topics() {
    let kafka = Kafka::shared().await;
    kafka
        .create_topic(
            "probed",
            2,
            &[("max.message.bytes", "5000"), ("min.insync.replicas", "2")],
        )
        .await;
    let connector = connector(&kafka.bootstrap(), &[]);
    let findings = connector.probe(&["probed".into(), "never-made".into()]).await;
    let told = |level, text: &str| {
        let found = findings
            .iter()
            .any(|finding| finding.level == level && finding.message.contains(text));
        assert!(found, "{text}: {findings:#?}");
    };
    told(FindingLevel::Warning, "answers with 1 broker");
    told(FindingLevel::Works, "2 partitions, 1 replicas");
    told(FindingLevel::Warning, "has one replica");
    told(
        FindingLevel::Warning,
        "min.insync.replicas is 2 but there are 1 replicas",
    );
    told(FindingLevel::Works, "takes events of up to 5000 bytes");
    told(FindingLevel::Broken, "the brokers create none by themselves");
}
