//! An event as an AMQP 1.0 message.

use fe2o3_amqp::Sendable;
use fe2o3_amqp::types::messaging::{ApplicationProperties, Data, Header, Message, MessageId, Priority, Properties};
use fe2o3_amqp::types::primitives::{Binary, OrderedMap, SimpleValue, Symbol, Timestamp};
use onewrite_core::{Event, wire};

use super::settings::Settings;

/// The application property by which Artemis knows a repetition (Artemis documentation, "Duplicate Message Detection").
const DUPLICATE_ID: &str = "_AMQ_DUPL_ID";

/// The message of an event.
pub(super) fn message(settings: &Settings, event: &Event) -> Sendable<Data> {
    let mut properties = Properties {
        // In every format: by it brokers and clients tell repetitions.
        message_id: Some(MessageId::String(event.id.hyphenated().to_string())),
        ..Properties::default()
    };
    let mut application: OrderedMap<String, SimpleValue> = OrderedMap::new();
    wire::native_headers(event, |name, value| {
        let own = match name {
            wire::HEADER_ID => !event.headers_complete,
            wire::HEADER_TYPE => {
                properties.subject = Some(value.to_owned());
                true
            }
            // A symbol is ASCII.
            wire::HEADER_CONTENT_TYPE if value.is_ascii() => {
                properties.content_type = Some(Symbol::from(value));
                true
            }
            _ => false,
        };
        if !own {
            application.insert(name.to_owned(), SimpleValue::String(value.to_owned()));
        }
    });
    if let Some(key) = wire::key_header(event) {
        application.insert(wire::HEADER_KEY.to_owned(), SimpleValue::String(key.to_owned()));
    }
    if !event.headers_complete {
        properties.creation_time = Some(Timestamp::from_milliseconds(event.occurred_at.as_millisecond()));
    }
    if settings.group_by_key {
        properties.group_id = event.key.as_deref().filter(|key| !key.is_empty()).map(str::to_owned);
    }
    if settings.duplicate_detection {
        let id = event.id.hyphenated().to_string();
        application.insert(DUPLICATE_ID.to_owned(), SimpleValue::String(id));
    }
    let message = Message::builder()
        .header(header(settings))
        .properties(properties)
        .application_properties(ApplicationProperties(application))
        .data(Data(Binary::from(event.payload.to_vec())))
        .build();
    Sendable::builder().message(message).settled(false).build()
}

fn header(settings: &Settings) -> Header {
    Header {
        durable: settings.durable,
        priority: settings.priority.map_or_else(Priority::default, Priority),
        ttl: settings
            .ttl
            .map(|ttl| u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX)),
        ..Header::default()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use onewrite_core::options::Options;

    use super::super::FIELDS;
    use super::*;

    fn event() -> Event {
        Event {
            id: uuid::Uuid::from_u128(7),
            topic: "shop.orders".into(),
            key: Some("42".into()),
            event_type: Some("OrderPlaced".into()),
            payload: Bytes::from_static(b"{}"),
            content_type: "application/json".into(),
            headers: vec![("traceparent".into(), "00-1".into())],
            occurred_at: "2024-05-06T07:08:09.123456Z".parse().unwrap(),
            replay: None,
            headers_complete: false,
            verbatim: None,
        }
    }

    fn made(texts: &[(&str, &str)], event: &Event) -> Message<Data> {
        let texts = [&[("urls", "amqp://broker")], texts].concat();
        let options = Options::from_texts("sinks.x", FIELDS, &texts).unwrap();
        message(&Settings::read(&options).unwrap(), event).message
    }

    fn names(message: &Message<Data>) -> Vec<&str> {
        let application = message.application_properties.as_ref().unwrap();
        application.0.keys().map(String::as_str).collect()
    }

    #[test]
    fn properties_hold_what_they_are_made_for() {
        let message = made(
            &[("ttl", "5s"), ("priority", "7"), ("duplicate_detection", "true")],
            &event(),
        );
        let properties = message.properties.as_ref().unwrap();
        let id = "00000000-0000-0000-0000-000000000007";
        assert_eq!(properties.message_id, Some(MessageId::String(id.into())));
        assert_eq!(properties.subject.as_deref(), Some("OrderPlaced"));
        assert_eq!(properties.content_type, Some(Symbol::from("application/json")));
        assert_eq!(properties.group_id.as_deref(), Some("42"));
        assert_eq!(
            properties.creation_time,
            Some(Timestamp::from_milliseconds(1_714_979_289_123))
        );
        let header = message.header.as_ref().unwrap();
        assert_eq!((header.durable, header.ttl, header.priority.0), (true, Some(5_000), 7));
        assert_eq!(
            names(&message),
            [
                "traceparent",
                "onewrite-topic",
                "onewrite-occurred-at",
                "onewrite-key",
                "_AMQ_DUPL_ID"
            ]
        );
    }

    #[test]
    fn headers_that_are_complete_stay_alone_and_the_message_has_its_id() {
        let mut event = event();
        event.headers_complete = true;
        let message = made(&[("group_by_key", "false")], &event);
        let properties = message.properties.as_ref().unwrap();
        assert!(properties.message_id.is_some());
        assert_eq!(properties.group_id, None);
        assert_eq!(properties.content_type, Some(Symbol::from("application/json")));
        assert_eq!(names(&message), ["traceparent"]);
    }
}
