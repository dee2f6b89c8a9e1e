//! What formats are on the wire of a real Kafka.

use onewrite_core::options::Options;
use onewrite_core::{Event, SinkConnector};
use onewrite_sinks::kafka;
use onewrite_testkit::servers::{Kafka, Record, SchemaRegistry};
use serde_json::Value;
use std::sync::Arc;

use crate::support::{deliver, event, format, sink};

fn connector(kafka: &Kafka) -> Arc<dyn SinkConnector> {
    let bootstrap = kafka.bootstrap();
    let options = Options::from_texts("sinks.events", kafka::FIELDS, &[("brokers", &bootstrap)]).unwrap();
    kafka::build(&options).unwrap()
}

/// The records of a new topic of this name, by key.
async fn records(topic: &str, kind: &str, options: &[(&str, &str)], batch: &[Event]) -> Vec<Record> {
    let kafka = Kafka::shared().await;
    kafka.create_topic(topic, 1, &[]).await;
    let sink = sink(connector(&kafka), Some(format(kind, options)), Some(topic)).await;
    let (result, words) = deliver(&*sink, batch).await;
    result.unwrap();
    assert!(words.iter().all(|word| word == "delivered"), "{words:?}");
    sink.close().await.unwrap();
    kafka.read_all(topic).await
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_cloudevents_are_those_of_kafkas_binding() {
    let batch = [event(1, Some("größe"), "{\"n\":1}"), event(2, None, "2")];
    let records = records("binary", "cloudevents", &[], &batch).await;
    let first = &records[0];
    assert_eq!(first.key.as_deref(), Some("größe".as_bytes()));
    assert_eq!(first.value.as_deref(), Some(&b"{\"n\":1}"[..]));
    for (name, value) in [
        ("ce_specversion", "1.0"),
        ("ce_id", "00000000-0000-0000-0000-000000000001"),
        ("ce_type", "OrderPlaced"),
        ("ce_source", "/onewrite/orders"),
        ("ce_subject", "größe"),
        ("ce_time", "2026-01-31T12:00:00.500000Z"),
        ("ce_partitionkey", "größe"),
        ("ce_traceparent", "00-ab"),
        ("content-type", "application/json"),
        ("traceparent", "00-ab"),
    ] {
        assert_eq!(first.header(name), Some(value), "{name}");
    }
    assert_eq!(first.headers.len(), 10, "{:?}", first.headers);
    assert_eq!(records[1].header("ce_partitionkey"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn structured_cloudevents_are_documents_that_the_sdk_reads() {
    let batch = [event(1, Some("a"), "{\"n\":1}")];
    let records = records("structured", "cloudevents", &[("mode", "structured")], &batch).await;
    let content_type = records[0].header("content-type");
    assert_eq!(content_type, Some("application/cloudevents+json; charset=utf-8"));
    let read: cloudevents::Event = serde_json::from_slice(records[0].value.as_deref().unwrap()).unwrap();
    assert_eq!(cloudevents::AttributesReader::subject(&read), Some("a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn avro_is_framed_with_the_registrys_number() {
    let registry = SchemaRegistry::shared().await;
    let schema = r#"{"type":"record","name":"Wire","fields":[{"name":"n","type":"long"}]}"#;
    let id = registry.register("wire-avro-value", "AVRO", schema, &[]).await;
    let batch = [event(1, Some("a"), "{\"n\":150}")];
    let records = records("wire-avro", "avro", &[("registry", &registry.url())], &batch).await;
    let mut expected = vec![0];
    expected.extend(id.to_be_bytes());
    expected.extend([0xac, 0x02]);
    assert_eq!(records[0].value.as_deref(), Some(&expected[..]));
    assert_eq!(
        records[0].header("content-type"),
        Some("application/vnd.confluent.avro")
    );
    assert_eq!(
        records[0].header("onewrite-id"),
        Some("00000000-0000-0000-0000-000000000001")
    );
}

/// The same rows through a real Debezium, as the tests of its contract have recorded them.
#[tokio::test(flavor = "multi_thread")]
async fn debezium_is_what_debezium_wrote() {
    let recording = include_str!("../../../onewrite-sources/tests/debezium/recorded/standard-strings.json");
    let recording: Value = serde_json::from_str(recording).unwrap();
    let (rows, recorded) = (
        recording["rows"].as_array().unwrap(),
        recording["records"].as_array().unwrap(),
    );
    // A payload of null is none that an event can have.
    let pairs: Vec<_> = rows
        .iter()
        .zip(recorded)
        .filter(|(_, record)| !record["value"].is_null())
        .collect();
    assert!(!pairs.is_empty());
    let text = |row: &Value, column: usize| row["values"][column]["text"].as_str().unwrap().to_owned();
    let events: Vec<Event> = pairs
        .iter()
        .map(|(row, _)| Event {
            id: text(row, 0).parse().unwrap(),
            key: Some(text(row, 2).into()),
            event_type: Some(text(row, 3).into()),
            payload: text(row, 4).into(),
            headers: Vec::new(),
            ..event(1, None, "")
        })
        .collect();
    let written = records("outbox", "debezium", &[("headers", "eventType={type}")], &events).await;
    for (record, (_, recorded)) in written.iter().zip(&pairs) {
        assert_eq!(record.key.as_deref(), recorded["key"].as_str().map(str::as_bytes));
        assert_eq!(record.value.as_deref(), recorded["value"].as_str().map(str::as_bytes));
        let headers = recorded["headers"].as_array().unwrap().iter();
        let headers: Vec<_> = headers
            .map(|header| (header[0].as_str().unwrap(), header[1].as_str()))
            .filter(|(name, _)| !name.starts_with("__debezium.context."))
            .collect();
        let own: Vec<_> = record
            .headers
            .iter()
            .map(|(name, _)| (&**name, record.header(name)))
            .collect();
        assert_eq!(own, headers);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_is_the_body_and_the_headers_stay() {
    let records = records("envelopes", "json", &[], &[event(1, Some("a"), "{\"n\":1}")]).await;
    let body: Value = serde_json::from_slice(records[0].value.as_deref().unwrap()).unwrap();
    assert_eq!(
        (&body["topic"], &body["payload"]["n"]),
        (&"envelopes".into(), &1.into())
    );
    assert_eq!(records[0].header("content-type"), Some("application/json"));
    assert_eq!(records[0].header("onewrite-topic"), Some("envelopes"));
}
