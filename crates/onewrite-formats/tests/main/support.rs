//! What the tests share.

use std::sync::Arc;

use onewrite_core::error::chain;
use onewrite_core::options::{Field, Kind, Options, Value};
use onewrite_core::{DeliveryReport, Event, Outcome, Sink, SinkConnector, SinkError, Template};
use onewrite_formats::{Format, format_type, formatted};

/// An event of this number and key with a JSON payload.
pub fn event(number: u128, key: Option<&str>, payload: &str) -> Event {
    Event {
        id: uuid::Uuid::from_u128(number),
        topic: "orders".into(),
        key: key.map(Into::into),
        event_type: Some("OrderPlaced".into()),
        payload: payload.to_owned().into(),
        content_type: "application/json".into(),
        headers: vec![("traceparent".into(), "00-ab".into())],
        occurred_at: "2026-01-31T12:00:00.5Z".parse().expect("a time"),
        replay: None,
        headers_complete: false,
        verbatim: None,
    }
}

/// A format of a type with options as texts; tables as `name=value` pairs.
pub fn format(kind: &str, texts: &[(&str, &str)]) -> Arc<dyn Format> {
    let found = format_type(kind).expect("a type");
    let mut options = Options::new("formats.test");
    for (name, text) in texts {
        let field: &Field = found.fields.iter().find(|field| field.name == *name).expect("a field");
        let value = match field.kind {
            Kind::Map => {
                let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
                Value::Map(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
            }
            kind => kind.parse(text).expect("a value"),
        };
        options.set(field, value);
    }
    options.fill(found.fields).expect("every required field");
    found.build(&options).expect("a format").expect("not native")
}

/// A sink behind a format and a template.
pub async fn sink(
    connector: Arc<dyn SinkConnector>,
    format: Option<Arc<dyn Format>>,
    topic: Option<&str>,
) -> Box<dyn Sink> {
    let topic = topic.map(|text| Template::parse(text).expect("a template"));
    let connector = formatted(connector, format, topic).expect("a fitting format");
    connector.connect().await.expect("a connection")
}

/// Delivers, and tells what became of it.
pub async fn deliver(sink: &dyn Sink, batch: &[Event]) -> (Result<(), SinkError>, Vec<String>) {
    let mut report = DeliveryReport::new(batch.len());
    let result = sink.deliver(batch, &mut report).await;
    let words = report.into_outcomes().iter().map(word).collect();
    (result, words)
}

fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Unknown => "unknown".to_owned(),
        Outcome::Delivered => "delivered".to_owned(),
        Outcome::Failed(error) => format!("{:?}: {}", error.action, chain(error)),
    }
}
