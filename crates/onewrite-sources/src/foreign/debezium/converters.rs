//! From Connect's data to bytes: the converters of Kafka Connect and of Debezium, by their own names and options.
//!
//! Sources: what the classes of Kafka Connect 4.3 (`connect-api`, `connect-json`) and Debezium 3.6 (`io.debezium.converters`) do.

mod render;

use std::sync::Arc;

use bytes::Bytes;
use onewrite_core::options::{Field, Kind as OptionKind};

use super::connect::{Datum, Kind, Schema};
use super::texts::{Checked, Texts, unknown};
use render::{java_text, simple_text};

pub(super) use render::{JsonFormat, as_text};

const KEY: &str = "key.converter";
const VALUE: &str = "value.converter";
const HEADER: &str = "header.converter";
const DELEGATE: &str = "delegate.converter.type";

const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";
const STRING: &str = "org.apache.kafka.connect.storage.StringConverter";
const SIMPLE_HEADER: &str = "org.apache.kafka.connect.storage.SimpleHeaderConverter";
const BYTE_ARRAY: &str = "org.apache.kafka.connect.converters.ByteArrayConverter";
const DEBEZIUM_BINARY: &str = "io.debezium.converters.BinaryDataConverter";
const DEBEZIUM_BYTE_ARRAY: &str = "io.debezium.converters.ByteArrayConverter";

const JSON_FIELDS: &[Field] = &[
    field(".schemas.enable", OptionKind::Flag, Some("true")),
    field(
        ".decimal.format",
        OptionKind::Choice(&["base64", "numeric"]),
        Some("base64"),
    ),
    field(".replace.null.with.default", OptionKind::Flag, Some("true")),
    // Of no consequence for what is written.
    field(
        ".schemas.cache.size",
        OptionKind::Integer { min: 0, max: i64::MAX },
        None,
    ),
];

const STRING_FIELDS: &[Field] = &[field(
    ".converter.encoding",
    OptionKind::Choice(&["utf8", "utf-8"]),
    None,
)];

const fn field(name: &'static str, kind: OptionKind, default: Option<&'static str>) -> Field {
    Field {
        name,
        kind,
        default,
        required: false,
        doc: "",
    }
}

/// One converter.
#[derive(Clone, Debug)]
pub(super) enum Converter {
    /// Text, as Java writes the value.
    Text,
    Json(JsonFormat),
    /// Bytes untouched; everything else refused.
    Bytes,
    /// Debezium's: bytes untouched, everything else by another converter.
    Binary {
        delegate: Option<Box<Converter>>,
        /// Debezium's older class takes no bytes either, in the form in which its PostgreSQL connector hands them over.
        bytes_too: bool,
    },
    /// Text, as Connect writes the values of headers.
    SimpleHeader,
}

/// The three converters of a connector.
#[derive(Clone, Debug)]
pub(super) struct Converters {
    pub key: Converter,
    pub value: Converter,
    pub header: Converter,
}

