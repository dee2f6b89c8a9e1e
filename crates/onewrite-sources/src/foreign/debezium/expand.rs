//! From JSON to a value with a schema inferred from it, for `table.expand.json.payload` and for messages.

use std::sync::Arc;

use super::connect::{Datum, Field, Kind, Schema};
use super::json::Json;

/// What becomes of values that tell no type.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Inference {
    /// A null member is kept as optional bytes; otherwise it is left out.
    pub nulls_as_bytes: bool,
    /// An empty array is kept as one of optional texts; otherwise it is left out.
    pub empty_arrays_of_text: bool,
}

impl Inference {
    /// The schema of a value, of which `name` is the struct's; none where the value tells no type.
    ///
    /// # Errors
    /// What in an array does not go together.
    pub fn schema(self, name: Option<&str>, json: &Json) -> Result<Option<Arc<Schema>>, String> {
        let kind = match json {
            Json::Null if self.nulls_as_bytes => Kind::Bytes,
            Json::Null => return Ok(None),
            Json::Boolean(_) => Kind::Boolean,
            Json::Int32(_) => Kind::Int32,
            Json::Int64(_) => Kind::Int64,
            Json::Huge | Json::Float64(_) => Kind::Float64,
            Json::Text(_) => Kind::Text,
            Json::Array(elements) if !elements.is_empty() => Kind::Array(self.element(name, elements)?),
            Json::Array(_) if self.empty_arrays_of_text => Kind::Array(Arc::new(Schema::plain(Kind::Text).or_null())),
            Json::Array(_) => return Ok(None),
            Json::Object(members) => return self.object(name, members).map(|schema| Some(Arc::new(schema))),
        };
        Ok(Some(Arc::new(Schema::plain(kind).or_null())))
    }

    fn object(self, name: Option<&str>, members: &[(String, Json)]) -> Result<Schema, String> {
        let mut fields = Vec::with_capacity(members.len());
        for (member, value) in members {
            let path = match name {
                Some(name) if !name.trim().is_empty() => format!("{name}.{member}"),
                _ => member.clone(),
            };
            if let Some(schema) = self.schema(Some(&path), value)? {
                let name = member.as_str().into();
                fields.push(Field { name, schema });
            }
        }
        Ok(Schema {
            name: name.map(Arc::from),
            ..Schema::plain(Kind::Struct(fields)).or_null()
        })
    }

    /// The one schema of an array's elements.
    fn element(self, name: Option<&str>, elements: &[Json]) -> Result<Arc<Schema>, String> {
        let first = elements
            .iter()
            .find(|element| **element != Json::Null)
            .unwrap_or(&Json::Null);
        let alike = |element: &&Json| **element != Json::Null && !same_type(element, first);
        if let Some(other) = elements.iter().find(alike) {
            return Err(format!(
                "an array holds {} beside {}",
                type_name(other),
                type_name(first)
            ));
        }
        if !matches!(first, Json::Object(_)) {
            let schema = self.schema(None, first)?;
            return schema.ok_or_else(|| "an array's elements tell no type".to_owned());
        }
        let mut merged: Option<Arc<Schema>> = None;
        let mut seen: Vec<Arc<Schema>> = Vec::new();
        for element in elements.iter().filter(|element| **element != Json::Null) {
            let Some(schema) = self.schema(name, element)?.filter(|schema| !seen.contains(schema)) else {
                continue;
            };
            merged = Some(match merged {
                None => schema.clone(),
                Some(merged) => Arc::new(merge(&merged, &schema)),
            });
            seen.push(schema);
        }
        merged.ok_or_else(|| "an array's elements tell no type".to_owned())
    }

    /// The value in the form of its schema.
    ///
    /// # Errors
    /// What does not fit the schema: the value is no object, a number has no place in 64 bits, or members of one name in an
    /// array's objects differ in type.
    pub fn datum(json: &Json, schema: Option<&Arc<Schema>>) -> Result<Datum, String> {
        match (json, schema) {
            (Json::Object(_), Some(schema)) => structure(json, schema),
            _ => Err("only an object becomes a struct".to_owned()),
        }
    }
}

/// Debezium merges the schemas of an array's objects in the order of a hash table, which is another in each of its runs. Here
/// it is that of the array.
fn merge(left: &Schema, right: &Schema) -> Schema {
    let mut fields = left.fields().to_vec();
    for field in right.fields() {
        match fields.iter_mut().find(|known| known.name == field.name) {
            None => fields.push(field.clone()),
            // Bytes stand for null.
            Some(known) if known.schema.kind == Kind::Bytes && field.schema.kind != Kind::Bytes => {
                *known = field.clone()
            }
            Some(_) => {}
        }
    }
    Schema {
        name: left.name.clone(),
        ..Schema::plain(Kind::Struct(fields))
    }
}

fn structure(json: &Json, schema: &Arc<Schema>) -> Result<Datum, String> {
    if !matches!(schema.kind, Kind::Struct(_)) {
        return Err(format!(
            "an object was found where a {} was expected",
            schema.kind_name()
        ));
    }
    let fields = schema.fields().iter().map(|field| {
        let Some(value) = json.get(&field.name) else {
            return Ok(Datum::Null);
        };
        let datum = value_of(value, &field.schema).map_err(|words| format!("{}: {words}", field.name))?;
        let checked = field
            .schema
            .check(&datum)
            .map_err(|words| format!("{}: {words}", field.name));
        checked.map(|()| datum)
    });
    Ok(Datum::Struct(schema.clone(), fields.collect::<Result<_, String>>()?))
}

fn value_of(json: &Json, schema: &Arc<Schema>) -> Result<Datum, String> {
    Ok(match json {
        Json::Null => Datum::Null,
        Json::Boolean(flag) => Datum::Boolean(*flag),
        Json::Int32(number) => Datum::Int32(*number),
        Json::Int64(number) => Datum::Int64(*number),
        Json::Huge => return Err("a whole number has no place in 64 bits".to_owned()),
        Json::Float64(number) => Datum::Float64(*number),
        Json::Text(text) => Datum::Text(text.clone()),
        Json::Object(_) => structure(json, schema)?,
        Json::Array(elements) => {
            let Kind::Array(element) = &schema.kind else {
                // With no element nothing is asked of the schema, and the check of the field finds the array.
                return match elements.is_empty() {
                    true => Ok(Datum::Array(Vec::new())),
                    false => Err(format!(
                        "an array was found where a {} was expected",
                        schema.kind_name()
                    )),
                };
            };
            let data = elements.iter().map(|json| value_of(json, element));
            Datum::Array(data.collect::<Result<_, String>>()?)
        }
    })
}

/// All numbers are one type to JSON; to Connect their size counts.
fn same_type(left: &Json, right: &Json) -> bool {
    let whole = |json: &Json| matches!(json, Json::Huge | Json::Float64(_));
    std::mem::discriminant(left) == std::mem::discriminant(right) || (whole(left) && whole(right))
}

fn type_name(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Boolean(_) => "a boolean",
        Json::Int32(_) => "a whole number of 32 bits",
        Json::Int64(_) => "a whole number of 64 bits",
        Json::Huge | Json::Float64(_) => "a floating-point number",
        Json::Text(_) => "a text",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}
