//! Sinks whose wire is JSON documents: files, and HTTP in batches.

use std::sync::Arc;

use onewrite_core::SinkConnector;
use onewrite_core::options::Options;
use onewrite_formats::formatted;
use onewrite_sinks::registry::sink_type;
use serde_json::Value;

use crate::stub::{Answer, Stub};
use crate::support::{deliver, event, format, sink};

fn connector(kind: &str, texts: &[(&str, &str)]) -> Arc<dyn SinkConnector> {
    let sink_type = sink_type(kind).unwrap();
    let options = Options::from_texts("sinks.events", sink_type.fields, texts).unwrap();
    sink_type.build(&options).unwrap()
}

async fn lines(format_kind: &str, options: &[(&str, &str)]) -> Vec<Value> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events");
    let connector = connector("file", &[("path", path.to_str().unwrap())]);
    let sink = sink(connector, Some(format(format_kind, options)), Some("at.{topic}")).await;
    let batch = [event(1, Some("a"), "{\n\"n\": 1}"), event(2, Some("b"), "{\"n\": 2}")];
    let (_, words) = deliver(&*sink, &batch).await;
    assert_eq!(words, ["delivered"; 2]);
    let text = std::fs::read_to_string(&path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_file_holds_each_event_as_one_document() {
    let envelopes = lines("json", &[]).await;
    assert_eq!(envelopes[0]["payload"]["n"], 1, "no envelope in an envelope");
    // As in the body that the format makes before other sinks.
    assert_eq!(envelopes[0]["topic"], "at.orders");
    let events = lines("cloudevents", &[("mode", "structured")]).await;
    assert_eq!(events.len(), 2);
    assert_eq!(
        (&events[1]["specversion"], &events[1]["data"]["n"]),
        (&"1.0".into(), &2.into())
    );
}

#[test]
fn a_body_of_another_kind_is_refused_at_the_start() {
    let file = || connector("file", &[("path", "/tmp/never-opened")]);
    let batches = || connector("http", &[("url", "http://127.0.0.1:1/"), ("mode", "batch")]);
    for (connector, format) in [
        (file(), format("debezium", &[])),
        (file(), format("cloudevents", &[])),
        (batches(), format("avro", &[("registry", "http://127.0.0.1:1")])),
        (batches(), format("cloudevents", &[])),
    ] {
        let (kind, sink) = (format.kind(), connector.kind());
        let words = formatted(connector, Some(format), None).err().unwrap().to_string();
        assert!(words.contains(&format!("no body of the format {kind:?}")), "{words}");
        assert_eq!(
            words.ends_with("or set its mode to \"event\""),
            sink == "http",
            "{words}"
        );
    }
    let single = connector("http", &[("url", "http://127.0.0.1:1/")]);
    assert!(formatted(single, Some(format("cloudevents", &[])), None).is_ok());
}

#[tokio::test]
async fn http_sends_a_batch_of_cloudevents() {
    let receiver = Stub::answering(|_| Answer::new(204, "")).await;
    let url = receiver.url();
    let connector = connector("http", &[("url", &url), ("mode", "batch")]);
    let sink = sink(connector, Some(format("cloudevents", &[("mode", "structured")])), None).await;
    let batch = [event(1, Some("a"), "{\"n\":1}"), event(2, Some("b"), "[2]")];
    assert_eq!(deliver(&*sink, &batch).await.1, ["delivered"; 2]);
    let seen = receiver.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(
        seen[0].header("content-type"),
        Some("application/cloudevents-batch+json; charset=utf-8")
    );
    let events: Vec<cloudevents::Event> = serde_json::from_slice(&seen[0].body).unwrap();
    assert_eq!(events.len(), 2);
}

#[tokio::test]
async fn http_sends_binary_cloudevents_with_nothing_of_our_own() {
    let receiver = Stub::answering(|_| Answer::new(204, "")).await;
    let connector = connector("http", &[("url", &receiver.url())]);
    let sink = sink(connector, Some(format("cloudevents", &[])), None).await;
    let mut one = event(1, Some("größe 100%"), "{\"n\":1}");
    one.topic = "größe".into();
    assert_eq!(deliver(&*sink, std::slice::from_ref(&one)).await.1, ["delivered"]);
    let seen = receiver.seen();
    assert_eq!(seen[0].header("ce-id"), Some("00000000-0000-0000-0000-000000000001"));
    assert_eq!(seen[0].header("ce-subject"), Some("gr%C3%B6%C3%9Fe%20100%25"));
    // A URI's own encoding is encoded once more: what a reader decodes is the URI.
    assert_eq!(seen[0].header("ce-source"), Some("/onewrite/gr%25C3%25B6%25C3%259Fe"));
    assert_eq!(seen[0].header("content-type"), Some("application/json"));
    assert_eq!(seen[0].header("traceparent"), Some("00-ab"));
    assert!(
        !seen[0].headers.iter().any(|(name, _)| name.starts_with("onewrite-")),
        "{:?}",
        seen[0].headers
    );
    assert_eq!(seen[0].body, b"{\"n\":1}");
}
