//! How Connect's data reads as JSON and as text.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::super::connect::{DECIMAL, Datum, Kind, Schema};
use super::super::java;

/// The options of Connect's JSON converter.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct JsonFormat {
    /// Whether an object of schema and payload is written, and not the payload alone.
    pub schemas: bool,
    /// Whether decimals are numbers, and not bytes in base 64.
    pub decimals_as_numbers: bool,
    /// Whether null is written as the schema's default where there is one.
    pub defaults_for_null: bool,
}

impl JsonFormat {
    /// Writes a value.
    ///
    /// # Errors
    /// Where value and schema do not go together.
    pub fn write(&self, schema: Option<&Schema>, datum: &Datum) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        if !self.schemas {
            self.datum(&mut out, schema, datum)?;
            return Ok(out);
        }
        out.extend(b"{\"schema\":");
        match schema {
            Some(schema) => self.schema(&mut out, schema, None)?,
            None => out.extend(b"null"),
        }
        out.extend(b",\"payload\":");
        self.datum(&mut out, schema, datum)?;
        out.push(b'}');
        Ok(out)
    }

    fn datum(&self, out: &mut Vec<u8>, schema: Option<&Schema>, datum: &Datum) -> Result<(), String> {
        let mismatch = || {
            let expected = schema.map_or("value without a schema", Schema::kind_name);
            Err(format!(
                "a {} was found where the schema has a {expected}",
                datum.kind_name()
            ))
        };
        let kind = schema.map(|schema| &schema.kind);
        match (datum, kind) {
            (Datum::Null, _) => return self.null(out, schema),
            (Datum::Boolean(flag), Some(Kind::Boolean)) => out.extend(flag.to_string().bytes()),
            (Datum::Int16(number), Some(Kind::Int16)) => out.extend(number.to_string().bytes()),
            (Datum::Int32(number), Some(Kind::Int32)) => out.extend(number.to_string().bytes()),
            (Datum::Int64(number), Some(Kind::Int64)) => out.extend(number.to_string().bytes()),
            (Datum::Float32(number), Some(Kind::Float32)) => floating(out, *number as f64, java::floating(*number)),
            (Datum::Float64(number), Some(Kind::Float64)) => floating(out, *number, java::floating(*number)),
            (Datum::Text(text), Some(Kind::Text) | None) => java::json_text(out, text.as_str()),
            (Datum::Bytes(bytes), Some(Kind::Bytes)) if !is_decimal(schema) => base64(out, bytes),
            (Datum::Decimal(number), Some(Kind::Bytes)) if is_decimal(schema) => {
                if self.decimals_as_numbers {
                    out.extend(java::decimal(number).bytes());
                } else {
                    base64(out, &java::unscaled(number).unwrap_or_default());
                }
            }
            (Datum::Array(data), Some(Kind::Array(element))) => {
                out.push(b'[');
                for (at, datum) in data.iter().enumerate() {
                    out.extend((at > 0).then_some(b','));
                    self.datum(out, Some(element), datum)?;
                }
                out.push(b']');
            }
            (Datum::Struct(own, data), Some(Kind::Struct(fields))) if schema == Some(&**own) => {
                out.push(b'{');
                for (at, (field, datum)) in fields.iter().zip(data).enumerate() {
                    out.extend((at > 0).then_some(b','));
                    java::json_text(out, &field.name);
                    out.push(b':');
                    self.datum(out, Some(&field.schema), datum)?;
                }
                out.push(b'}');
            }
            _ => return mismatch(),
        }
        Ok(())
    }

    fn null(&self, out: &mut Vec<u8>, schema: Option<&Schema>) -> Result<(), String> {
        match schema.map(|schema| (schema.default.as_ref(), schema.optional)) {
            Some((Some(default), _)) if self.defaults_for_null => self.datum(out, schema, default),
            Some((_, false)) => Err("null was found where the schema has a required value".to_owned()),
            _ => {
                out.extend(b"null");
                Ok(())
            }
        }
    }

    /// A schema, and in a struct the name of its field.
    fn schema(&self, out: &mut Vec<u8>, schema: &Schema, field: Option<&str>) -> Result<(), String> {
        let text = |out: &mut Vec<u8>, name: &str, value: &str| {
            out.push(b',');
            java::json_text(out, name);
            out.push(b':');
            java::json_text(out, value);
        };
        out.extend(b"{\"type\":");
        java::json_text(out, schema.kind_name());
        match &schema.kind {
            Kind::Array(element) => {
                out.extend(b",\"items\":");
                self.schema(out, element, None)?;
            }
            Kind::Struct(fields) => {
                out.extend(b",\"fields\":[");
                for (at, field) in fields.iter().enumerate() {
                    out.extend((at > 0).then_some(b','));
                    self.schema(out, &field.schema, Some(&field.name))?;
                }
                out.push(b']');
            }
            _ => {}
        }
        out.extend(format!(",\"optional\":{}", schema.optional).bytes());
        if let Some(name) = &schema.name {
            text(out, "name", name);
        }
        if let Some(version) = schema.version {
            out.extend(format!(",\"version\":{version}").bytes());
        }
        if let Some(doc) = schema.doc {
            text(out, "doc", doc);
        }
        for (at, (name, value)) in schema.parameters.iter().enumerate() {
            out.extend(if at == 0 { b",\"parameters\":{".as_slice() } else { b"," });
            java::json_text(out, name);
            out.push(b':');
            java::json_text(out, value);
        }
        out.extend((!schema.parameters.is_empty()).then_some(b'}'));
        if let Some(default) = &schema.default {
            out.extend(b",\"default\":");
            self.datum(out, Some(schema), default)?;
        }
        if let Some(field) = field {
            text(out, "field", field);
        }
        out.push(b'}');
        Ok(())
    }
}

