//! The format `debezium`: the records that Debezium's outbox event router writes for the same event.
//!
#![doc = include_str!("guides/debezium.md")]

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use onewrite_core::error::SinkError;
use onewrite_core::options::{BuildError, Field, Kind, Options, defaulted, field};
use onewrite_core::wire::{HEADER_REPLAY, RESERVED_HEADER_PREFIX};
use onewrite_core::{Event, Template, Verbatim};

use crate::format::{Format, Outgoing};

/// What can be configured.
pub const FIELDS: &[Field] = &[
    field(
        "headers",
        Kind::Map,
        "Headers beside id: names and templates, such as { eventType = \"{type}\", aggregateType = \"{topic}\" }. An event that \
         lacks a template's field has the header without a value.",
    ),
    defaulted(
        "event_headers",
        Kind::Flag,
        "true",
        "Whether the event's own headers travel too, such as traceparent. onewrite-replay does always.",
    ),
];

/// Debezium's header with the event's id.
const ID: &str = "id";

/// Makes the format.
///
/// # Errors
/// A header that is not a template, or has the name `id`.
pub fn build(options: &Options) -> Result<Arc<dyn Format>, BuildError> {
    let mut headers = Vec::new();
    for (name, text) in options.map("headers") {
        let problem = |words: String| BuildError::new(options, "headers", format!("{name:?} {words}"));
        if name == ID {
            return Err(problem(
                "is the header of the event's id and cannot be another".to_owned(),
            ));
        }
        if name.starts_with(RESERVED_HEADER_PREFIX) {
            let words = format!("begins with {RESERVED_HEADER_PREFIX:?}, which Onewrite keeps for itself");
            return Err(problem(words));
        }
        let template =
            Template::parse(text).map_err(|error| problem(format!("has the value {text:?}, which {error}")))?;
        headers.push((Arc::from(name), template));
    }
    Ok(Arc::new(Debezium {
        id: ID.into(),
        replay: HEADER_REPLAY.into(),
        headers,
        event_headers: options.flag("event_headers"),
    }))
}

struct Debezium {
    id: Arc<str>,
    replay: Arc<str>,
    headers: Vec<(Arc<str>, Template)>,
    event_headers: bool,
}

/// A record's headers while they are texts; one may have no value.
type Texts = Vec<(Arc<str>, Option<Arc<str>>)>;

