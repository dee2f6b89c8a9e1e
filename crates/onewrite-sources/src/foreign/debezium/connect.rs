//! Kafka Connect's model of data, as much of it as an outbox row can become: a schema, and a value of that schema.

use std::sync::Arc;

use bytes::Bytes;

use crate::foreign::value::{Numeric, Text};

/// What a value is, and what the JSON converter tells about it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Schema {
    pub kind: Kind,
    /// Whether null is a value of it.
    pub optional: bool,
    /// Its semantic type, such as `io.debezium.data.Uuid`, or the name of a struct.
    pub name: Option<Arc<str>>,
    pub version: Option<i32>,
    pub doc: Option<&'static str>,
    pub parameters: Vec<(&'static str, Arc<str>)>,
    /// What a reader takes null for.
    pub default: Option<Datum>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Boolean,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    Text,
    Bytes,
    Array(Arc<Schema>),
    Struct(Vec<Field>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub name: Arc<str>,
    pub schema: Arc<Schema>,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Datum {
    Null,
    Boolean(bool),
    Int16(i16),
    Int32(i32),
    Int64(i64),
    Float32(f32),
    Float64(f64),
    Text(Text),
    Bytes(Bytes),
    /// Of kind bytes: what Connect's own semantic type `Decimal` is in a program.
    Decimal(Numeric),
    Array(Vec<Self>),
    /// One value for each field of the struct's schema.
    Struct(Arc<Schema>, Vec<Self>),
}

/// Connect's name for a fixed number of digits after the point.
pub(super) const DECIMAL: &str = "org.apache.kafka.connect.data.Decimal";

impl Schema {
    /// A required value without a name.
    pub fn plain(kind: Kind) -> Self {
        Self {
            kind,
            optional: false,
            name: None,
            version: None,
            doc: None,
            parameters: Vec::new(),
            default: None,
        }
    }

    /// The first version of a semantic type.
    pub fn named(kind: Kind, name: &str) -> Self {
        Self {
            name: Some(name.into()),
            version: Some(1),
            ..Self::plain(kind)
        }
    }

    /// The same where null is a value.
    pub fn or_null(self) -> Self {
        Self { optional: true, ..self }
    }

    /// The fields of a struct.
    pub fn fields(&self) -> &[Field] {
        match &self.kind {
            Kind::Struct(fields) => fields,
            _ => &[],
        }
    }

    /// Connect's word for the kind.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Boolean => "boolean",
            Kind::Int16 => "int16",
            Kind::Int32 => "int32",
            Kind::Int64 => "int64",
            Kind::Float32 => "float",
            Kind::Float64 => "double",
            Kind::Text => "string",
            Kind::Bytes => "bytes",
            Kind::Array(_) => "array",
            Kind::Struct(_) => "struct",
        }
    }

    /// Checks that a value may stand where this schema is asked for, as a struct does for its fields.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check(&self, datum: &Datum) -> Result<(), String> {
        let fits = match (&self.kind, datum) {
            (_, Datum::Null) if self.optional => true,
            (_, Datum::Null) => return Err(format!("a {} is required and null was found", self.kind_name())),
            (Kind::Boolean, Datum::Boolean(_))
            | (Kind::Int16, Datum::Int16(_))
            | (Kind::Int32, Datum::Int32(_))
            | (Kind::Int64, Datum::Int64(_))
            | (Kind::Float32, Datum::Float32(_))
            | (Kind::Float64, Datum::Float64(_))
            | (Kind::Text, Datum::Text(_)) => true,
            (Kind::Bytes, Datum::Bytes(_)) => self.name.as_deref() != Some(DECIMAL),
            (Kind::Bytes, Datum::Decimal(_)) => self.name.as_deref() == Some(DECIMAL),
            (Kind::Array(element), Datum::Array(data)) => {
                return data.iter().try_for_each(|datum| element.check(datum));
            }
            (Kind::Struct(_), Datum::Struct(schema, _)) => **schema == *self,
            _ => false,
        };
        let words = || format!("{} was expected and {} was found", self.kind_name(), datum.kind_name());
        fits.then_some(()).ok_or_else(words)
    }
}

impl Datum {
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    pub fn kind_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean(_) => "boolean",
            Self::Int16(_) => "int16",
            Self::Int32(_) => "int32",
            Self::Int64(_) => "int64",
            Self::Float32(_) => "float",
            Self::Float64(_) => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Decimal(_) => "decimal",
            Self::Array(_) => "array",
            Self::Struct(..) => "struct",
        }
    }
}