fn is_decimal(schema: Option<&Schema>) -> bool {
    schema.is_some_and(|schema| schema.name.as_deref() == Some(DECIMAL))
}

/// JSON has no words for what is no number, and Jackson quotes them.
fn floating(out: &mut Vec<u8>, number: f64, text: String) {
    if number.is_finite() {
        out.extend(text.bytes());
    } else {
        java::json_text(out, &text);
    }
}

fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    out.extend(STANDARD.encode(bytes).bytes());
    out.push(b'"');
}

/// As Java's `toString` has it: what the string converter writes.
///
/// # Errors
/// Of bytes inside of a decimal number Java writes an address, which is another each time.
pub(super) fn java_text(datum: &Datum) -> Result<String, String> {
    Ok(match datum {
        Datum::Null => "null".to_owned(),
        Datum::Boolean(flag) => flag.to_string(),
        Datum::Int16(number) => number.to_string(),
        Datum::Int32(number) => number.to_string(),
        Datum::Int64(number) => number.to_string(),
        Datum::Float32(number) => java::floating(*number),
        Datum::Float64(number) => java::floating(*number),
        Datum::Text(text) => text.as_str().to_owned(),
        Datum::Bytes(bytes) => format!("java.nio.HeapByteBuffer[pos=0 lim={0} cap={0}]", bytes.len()),
        Datum::Decimal(number) => java::decimal(number),
        Datum::Array(data) => {
            let data = data.iter().map(java_text).collect::<Result<Vec<_>, _>>()?;
            format!("[{}]", data.join(", "))
        }
        Datum::Struct(schema, data) => {
            let fields = schema.fields().iter().zip(data).filter(|(_, datum)| !datum.is_null());
            let fields = fields.map(|(field, datum)| match datum {
                Datum::Bytes(_) if &*field.name == "value" && schema.doc.is_some() => {
                    Err("a numeric without declared digits has no text for the string converter".to_owned())
                }
                datum => java_text(datum).map(|text| format!("{}={text}", field.name)),
            });
            format!("Struct{{{}}}", fields.collect::<Result<Vec<_>, _>>()?.join(","))
        }
    })
}

/// As Connect writes the values of headers.
pub(super) fn simple_text(schema: Option<&Arc<Schema>>, datum: &Datum) -> Bytes {
    match datum {
        Datum::Text(text) => text.bytes().clone(),
        datum => {
            let mut out = String::new();
            embedded(&mut out, schema.map(|schema| &**schema), datum, false);
            out.into()
        }
    }
}

fn embedded(out: &mut String, schema: Option<&Schema>, datum: &Datum, quoted: bool) {
    let quote = if quoted { "\"" } else { "" };
    // Structs give a field's default for null.
    let datum = match (datum, schema.and_then(|schema| schema.default.as_ref())) {
        (Datum::Null, Some(default)) => default,
        (datum, _) => datum,
    };
    match datum {
        Datum::Text(text) if quoted => {
            let escaped = text.as_str().replace('\\', "\\\\").replace('"', "\\\"");
            out.extend(["\"", &escaped, "\""]);
        }
        Datum::Text(text) => out.push_str(text.as_str()),
        Datum::Bytes(bytes) => out.extend([quote, &STANDARD.encode(bytes), quote]),
        Datum::Array(data) => {
            let element = match schema.map(|schema| &schema.kind) {
                Some(Kind::Array(element)) => Some(&**element),
                _ => None,
            };
            out.push('[');
            for (at, datum) in data.iter().enumerate() {
                out.extend((at > 0).then_some(','));
                embedded(out, element, datum, true);
            }
            out.push(']');
        }
        Datum::Struct(schema, data) => {
            out.push('{');
            for (at, (field, datum)) in schema.fields().iter().zip(data).enumerate() {
                out.extend((at > 0).then_some(','));
                embedded(out, None, &Datum::text(&field.name), true);
                out.push(':');
                embedded(out, Some(&field.schema), datum, true);
            }
            out.push('}');
        }
        other => out.push_str(&java_text(other).unwrap_or_default()),
    }
}

/// The value as people read it; nothing for null.
pub(in super::super) fn as_text(datum: &Datum) -> Option<Arc<str>> {
    let text = (!datum.is_null()).then(|| simple_text(None, datum))?;
    Some(String::from_utf8_lossy(&text).into())
}
