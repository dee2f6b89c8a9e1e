//! The encoder.

use std::fmt::Write as _;

use apache_avro::Schema;
use apache_avro::schema::{InnerDecimalSchema, RecordSchema, UnionSchema, UuidSchema};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use super::scalars;
use super::{AvroSchema, Rules};
use crate::limits::{AVRO_BODY_BYTES_MAX, AVRO_DEFAULTS_MAX, NESTING_MAX, UNION_BYTES_FACTOR, UNION_BYTES_MAX};
use crate::schemas::frame::zigzag;
use crate::schemas::json::Json;

/// Writes one JSON value by a schema, and knows where it is.
pub(super) struct Encoder<'s> {
    schema: &'s AvroSchema,
    rules: Rules,
    path: Vec<Step>,
    /// How many bytes of JSON branches of unions may still be tried for in vain.
    tries: usize,
    /// How many values of defaults may still be written.
    defaults: usize,
    /// Whether a default is being written.
    is_default: bool,
}

enum Step {
    Member(String),
    Element(usize),
}

/// What is wrong, at the path that the encoder was at.
type Wrong = String;

impl<'s> Encoder<'s> {
    pub fn new(schema: &'s AvroSchema, rules: Rules) -> Self {
        Self {
            schema,
            rules,
            path: Vec::new(),
            tries: UNION_BYTES_MAX,
            defaults: AVRO_DEFAULTS_MAX,
            is_default: false,
        }
    }

    /// Appends the value.
    ///
    /// # Errors
    /// What does not fit, and where.
    pub fn encode(mut self, json: &RawValue, out: &mut Vec<u8>) -> Result<(), Wrong> {
        let schema = self.schema;
        self.tries += UNION_BYTES_FACTOR * json.get().len();
        self.value(&schema.schema, json, out)
    }

    fn value(&mut self, schema: &'s Schema, raw: &RawValue, out: &mut Vec<u8>) -> Result<(), Wrong> {
        self.bounded(out.len())?;
        match schema {
            Schema::Ref { name } => {
                let names = &self.schema.names;
                let named = names
                    .get(name)
                    .ok_or_else(|| self.at(format!("the schema does not define {name}")))?;
                return self.value(named, raw, out);
            }
            Schema::Union(union) => return self.union(union, raw, out),
            _ => {}
        }
        let json = Json::read(raw).map_err(|words| self.at(words))?;
        match (schema, &json) {
            (Schema::Record(record), Json::Object(members)) => self.record(record, members, out),
            (Schema::Array(array), Json::Array(items)) => {
                if !items.is_empty() {
                    zigzag(length(items.len()), out);
                }
                for (at, item) in items.iter().enumerate() {
                    self.inside(Step::Element(at), |this| this.value(&array.items, item, out))?;
                }
                out.push(0);
                Ok(())
            }
            (Schema::Map(map), Json::Object(members)) => {
                if !members.is_empty() {
                    zigzag(length(members.len()), out);
                }
                for (name, value) in members {
                    bytes(name.as_bytes(), out);
                    self.inside(Step::Member(name.to_string()), |this| {
                        this.value(&map.types, value, out)
                    })?;
                }
                out.push(0);
                Ok(())
            }
            _ => self.scalar(schema, &json, out).map_err(|words| self.at(words)),
        }
    }

    /// Whether there is room for one more value, where `written` bytes stand already.
    fn bounded(&mut self, written: usize) -> Result<(), Wrong> {
        if self.path.len() > NESTING_MAX {
            let words = format!("the schema's defaults go more than {NESTING_MAX} deep");
            return Err(self.at(words));
        }
        if written > AVRO_BODY_BYTES_MAX {
            let words = format!("the body has more than {AVRO_BODY_BYTES_MAX} bytes with the schema's defaults");
            return Err(self.at(words));
        }
        if self.is_default {
            self.defaults = self.defaults.checked_sub(1).ok_or_else(|| {
                self.at(format!(
                    "the schema's defaults add more than {AVRO_DEFAULTS_MAX} values"
                ))
            })?;
        }
        Ok(())
    }

