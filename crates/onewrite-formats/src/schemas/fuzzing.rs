//! What `./x fuzz` tries of this module.

use bytes::Bytes;
use onewrite_core::Event;

use super::resolver::Source;
use super::serializer::Language;
use super::{avro, client, json_schema, protobuf};

/// The body of a payload by a schema, where both are right.
fn encoded<L: Language>(language: &L, schema: &str, payload: &[u8]) -> Option<(L::Schema, Vec<u8>)> {
    let source = Source {
        text: schema.to_owned(),
        references: Vec::new(),
    };
    let schema = language.compile(&source).ok()?;
    language.name(&schema);
    let event = Event {
        id: uuid::Uuid::nil(),
        topic: "shop.orders".into(),
        key: None,
        event_type: None,
        payload: Bytes::copy_from_slice(payload),
        content_type: "application/json".into(),
        headers: Vec::new(),
        occurred_at: jiff::Timestamp::UNIX_EPOCH,
        replay: None,
        headers_complete: false,
        verbatim: None,
    };
    let mut body = Vec::new();
    language.encode(&schema, &event, &mut body).ok()?;
    Some((schema, body))
}

/// What is written by a schema is read by the library with the same, to the last byte.
pub(crate) fn avro(schema: &str, payload: &[u8]) {
    for (base64, refuse_unknown) in [(true, true), (false, false)] {
        let rules = avro::Rules { base64, refuse_unknown };
        if let Some((schema, body)) = encoded(&avro::Avro::new(rules), schema, payload) {
            avro::is_read_back(&schema, &body);
        }
    }
}

/// What fits a schema stays as it is.
pub(crate) fn json_schema(schema: &str, payload: &[u8]) {
    if let Some((_, body)) = encoded(&json_schema::JsonSchema, schema, payload) {
        assert_eq!(body, payload);
    }
}

/// What is written by a schema is read by the library with the same.
pub(crate) fn protobuf(schema: &str, payload: &[u8]) {
    if let Some((schema, body)) = encoded(&protobuf::Protobuf::new(None, true), schema, payload) {
        protobuf::is_read_back(&schema, &body);
    }
}

/// Any answer of a registry is a schema, or a refusal in words.
pub(crate) fn answer(bytes: &[u8]) {
    client::fuzz(bytes);
}
