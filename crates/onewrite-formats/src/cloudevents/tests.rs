use cloudevents::event::SpecVersion;
use cloudevents::message::{BinaryDeserializer, BinarySerializer, MessageAttributeValue};
use cloudevents::{AttributesReader, Data};
use onewrite_core::sink::CloudEventsBinding;
use proptest::prelude::*;

use super::*;

fn event(content_type: &str, payload: &[u8]) -> Event {
    Event {
        id: uuid::Uuid::from_u128(7),
        topic: "shop.orders".into(),
        key: Some("42".into()),
        event_type: Some("OrderPlaced".into()),
        payload: payload.to_vec().into(),
        content_type: content_type.into(),
        headers: vec![
            ("TraceParent".into(), "00-ab".into()),
            ("x-tenant".into(), "eu".into()),
            ("CE-id".into(), "forged".into()),
            ("plain".into(), "p".into()),
        ],
        occurred_at: "2026-01-31T12:00:00.5Z".parse().unwrap(),
        replay: None,
        headers_complete: false,
        verbatim: None,
    }
}

const HTTP: CloudEventsBinding = CloudEventsBinding {
    percent_encoded: true,
    ..CloudEventsBinding::prefixed("ce-")
};
const KAFKA: CloudEventsBinding = CloudEventsBinding::prefixed("ce_");
const MQTT: CloudEventsBinding = CloudEventsBinding::prefixed("");

fn laid(texts: &[(&str, &str)], event: &Event, binding: CloudEventsBinding) -> Result<Event, SinkError> {
    let mut options = Options::from_texts("formats.ce", FIELDS, texts).unwrap();
    let tenant = [("tenant".to_owned(), "x-tenant".to_owned())].into();
    let field = FIELDS.iter().find(|field| field.name == "extensions").unwrap();
    options.set(field, onewrite_core::options::Value::Map(tenant));
    let format = build(&options).unwrap();
    let outgoing = Outgoing {
        event,
        topic: &event.topic,
        cloudevents: binding,
    };
    let mut formatting = std::pin::pin!(format.format(&outgoing));
    match std::future::Future::poll(
        formatting.as_mut(),
        &mut std::task::Context::from_waker(std::task::Waker::noop()),
    ) {
        std::task::Poll::Ready(laid) => laid,
        std::task::Poll::Pending => panic!("nothing is waited for"),
    }
}

fn header<'a>(event: &'a Event, name: &str) -> Option<&'a str> {
    let mut headers = event.headers.iter();
    headers.find(|(found, _)| &**found == name).map(|(_, value)| &**value)
}

/// Reads binary mode with the SDK, from headers in the form of a binding.
struct Wire<'a> {
    event: &'a Event,
    prefix: &'a str,
}

impl BinaryDeserializer for Wire<'_> {
    fn deserialize_binary<R: Sized, V: BinarySerializer<R>>(self, visitor: V) -> cloudevents::message::Result<R> {
        let mut visitor = visitor.set_spec_version(SpecVersion::V10)?;
        let known = ["id", "source", "type", "subject", "time", "dataschema"];
        for (name, value) in &self.event.headers {
            let Some(name) = name.strip_prefix(self.prefix) else {
                continue;
            };
            let value = MessageAttributeValue::String(percent_decoded(value));
            visitor = match name {
                "specversion" => visitor,
                _ if known.contains(&name) => visitor.set_attribute(name, value)?,
                _ => visitor.set_extension(name, value)?,
            };
        }
        let content_type = MessageAttributeValue::String(self.event.content_type.to_string());
        let visitor = visitor.set_attribute("datacontenttype", content_type)?;
        visitor.end_with_data(self.event.payload.to_vec())
    }
}

