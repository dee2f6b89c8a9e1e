//! The formats `avro`, `json-schema` and `protobuf`: the event's JSON payload in the form of a schema that a Confluent-compatible
//! schema registry keeps.
//!
#![doc = include_str!("../guides/registry.md")]

mod avro;
mod client;
mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod json;
mod json_schema;
mod known;
mod protobuf;
mod resolver;
mod serializer;
mod settings;
mod subject;

use std::sync::Arc;

use onewrite_core::options::{BuildError, Field, Kind, Options, defaulted, field};
use onewrite_tls::{CA_FILE, CERTIFICATE_FILE, KEY_FILE};

use self::serializer::Serializer;
use self::settings::Settings;
use crate::format::Format;

const REGISTRY: Field = Field {
    required: true,
    ..field(
        "registry",
        Kind::List,
        "Addresses of the schema registry, http:// or https://, without user and password; tried in turn.",
    )
};
const USER: Field = field(
    "user",
    Kind::Text,
    "The user at the registry, for basic authentication. Needs password.",
);
const PASSWORD: Field = field("password", Kind::Secret, "The password of user.");
const BEARER_TOKEN: Field = field(
    "bearer_token",
    Kind::Secret,
    "Sent to the registry as \"authorization: Bearer …\".",
);
const SUBJECT_STRATEGY: Field = defaulted(
    "subject_strategy",
    Kind::Choice(&["topic", "record", "topic_record"]),
    "topic",
    "What the schema's subject is named after: `topic` is TOPIC-value with the topic at the sink, `record` the full name of the \
     record, `topic_record` TOPIC-RECORD. The record's name is that in schema_file, else the event's type.",
);
const SUBJECT: Field = field(
    "subject",
    Kind::Template,
    "The schema's subject, where none of the strategies gives it. {topic} is the topic at the sink.",
);
const VERSION: Field = defaulted(
    "version",
    Kind::Text,
    "latest",
    "Which version of the subject to use: latest, or its number.",
);
const SCHEMA_FILE: Field = field(
    "schema_file",
    Kind::Text,
    "A file with the schema to use. The registry must know it under the subject, unless register is true.",
);
const REGISTER: Field = defaulted(
    "register",
    Kind::Flag,
    "false",
    "Whether schema_file is registered under a subject when the first event needs it. The registry refuses it where it is not \
     compatible.",
);
const REFERENCES: Field = field(
    "references",
    Kind::Map,
    "What schema_file refers to: names as they are written there, and SUBJECT:VERSION at the registry, such as \
     { \"address.proto\" = \"address-value:1\" }.",
);
const CACHE_TTL: Field = defaulted(
    "cache_ttl",
    Kind::Duration,
    "5m",
    "How long a subject's schema is used before the registry is asked for a newer one.",
);
const TIMEOUT: Field = defaulted(
    "timeout",
    Kind::Duration,
    "10s",
    "How long the registry may take to give a schema with all that it refers to, from 50ms to 20s; its addresses share it.",
);
const FRAMED: Field = defaulted(
    "framed_content_types",
    Kind::List,
    "application/vnd.confluent.avro,application/vnd.confluent.json,application/vnd.confluent.protobuf",
    "Content types of payloads that the application has already written in the registry's wire format: they pass as they are.",
);
const UNKNOWN_FIELDS: Field = defaulted(
    "unknown_fields",
    Kind::Choice(&["refuse", "ignore"]),
    "refuse",
    "What becomes of an event whose payload has fields that the schema lacks: it is parked, or goes without them.",
);

/// What can be configured of the format `avro`.
pub const AVRO_FIELDS: &[Field] = &fields::<18>(&[
    UNKNOWN_FIELDS,
    defaulted(
        "bytes_as",
        Kind::Choice(&["base64", "latin1"]),
        "base64",
        "How JSON texts stand for bytes and fixed: in base64, or a character for each byte, as Avro's own JSON has it.",
    ),
]);

/// What can be configured of the format `json-schema`.
pub const JSON_SCHEMA_FIELDS: &[Field] = &fields::<16>(&[]);

/// What can be configured of the format `protobuf`.
pub const PROTOBUF_FIELDS: &[Field] = &fields::<18>(&[
    field(
        "message",
        Kind::Template,
        "The full name of the message, such as shop.OrderPlaced. Left out: the first of the schema's file.",
    ),
    UNKNOWN_FIELDS,
]);

/// The options that all three formats have, those of one format alone in the middle.
const fn fields<const COUNT: usize>(own: &[Field]) -> [Field; COUNT] {
    const BEFORE: &[Field] = &[
        REGISTRY,
        USER,
        PASSWORD,
        BEARER_TOKEN,
        SUBJECT_STRATEGY,
        SUBJECT,
        VERSION,
        SCHEMA_FILE,
        REGISTER,
        REFERENCES,
    ];
    const AFTER: &[Field] = &[CACHE_TTL, TIMEOUT, FRAMED, CA_FILE, CERTIFICATE_FILE, KEY_FILE];
    assert!(COUNT == BEFORE.len() + own.len() + AFTER.len());
    let mut all = [REGISTRY; COUNT];
    let mut at = 0;
    while at < COUNT {
        all[at] = if at < BEFORE.len() {
            BEFORE[at]
        } else if at < BEFORE.len() + own.len() {
            own[at - BEFORE.len()]
        } else {
            AFTER[at - BEFORE.len() - own.len()]
        };
        at += 1;
    }
    all
}

/// Makes the format `avro`.
///
/// # Errors
/// The first option that does not hold together with the others, or names a file that cannot be used.
pub fn build_avro(options: &Options) -> Result<Arc<dyn Format>, BuildError> {
    let settings = Settings::read(options)?;
    let rules = avro::Rules {
        base64: options.text("bytes_as") != Some("latin1"),
        refuse_unknown: settings.refuse_unknown,
    };
    Ok(Arc::new(Serializer::new(settings, avro::Avro::new(rules))?))
}

/// Makes the format `json-schema`.
///
/// # Errors
/// As for [`build_avro`].
pub fn build_json_schema(options: &Options) -> Result<Arc<dyn Format>, BuildError> {
    Ok(Arc::new(Serializer::new(
        Settings::read(options)?,
        json_schema::JsonSchema,
    )?))
}

/// Makes the format `protobuf`.
///
/// # Errors
/// As for [`build_avro`].
pub fn build_protobuf(options: &Options) -> Result<Arc<dyn Format>, BuildError> {
    let settings = Settings::read(options)?;
    let message = options.template("message").cloned();
    let protobuf = protobuf::Protobuf::new(message, settings.refuse_unknown);
    Ok(Arc::new(Serializer::new(settings, protobuf)?))
}

#[cfg(test)]
mod tests {
    use onewrite_core::Event;

    /// An event with a JSON payload.
    pub(super) fn event(payload: &str) -> Event {
        Event {
            id: uuid::Uuid::from_u128(7),
            topic: "shop.orders".into(),
            key: Some("42".into()),
            event_type: Some("OrderPlaced".into()),
            payload: payload.to_owned().into(),
            content_type: "application/json".into(),
            headers: Vec::new(),
            occurred_at: jiff::Timestamp::UNIX_EPOCH,
            replay: None,
            headers_complete: false,
            verbatim: None,
        }
    }
}