impl Debezium {
    fn headers(&self, event: &Event) -> Texts {
        let mut headers = Vec::with_capacity(2 + event.headers.len() + self.headers.len());
        let id = event.id.hyphenated().to_string();
        headers.push((Arc::clone(&self.id), Some(id.into())));
        if self.event_headers {
            let own = event.headers.iter();
            let own = own.filter(|(name, _)| &**name != ID && !self.headers.iter().any(|(other, _)| other == name));
            headers.extend(own.map(|(name, value)| (Arc::clone(name), Some(Arc::clone(value)))));
        }
        for (name, template) in &self.headers {
            let value = template.render(event).ok();
            headers.push((Arc::clone(name), value.map(Arc::from)));
        }
        if let Some(replay) = event.replay {
            headers.push((Arc::clone(&self.replay), Some(replay.to_string().into())));
        }
        headers
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[async_trait]
impl Format for Debezium {
    fn kind(&self) -> &'static str {
        "debezium"
    }

    async fn format(&self, outgoing: &Outgoing<'_>) -> Result<Event, SinkError> {
        let event = outgoing.event;
        let (record, headers) = match &event.verbatim {
            Some(record) => {
                let text = |(name, value): &(Arc<str>, Option<Bytes>)| {
                    let value = String::from_utf8_lossy(value.as_deref()?);
                    Some((Arc::clone(name), value.into()))
                };
                (record.clone(), record.headers.iter().filter_map(text).collect())
            }
            None => {
                let texts = self.headers(event);
                let byte_headers = texts
                    .iter()
                    .map(|(name, value)| (Arc::clone(name), value.as_deref().map(bytes)));
                let record = Verbatim {
                    key: event.key.as_deref().map(bytes),
                    headers: byte_headers.collect(),
                    ..Verbatim::default()
                };
                let headers = texts.into_iter().filter_map(|(name, value)| Some((name, value?)));
                (Box::new(record), headers.collect())
            }
        };
        Ok(Event {
            verbatim: Some(record),
            ..outgoing.laid_down(headers, event.payload.clone(), Arc::clone(&event.content_type))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use onewrite_core::options::Value;
    use onewrite_core::sink::CloudEventsBinding;

    use super::*;

    fn made(headers: &[(&str, &str)], event_headers: &str) -> Result<Arc<dyn Format>, BuildError> {
        let mut options = Options::from_texts("formats.d", FIELDS, &[("event_headers", event_headers)]).unwrap();
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        options.set(&FIELDS[0], Value::Map(headers.collect()));
        build(&options)
    }

    fn laid(format: &dyn Format, event: &Event) -> Event {
        let outgoing = Outgoing {
            event,
            topic: &event.topic,
            cloudevents: CloudEventsBinding::NONE,
        };
        let formatting = pin!(format.format(&outgoing));
        match formatting.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(laid) => laid.unwrap(),
            Poll::Pending => panic!("nothing is waited for"),
        }
    }

    fn event() -> Event {
        Event {
            id: uuid::Uuid::from_u128(7),
            topic: "order".into(),
            key: None,
            event_type: None,
            payload: Bytes::from_static(b"{}"),
            content_type: "application/json".into(),
            headers: vec![
                ("traceparent".into(), "00-ab".into()),
                ("id".into(), "forged".into()),
                ("kind".into(), "own".into()),
            ],
            occurred_at: jiff::Timestamp::UNIX_EPOCH,
            replay: None,
            headers_complete: false,
            verbatim: None,
        }
    }

    const ID: &str = "00000000-0000-0000-0000-000000000007";

    fn value(text: &'static str) -> Option<Bytes> {
        Some(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_record_has_the_id_the_events_headers_and_those_of_the_option() {
        let format = made(&[("kind", "{topic}"), ("eventType", "{type}")], "true").unwrap();
        let laid = laid(&*format, &event());
        let record = laid.verbatim.unwrap();
        assert_eq!((record.key, record.tombstone, record.partition), (None, false, None));
        let expected: Vec<(Arc<str>, _)> = vec![
            ("id".into(), value(ID)),
            ("traceparent".into(), value("00-ab")),
            ("eventType".into(), None),
            ("kind".into(), value("order")),
        ];
        assert_eq!(record.headers, expected);
        // What other sinks write: a header without a value is none.
        let others: Vec<_> = laid.headers.iter().map(|(name, _)| &**name).collect();
        assert_eq!(
            (others, laid.headers_complete),
            (vec!["id", "traceparent", "kind"], true)
        );
    }

    #[test]
    fn the_events_headers_can_stay_behind_but_not_that_it_is_replayed() {
        let format = made(&[], "false").unwrap();
        let record = laid(&*format, &event()).verbatim.unwrap();
        assert_eq!(record.headers, [("id".into(), value(ID))]);
        let mut replayed = event();
        replayed.replay = Some(3);
        let laid = laid(&*format, &replayed);
        assert_eq!(laid.headers[1..], [("onewrite-replay".into(), "3".into())]);
        assert_eq!(
            laid.verbatim.unwrap().headers[1..],
            [("onewrite-replay".into(), value("3"))]
        );
    }

    #[test]
    fn a_record_that_the_source_has_laid_down_passes() {
        let record = Verbatim {
            key: value("\"k\""),
            tombstone: true,
            headers: vec![("x".into(), value("y"))],
            partition: Some(3),
            timestamp: Some(1),
        };
        let event = Event {
            verbatim: Some(Box::new(record.clone())),
            ..event()
        };
        let laid = laid(&*made(&[("kind", "{topic}")], "true").unwrap(), &event);
        assert_eq!(laid.verbatim.as_deref(), Some(&record));
        assert_eq!(laid.headers, [("x".into(), "y".into())]);
    }

    #[test]
    fn headers_that_cannot_be_are_told() {
        let problem = |name, text| made(&[(name, text)], "true").err().unwrap().to_string();
        assert!(problem("id", "{key}").starts_with("formats.d.headers: \"id\" is the header of the event's id"));
        assert!(problem("onewrite-x", "{key}").contains("keeps for itself"));
        let words = problem("kind", "{typ}");
        assert!(
            words.contains("has the unknown field {typ}; did you mean {type}?"),
            "{words}"
        );
    }
}