fn percent_decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&after[..2]).unwrap(), 16).unwrap());
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_sdk_reads_binary_mode() {
    let laid = laid(&[], &event("application/json", b"{\"a\":1}"), HTTP).unwrap();
    assert!(laid.headers_complete);
    assert_eq!(
        header(&laid, "CE-id"),
        None,
        "no header of the application's passes for an attribute"
    );
    assert_eq!(header(&laid, "plain"), Some("p"));
    let wire = Wire {
        event: &laid,
        prefix: "ce-",
    };
    let read = wire.into_event().unwrap();
    assert_eq!(read.id(), "00000000-0000-0000-0000-000000000007");
    assert_eq!(read.ty(), "OrderPlaced");
    assert_eq!(read.source(), "/onewrite/shop.orders");
    assert_eq!(read.subject(), Some("42"));
    assert_eq!(read.time().unwrap().to_rfc3339(), "2026-01-31T12:00:00.500+00:00");
    for (name, value) in [("partitionkey", "42"), ("traceparent", "00-ab"), ("tenant", "eu")] {
        assert_eq!(read.extension(name).unwrap().to_string(), value);
    }
    assert!(read.data().is_some());
}

#[test]
fn the_sdk_reads_structured_mode() {
    for (content_type, payload, expected) in [
        (
            "application/json",
            &b"{\"a\":\n1.0}"[..],
            Data::Json(serde_json::json!({"a": 1.0})),
        ),
        ("text/plain", "grüß".as_bytes(), Data::String("grüß".to_owned())),
        ("application/octet-stream", b"\x00\xff", Data::Binary(vec![0, 255])),
        ("application/json", b"{\"a\":", Data::Binary(b"{\"a\":".to_vec())),
        ("text/plain; charset=latin1", b"abc", Data::Binary(b"abc".to_vec())),
    ] {
        let laid = laid(&[("mode", "structured")], &event(content_type, payload), KAFKA).unwrap();
        assert_eq!(&*laid.content_type, "application/cloudevents+json; charset=utf-8");
        assert!(!laid.payload.contains(&b'\n'));
        let read: cloudevents::Event = serde_json::from_slice(&laid.payload).unwrap();
        assert_eq!(read.data(), Some(&expected), "{content_type}");
        assert_eq!(read.datacontenttype(), Some(content_type));
        assert_eq!(read.extension("partitionkey").unwrap().to_string(), "42");
    }
}

#[test]
fn templates_and_defaults_give_the_attributes() {
    let mut plain = event("application/json", b"1");
    (plain.event_type, plain.key) = (None, None);
    plain.topic = "größe a".into();
    let texts = [("source", "//shop/{topic}"), ("dataschema", "http://x/{topic}")];
    let written = laid(&texts, &plain, KAFKA).unwrap();
    assert_eq!(
        header(&written, "ce_type"),
        Some("größe a"),
        "Kafka's headers are UTF-8"
    );
    assert_eq!(header(&written, "ce_source"), Some("//shop/gr%C3%B6%C3%9Fe%20a"));
    assert_eq!(header(&written, "ce_dataschema"), Some("http://x/gr%C3%B6%C3%9Fe%20a"));
    assert_eq!(header(&written, "ce_subject"), None);
    assert_eq!(header(&written, "ce_partitionkey"), None);
    let written = laid(&[], &plain, HTTP).unwrap();
    assert_eq!(
        header(&written, "ce-type"),
        Some("gr%C3%B6%C3%9Fe%20a"),
        "HTTP's are not"
    );
    assert_eq!(
        laid(&[("source", "{key}")], &plain, HTTP).unwrap_err().action,
        onewrite_core::Action::Park
    );
}

