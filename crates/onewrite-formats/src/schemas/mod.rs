//! The formats `avro`, `json-schema` and `protobuf`: the event's JSON payload in the form of a schema that a Confluent-compatible
//! schema registry keeps.
//!
#![doc = include_str!("../guides/registry.md")]

mod avro;
mod client;
mod frame;
mod json;
mod json_schema;
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

/// The options that all three formats have, in their order.
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
    "How long a request to the registry may take, from 50ms to 30s.",
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
pub const AVRO_FIELDS: &[Field] = &[
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
    UNKNOWN_FIELDS,
    defaulted(
        "bytes_as",
        Kind::Choice(&["base64", "latin1"]),
        "base64",
        "How JSON texts stand for bytes and fixed: in base64, or a character for each byte, as Avro's own JSON has it.",
    ),
    CACHE_TTL,
    TIMEOUT,
    FRAMED,
    CA_FILE,
    CERTIFICATE_FILE,
    KEY_FILE,
];

/// What can be configured of the format `json-schema`.
pub const JSON_SCHEMA_FIELDS: &[Field] = &[
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
    CACHE_TTL,
    TIMEOUT,
    FRAMED,
    CA_FILE,
    CERTIFICATE_FILE,
    KEY_FILE,
];

/// What can be configured of the format `protobuf`.
pub const PROTOBUF_FIELDS: &[Field] = &[
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
    field(
        "message",
        Kind::Template,
        "The full name of the message, such as shop.OrderPlaced. Left out: the first of the schema's file.",
    ),
    UNKNOWN_FIELDS,
    CACHE_TTL,
    TIMEOUT,
    FRAMED,
    CA_FILE,
    CERTIFICATE_FILE,
    KEY_FILE,
];

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
            headers_complete: false,
            verbatim: None,
        }
    }
}