impl Converters {
    /// Reads the classes under `key.converter`, `value.converter` and `header.converter`, and their options under the same names
    /// with a point. Not given, keys and values are JSON with schemas, and headers Connect's simple texts.
    ///
    /// # Errors
    /// Names the option, what was found, and what is expected.
    pub fn read(texts: &Texts) -> Result<Self, String> {
        let places = [KEY, VALUE, HEADER];
        let of = |name: &str, place: &str| {
            name.strip_prefix(place)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        if let Some(name) = texts.keys().find(|name| !places.iter().any(|place| of(name, place))) {
            let known = places
                .iter()
                .flat_map(|place| [(*place).to_owned(), format!("{place}.schemas.enable")]);
            return Err(unknown(name, known));
        }
        let class =
            |place: &str, default: &'static str| texts.get(place).map_or(default, |class| class.trim()).to_owned();
        Ok(Self {
            key: Converter::read(texts, KEY, KEY, &class(KEY, JSON))?,
            value: Converter::read(texts, VALUE, VALUE, &class(VALUE, JSON))?,
            header: Converter::read(texts, HEADER, HEADER, &class(HEADER, SIMPLE_HEADER))?,
        })
    }
}

impl Converter {
    /// Reads a converter of a class that the option `option` names, with options of its own below `prefix`.
    fn read(texts: &Texts, option: &str, prefix: &str, class: &str) -> Result<Self, String> {
        // Beside the class itself, whose option is the prefix alone.
        let own: Texts = texts
            .iter()
            .filter(|(name, _)| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')))
            .map(|(name, text)| (name.clone(), text.clone()))
            .collect();
        let is_header = option == HEADER;
        match class {
            JSON => {
                let checked = Checked::new(&own, prefix, JSON_FIELDS)?;
                Ok(Self::Json(JsonFormat {
                    schemas: checked.flag(".schemas.enable"),
                    decimals_as_numbers: checked.choice(".decimal.format") == "numeric",
                    defaults_for_null: checked.flag(".replace.null.with.default"),
                }))
            }
            STRING => Checked::new(&own, prefix, STRING_FIELDS).map(|_| Self::Text),
            SIMPLE_HEADER if is_header => Checked::new(&own, prefix, &[]).map(|_| Self::SimpleHeader),
            BYTE_ARRAY => Checked::new(&own, prefix, &[]).map(|_| Self::Bytes),
            DEBEZIUM_BINARY | DEBEZIUM_BYTE_ARRAY => Ok(Self::Binary {
                delegate: Self::delegate(&own, prefix, is_header)?.map(Box::new),
                bytes_too: class == DEBEZIUM_BYTE_ARRAY,
            }),
            _ => {
                let mut known = vec![STRING, JSON, BYTE_ARRAY, DEBEZIUM_BINARY, DEBEZIUM_BYTE_ARRAY];
                known.extend(is_header.then_some(SIMPLE_HEADER));
                Err(format!("{option} is {class:?}; expected one of {}", known.join(", ")))
            }
        }
    }

    fn delegate(own: &Texts, prefix: &str, is_header: bool) -> Result<Option<Self>, String> {
        let option = format!("{prefix}.{DELEGATE}");
        if let Some(name) = own.keys().find(|name| !name.starts_with(&option)) {
            return Err(unknown(name, [option].into_iter()));
        }
        // Debezium sets a delegate up for keys and values alone; without, one with options of its own would not know them.
        match own.get(&option).filter(|_| !is_header) {
            Some(class) => Self::read(own, &option, &option, class.trim()).map(Some),
            None => Ok(None),
        }
    }

    /// Writes a value; nothing where the record has none.
    ///
    /// # Errors
    /// What the converter does not take, for which Kafka Connect would fail the task.
    pub fn convert(&self, schema: Option<&Arc<Schema>>, datum: &Datum) -> Result<Option<Bytes>, String> {
        let is_bytes = schema.is_none_or(|schema| schema.kind == Kind::Bytes);
        match (self, datum) {
            (Self::Json(_), Datum::Null) if schema.is_none() => Ok(None),
            (Self::Json(format), _) => format
                .write(schema.map(|schema| &**schema), datum)
                .map(|bytes| Some(bytes.into())),
            (Self::Text | Self::SimpleHeader, Datum::Null) => Ok(None),
            // Payloads are large and are not copied.
            (Self::Text | Self::SimpleHeader, Datum::Text(text)) => Ok(Some(text.bytes().clone())),
            (Self::Text, _) => java_text(datum).map(|text| Some(text.into())),
            (Self::SimpleHeader, _) => Ok(Some(simple_text(schema, datum))),
            (Self::Bytes, _) if !is_bytes => Err(format!(
                "the converter takes bytes alone, and a {} was found",
                kind(schema, datum)
            )),
            (Self::Bytes | Self::Binary { bytes_too: false, .. }, Datum::Bytes(bytes)) if is_bytes => {
                Ok(Some(bytes.clone()))
            }
            (Self::Bytes, Datum::Null) => Ok(None),
            (Self::Binary { .. }, Datum::Null) if is_bytes => Ok(None),
            (
                Self::Binary {
                    delegate: Some(delegate),
                    ..
                },
                _,
            ) => delegate.convert(schema, datum),
            (Self::Binary { delegate: None, .. }, _) => Err(format!(
                "a {} was found, and for what it does not take itself the converter needs {DELEGATE}",
                kind(schema, datum)
            )),
            (Self::Bytes, _) => Err(format!(
                "the converter takes bytes alone, and a {} was found",
                datum.kind_name()
            )),
        }
    }

    /// The media type of what it writes for a schema.
    pub fn content_type(&self, schema: Option<&Arc<Schema>>) -> &'static str {
        let is_bytes = schema.is_some_and(|schema| schema.kind == Kind::Bytes);
        match self {
            Self::Json(_) => "application/json",
            Self::Text | Self::SimpleHeader
                if schema.is_some_and(|schema| schema.name.as_deref() == Some("io.debezium.data.Json")) =>
            {
                "application/json"
            }
            Self::Text | Self::SimpleHeader => "text/plain",
            Self::Binary {
                delegate: Some(delegate),
                bytes_too,
            } if !is_bytes || *bytes_too => delegate.content_type(schema),
            Self::Bytes | Self::Binary { .. } => "application/octet-stream",
        }
    }
}

fn kind(schema: Option<&Arc<Schema>>, datum: &Datum) -> &'static str {
    schema.map_or(datum.kind_name(), |schema| schema.kind_name())
}
