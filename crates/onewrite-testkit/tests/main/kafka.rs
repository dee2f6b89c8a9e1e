use std::time::Duration;

use onewrite_testkit::servers::Kafka;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::types::RDKafkaErrorCode;

async fn produce(bootstrap: &str, topic: &str, key: &str, value: &str) {
    let mut config = ClientConfig::new();
    let producer: FutureProducer = config.set("bootstrap.servers", bootstrap).create().expect("a producer");
    let headers = OwnedHeaders::new().insert(Header {
        key: "onewrite-id",
        value: Some("7"),
    });
    let record = FutureRecord::to(topic)
        .key(key)
        .payload(value)
        .headers(headers)
        .timestamp(1_000);
    producer.send(record, Duration::from_secs(60)).await.expect("produce");
}

#[tokio::test]
async fn what_is_produced_is_read_back_through_every_kind_of_stop() {
    let kafka = Kafka::start(&[]).await;
    let topic = "orders";
    kafka.create_topic(topic, 3, &[]).await;
    assert_eq!(kafka.read_all(topic).await, []);
    let bootstrap = kafka.bootstrap();
    produce(&bootstrap, topic, "a", "first").await;
    kafka.kill9().await;
    kafka.restart().await;
    produce(&kafka.client_bootstrap(), topic, "a", "second").await;
    kafka.restart().await;
    assert_eq!(kafka.bootstrap(), bootstrap);

    let records = kafka.read_all(topic).await;
    let values: Vec<_> = records
        .iter()
        .map(|record| record.value.as_deref().expect("a body"))
        .collect();
    assert_eq!(values, [b"first".as_slice(), b"second"]);
    assert_eq!(records[0].partition, records[1].partition);
    assert_eq!((records[0].offset, records[1].offset), (0, 1));
    assert_eq!(records[1].key.as_deref(), Some(b"a".as_slice()));
    assert_eq!(records[1].header("onewrite-id"), Some("7"));
    assert_eq!(records[1].timestamp, Some(1_000));
    assert_eq!(kafka.count(topic).await, 2);
}

#[tokio::test]
async fn a_stopped_broker_answers_when_it_is_continued() {
    let kafka = Kafka::start(&[]).await;
    kafka.create_topic("orders", 1, &[]).await;
    kafka.stop();
    let bootstrap = kafka.bootstrap();
    let mut delivery = std::pin::pin!(produce(&bootstrap, "orders", "a", "late"));
    let silence = tokio::time::timeout(Duration::from_millis(500), &mut delivery).await;
    assert!(silence.is_err(), "a stopped broker answered");
    kafka.continue_();
    delivery.await;
    assert_eq!(kafka.read_all("orders").await.len(), 1);
}

#[tokio::test]
async fn the_shared_broker_is_one_and_has_the_topics_that_tests_create() {
    let kafka = Kafka::shared().await;
    kafka
        .create_topic("shared-one", 2, &[("max.message.bytes", "2000")])
        .await;
    assert_eq!(Kafka::shared().await.pid(), kafka.pid());
    let described = kafka
        .tool(
            "org.apache.kafka.tools.TopicCommand",
            &["--describe", "--topic", "shared-one"],
        )
        .await;
    assert!(described.contains("PartitionCount: 2"), "{described}");
    assert!(described.contains("max.message.bytes=2000"), "{described}");
    let missing = produce_to_missing_topic(&kafka.bootstrap()).await;
    assert!(
        matches!(
            missing,
            RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition
        ),
        "{missing}"
    );
}

async fn produce_to_missing_topic(bootstrap: &str) -> RDKafkaErrorCode {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("topic.metadata.propagation.max.ms", "0");
    let producer: FutureProducer = config.create().expect("a producer");
    let record = FutureRecord::<str, str>::to("never-created").payload("lost");
    let (error, _) = producer
        .send(record, Duration::from_secs(60))
        .await
        .expect_err("topics are not created by themselves");
    error.rdkafka_error_code().expect("a code")
}