#[test]
fn without_a_prefix_only_attributes_travel() {
    let written = laid(&[], &event("application/json", b"1"), MQTT).unwrap();
    let names: Vec<_> = written.headers.iter().map(|(name, _)| &**name).collect();
    let expected = [
        "specversion",
        "id",
        "source",
        "type",
        "subject",
        "time",
        "partitionkey",
        "traceparent",
        "tenant",
        "plain",
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_replayed_event_can_be_told_in_every_mode_and_binding() {
    let mut replayed = event("application/json", b"1");
    replayed.replay = Some(3);
    for (binding, name) in [
        (HTTP, "ce-onewritereplay"),
        (KAFKA, "ce_onewritereplay"),
        (MQTT, "onewritereplay"),
    ] {
        assert_eq!(header(&laid(&[], &replayed, binding).unwrap(), name), Some("3"));
        let mut own = event("application/cloudevents+json", b"{}");
        assert_eq!(header(&laid(&[], &own, binding).unwrap(), name), None);
        own.replay = Some(3);
        assert_eq!(header(&laid(&[], &own, binding).unwrap(), name), Some("3"));
    }
    let document = laid(&[("mode", "structured")], &replayed, KAFKA).unwrap();
    let read: cloudevents::Event = serde_json::from_slice(&document.payload).unwrap();
    assert_eq!(read.extension("onewritereplay").unwrap().to_string(), "3");
}

#[test]
fn values_are_encoded_where_the_binding_says_so_alone() {
    let mut odd = event("text/plain; charset=utf-8", b"1");
    odd.key = Some("größe 1".into());
    let of = |binding| laid(&[], &odd, binding).unwrap();
    assert_eq!(header(&of(HTTP), "ce-subject"), Some("gr%C3%B6%C3%9Fe%201"));
    assert_eq!(header(&of(HTTP), "ce-datacontenttype"), None);
    assert_eq!(header(&of(CloudEventsBinding::NONE), "ce-subject"), Some("größe 1"));
    let nats = CloudEventsBinding {
        data_content_type: true,
        ..HTTP
    };
    assert_eq!(
        header(&of(nats), "ce-datacontenttype"),
        Some("text/plain;%20charset=utf-8")
    );
}

#[test]
fn what_already_is_a_cloudevent_passes() {
    let own = event("application/cloudevents+json", br#"{"specversion":"1.0","id":"x"}"#);
    for mode in ["binary", "structured"] {
        assert_eq!(laid(&[("mode", mode)], &own, HTTP).unwrap().payload, own.payload);
    }
    let broken = event("application/cloudevents+json", b"{");
    assert_eq!(
        laid(&[], &broken, HTTP).unwrap_err().action,
        onewrite_core::Action::Park
    );
}

#[test]
fn a_control_character_in_an_attribute_parks() {
    let mut odd = event("application/json", b"1");
    odd.key = Some("a\tb".into());
    let error = laid(&[], &odd, HTTP).unwrap_err();
    assert_eq!(error.action, onewrite_core::Action::Park);
    assert!(error.to_string().contains("U+0009"), "{error}");
}

#[test]
fn settings_that_make_no_attribute_are_told() {
    let problem = |name: &'static str, attribute: &str| {
        let mut options = Options::from_texts("formats.ce", FIELDS, &[]).unwrap();
        let field = FIELDS.iter().find(|field| field.name == name).unwrap();
        let value = match name {
            "extensions" => onewrite_core::options::Value::Map([(attribute.to_owned(), "h".to_owned())].into()),
            _ => field.kind.parse(attribute).unwrap(),
        };
        options.set(field, value);
        build(&options).err().unwrap().to_string()
    };
    assert!(problem("extensions", "Tenant").starts_with("formats.ce.extensions: \"Tenant\" cannot be the name"));
    assert!(problem("extensions", "id").contains("sets itself"));
    assert!(problem("source", "").starts_with("formats.ce.source: is empty"));
}

proptest! {
    #[test]
    fn the_sdk_reads_whatever_was_written(
        key in "[^\\p{C}]{0,12}",
        event_type in "[^\\p{C}]{1,12}",
        payload in prop::collection::vec(any::<u8>(), 1..60),
        content_type in prop::sample::select(vec!["application/json", "text/plain", "image/png"]),
    ) {
        let mut event = event(content_type, &payload);
        event.key = Some(key.as_str().into());
        event.event_type = Some(event_type.as_str().into());
        let binary = laid(&[], &event, HTTP).unwrap();
        prop_assert!(binary.headers.iter().all(|(_, value)| value.bytes().all(|byte| byte.is_ascii_graphic())));
        let read = Wire { event: &binary, prefix: "ce-" }.into_event().unwrap();
        prop_assert_eq!(read.ty(), event_type.as_str());
        prop_assert_eq!(read.subject().unwrap_or_default(), key.as_str());
        let structured = laid(&[("mode", "structured")], &event, HTTP).unwrap();
        let read: cloudevents::Event = serde_json::from_slice(&structured.payload).unwrap();
        prop_assert_eq!(read.ty(), event_type.as_str());
        match read.data().unwrap() {
            Data::Binary(bytes) => prop_assert_eq!(bytes, &payload),
            Data::String(text) => prop_assert_eq!(text.as_bytes(), &payload[..]),
            Data::Json(json) => prop_assert_eq!(json, &serde_json::from_slice::<serde_json::Value>(&payload).unwrap()),
        }
    }
}
