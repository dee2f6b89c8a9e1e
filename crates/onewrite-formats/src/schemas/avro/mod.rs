//! Avro: JSON encoded by a schema, as the Avro specification 1.12 lays the bytes down.
//!
#![doc = include_str!("../../guides/avro.md")]

mod encode;
mod scalars;

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::{Name, ResolvedSchema};
use onewrite_core::Event;
use serde_json::value::RawValue;

use super::json::nesting;
use super::resolver::Source;
use super::serializer::Language;
use crate::limits::NESTING_MAX;
use encode::Encoder;

/// How JSON is taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Whether texts that stand for bytes are in base64.
    pub base64: bool,
    /// Whether members that the schema lacks are refused.
    pub refuse_unknown: bool,
}

pub(super) struct Avro {
    rules: Rules,
}

impl Avro {
    pub fn new(rules: Rules) -> Self {
        Self { rules }
    }
}

/// A schema with everything named in it.
pub(super) struct AvroSchema {
    schema: Schema,
    names: HashMap<Name, Schema>,
}

impl Language for Avro {
    const KIND: &'static str = "avro";
    const TYPE: &'static str = "AVRO";
    const CONTENT_TYPE: &'static str = "application/vnd.confluent.avro";

    type Schema = AvroSchema;

    fn compile(&self, source: &Source) -> Result<AvroSchema, String> {
        let texts = source.references.iter().map(|(_, text)| text);
        let (schema, others) = Schema::parse_str_with_list(&source.text, texts).map_err(|error| error.to_string())?;
        // What is referred to comes before what refers to it.
        let all: Vec<&Schema> = others.iter().chain([&schema]).collect();
        let resolved = ResolvedSchema::try_from(all).map_err(|error| error.to_string())?;
        let named = resolved.get_names().iter();
        let names = named.map(|(name, schema)| (name.clone(), (*schema).clone())).collect();
        Ok(AvroSchema { schema, names })
    }

    fn name(&self, schema: &AvroSchema) -> Option<String> {
        schema.schema.name().map(|name| name.fullname(None))
    }

    fn encode(&self, schema: &AvroSchema, event: &Event, out: &mut Vec<u8>) -> Result<(), String> {
        // The encoder reads the inside of a value again for each level around it, and goes as deep as the value.
        if nesting(&event.payload) > NESTING_MAX {
            return Err(format!("it is nested more than {NESTING_MAX} deep"));
        }
        let json: &RawValue =
            serde_json::from_slice(&event.payload).map_err(|error| format!("it is not JSON: {error}"))?;
        Encoder::new(schema, self.rules).encode(json, out)
    }
}

/// A body is a value of the schema, and nothing beyond it.
#[cfg(any(test, fuzzing))]
pub(super) fn is_read_back(schema: &AvroSchema, mut body: &[u8]) {
    let reader = apache_avro::reader::datum::GenericDatumReader::builder(&schema.schema).build();
    let read = reader.expect("the schema was compiled").read_value(&mut body);
    assert!(read.is_ok() && body.is_empty(), "{read:?}, and {body:?} is left");
}

#[cfg(test)]
mod tests;