    fn record(
        &mut self,
        record: &'s RecordSchema,
        members: &[(std::borrow::Cow<'_, str>, &RawValue)],
        out: &mut Vec<u8>,
    ) -> Result<(), Wrong> {
        if self.rules.refuse_unknown
            && let Some((name, _)) = members.iter().find(|(name, _)| !record.lookup.contains_key(&**name))
        {
            let words = format!("the schema has no field {name:?}; unknown_fields = \"ignore\" would leave it out");
            return Err(self.at(words));
        }
        for field in &record.fields {
            let given = members.iter().rev().find(|(name, _)| *name == field.name.as_str());
            self.inside(Step::Member(field.name.clone()), |this| {
                if let Some((_, value)) = given {
                    return this.value(&field.schema, value, out);
                }
                let default = match &field.default {
                    Some(default) => serde_json::value::to_raw_value(default),
                    None if takes_null(&field.schema) => Ok(RawValue::NULL.to_owned()),
                    None => return Err(this.at("is missing, and the schema has no default for it".to_owned())),
                };
                let default = default.map_err(|error| this.at(format!("has a default that is no JSON: {error}")))?;
                // Defaults are in Avro's own JSON, and may leave nothing of a nested record out that has no default.
                let outside = (this.rules, this.is_default);
                (this.rules.base64, this.is_default) = (false, true);
                let written = this.value(&field.schema, &default, out);
                (this.rules, this.is_default) = outside;
                written
            })?;
        }
        Ok(())
    }

    /// The branch that Avro's own JSON names; else the first that the value fits by its kind; else the first that takes it at all.
    fn union(&mut self, union: &'s UnionSchema, raw: &RawValue, out: &mut Vec<u8>) -> Result<(), Wrong> {
        let json = Json::read(raw).map_err(|words| self.at(words))?;
        let branches = union.variants();
        let begin = out.len();
        if let Json::Object(members) = &json
            && let [(name, inner)] = &members[..]
            && let Some(place) = branches.iter().position(|branch| self.name(branch) == **name)
        {
            zigzag(length(place), out);
            if self.value(&branches[place], inner, out).is_ok() {
                return Ok(());
            }
            out.truncate(begin);
        }
        let (by_kind, others): (Vec<_>, Vec<_>) =
            (0..branches.len()).partition(|place| self.is_of_kind(&branches[*place], &json));
        let mut wrong = None;
        for place in by_kind.iter().chain(&others) {
            if self.tries == 0 {
                return Err(
                    self.at("too many branches of unions were tried in vain; write {\"branch\": value}".to_owned())
                );
            }
            zigzag(length(*place), out);
            match self.value(&branches[*place], raw, out) {
                Ok(()) => return Ok(()),
                Err(words) => {
                    out.truncate(begin);
                    self.tries = self.tries.saturating_sub(raw.get().len());
                    // Of the branches of its kind the first is the one that was most likely meant.
                    if !by_kind.is_empty() {
                        wrong.get_or_insert(words);
                    }
                }
            }
        }
        Err(wrong.unwrap_or_else(|| {
            let names: Vec<_> = branches.iter().map(|branch| self.name(branch)).collect();
            self.at(format!(
                "found {}; expected one of {}",
                json.describe(),
                names.join(", ")
            ))
        }))
    }

    fn scalar(&self, schema: &Schema, json: &Json<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        let unexpected = || format!("found {}; expected {}", json.describe(), self.name(schema));
        match (schema, json) {
            (Schema::Null, Json::Null) => {}
            (Schema::Boolean, Json::Flag(flag)) => out.push(u8::from(*flag)),
            (Schema::String | Schema::Uuid(UuidSchema::String), Json::Text(text)) => {
                if matches!(schema, Schema::Uuid(_)) {
                    uuid::Uuid::parse_str(text).map_err(|_| unexpected())?;
                }
                bytes(text.as_bytes(), out);
            }
            (Schema::Enum(symbols), Json::Text(text)) => {
                let place = symbols.symbols.iter().position(|symbol| *symbol == **text);
                let place = place.ok_or_else(|| {
                    format!(
                        "found {}; expected one of {}",
                        json.describe(),
                        symbols.symbols.join(", ")
                    )
                })?;
                zigzag(length(place), out);
            }
            (Schema::Float, _) => {
                let number = scalars::fraction(json).ok_or_else(unexpected)?;
                out.extend_from_slice(&(number as f32).to_le_bytes());
            }
            (Schema::Double, _) => {
                out.extend_from_slice(&scalars::fraction(json).ok_or_else(unexpected)?.to_le_bytes());
            }
            (Schema::Bytes | Schema::BigDecimal, Json::Text(text)) => bytes(&self.binary(text)?, out),
            (Schema::Fixed(fixed) | Schema::Duration(fixed), Json::Text(text)) => {
                out.extend_from_slice(&self.exactly(text, fixed.size)?);
            }
            (Schema::Uuid(inner), Json::Text(text)) => {
                let uuid = uuid::Uuid::parse_str(text).map_err(|_| unexpected())?;
                match inner {
                    UuidSchema::Fixed(_) => out.extend_from_slice(uuid.as_bytes()),
                    _ => bytes(uuid.as_bytes(), out),
                }
            }
            (Schema::Decimal(decimal), Json::Number(_) | Json::Text(_)) => {
                let unscaled = scalars::decimal(json, decimal.precision, decimal.scale)?;
                match &decimal.inner {
                    InnerDecimalSchema::Bytes => bytes(&scalars::shortest(unscaled), out),
                    InnerDecimalSchema::Fixed(fixed) => out.extend_from_slice(&scalars::sized(unscaled, fixed.size)?),
                }
            }
            (Schema::Int, Json::Number(_)) => zigzag(scalars::whole::<i32>(json).ok_or_else(unexpected)?, out),
            (Schema::Long, Json::Number(_)) => zigzag(scalars::whole::<i64>(json).ok_or_else(unexpected)?, out),
            _ => zigzag(scalars::time(schema, json).ok_or_else(unexpected)?, out),
        }
        Ok(())
    }

    fn binary(&self, text: &str) -> Result<Vec<u8>, String> {
        if self.rules.base64 {
            let told =
                |error| format!("found a text that is not base64 ({error}); bytes_as says how bytes are written");
            return STANDARD.decode(text).map_err(told);
        }
        let byte = |character: char| u8::try_from(u32::from(character)).ok();
        text.chars()
            .map(byte)
            .collect::<Option<_>>()
            .ok_or_else(|| "found a text with a character beyond U+00FF, which stands for no byte".to_owned())
    }

    fn exactly(&self, text: &str, size: usize) -> Result<Vec<u8>, String> {
        let found = self.binary(text)?;
        if found.len() == size {
            return Ok(found);
        }
        Err(format!("found {} bytes; expected exactly {size}", found.len()))
    }

    /// Whether a value is of the very kind that a branch of a union is for.
    fn is_of_kind(&self, schema: &Schema, json: &Json<'_>) -> bool {
        match (schema, json) {
            (Schema::Ref { name }, _) => self
                .schema
                .names
                .get(name)
                .is_some_and(|named| self.is_of_kind(named, json)),
            (Schema::Null, Json::Null)
            | (Schema::Boolean, Json::Flag(_))
            | (Schema::String | Schema::Uuid(_), Json::Text(_))
            | (Schema::Array(_), Json::Array(_))
            | (Schema::Record(_) | Schema::Map(_), Json::Object(_))
            | (Schema::Float | Schema::Double | Schema::Decimal(_), Json::Number(_)) => true,
            (Schema::Enum(symbols), Json::Text(text)) => symbols.symbols.iter().any(|symbol| *symbol == **text),
            // 1.0 is whole, but was not meant as such.
            (_, Json::Number(text)) => {
                scalars::is_whole_kind(schema) && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
            }
            _ => false,
        }
    }

    /// What Avro's JSON calls a branch.
    fn name(&self, schema: &Schema) -> String {
        match schema {
            Schema::Ref { name } => name.fullname(None),
            _ => schema
                .name()
                .map_or_else(|| scalars::kind(schema).to_owned(), |name| name.fullname(None)),
        }
    }

    fn inside<T>(&mut self, step: Step, work: impl FnOnce(&mut Self) -> Result<T, Wrong>) -> Result<T, Wrong> {
        self.path.push(step);
        let done = work(self);
        self.path.pop();
        done
    }

    fn at(&self, words: String) -> Wrong {
        let mut path = String::new();
        for step in &self.path {
            let written = match step {
                Step::Member(name) if path.is_empty() => write!(path, "{name}"),
                Step::Member(name) => write!(path, ".{name}"),
                Step::Element(at) => write!(path, "[{at}]"),
            };
            written.expect("a text takes more text");
        }
        if path.is_empty() {
            return format!("at its top: {words}");
        }
        format!("{path}: {words}")
    }
}

fn takes_null(schema: &Schema) -> bool {
    match schema {
        Schema::Null => true,
        Schema::Union(union) => union.variants().iter().any(|branch| matches!(branch, Schema::Null)),
        _ => false,
    }
}

fn bytes(bytes: &[u8], out: &mut Vec<u8>) {
    zigzag(length(bytes.len()), out);
    out.extend_from_slice(bytes);
}

fn length(length: usize) -> i64 {
    i64::try_from(length).expect("no payload is that long")
}
