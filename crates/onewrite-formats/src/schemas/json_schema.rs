//! JSON Schema.
//!
#![doc = include_str!("../guides/json-schema.md")]

use jsonschema::{Retrieve, Uri, Validator};
use onewrite_core::Event;
use serde_json::Value;

use super::resolver::Source;
use super::serializer::Language;
use crate::limits::VIOLATIONS_TOLD;

pub(super) struct JsonSchema;

pub(super) struct Validating {
    validator: Validator,
    title: Option<String>,
}

impl Language for JsonSchema {
    const KIND: &'static str = "json-schema";
    const TYPE: &'static str = "JSON";
    const CONTENT_TYPE: &'static str = "application/vnd.confluent.json";

    type Schema = Validating;

    fn compile(&self, source: &Source) -> Result<Validating, String> {
        let read = |text: &str| serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"));
        let schema: Value = read(&source.text)?;
        let mut others = Vec::with_capacity(source.references.len());
        for (name, text) in &source.references {
            others.push((name.clone(), read(text).map_err(|words| format!("{name}: {words}"))?));
        }
        let title = schema.get("title").and_then(Value::as_str).map(str::to_owned);
        let options = jsonschema::options().with_retriever(References(others));
        let validator = options.build(&schema).map_err(|error| error.to_string())?;
        Ok(Validating { validator, title })
    }

    fn name(&self, schema: &Validating) -> Option<String> {
        schema.title.clone()
    }

    fn encode(&self, schema: &Validating, event: &Event, out: &mut Vec<u8>) -> Result<(), String> {
        let json: Value = serde_json::from_slice(&event.payload).map_err(|error| format!("it is not JSON: {error}"))?;
        let mut violations = schema.validator.iter_errors(&json);
        let told: Vec<_> = violations
            .by_ref()
            .take(VIOLATIONS_TOLD)
            .map(|error| {
                let path = error.instance_path().to_string();
                let place = if path.is_empty() { "at its top" } else { &path };
                format!("{place}: {}", error.masked())
            })
            .collect();
        if !told.is_empty() {
            let more = if violations.next().is_some() { "; and more" } else { "" };
            return Err(format!("{}{more}", told.join("; ")));
        }
        out.extend_from_slice(&event.payload);
        Ok(())
    }
}

/// Schemas by the names that others have for them.
struct References(Vec<(String, Value)>);

impl Retrieve for References {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let asked = uri.as_str();
        let is_meant = |name: &str| {
            let rest = asked.strip_suffix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
        };
        let found = self.0.iter().find(|(name, _)| is_meant(name));
        found
            .map(|(_, schema)| schema.clone())
            .ok_or_else(|| format!("{asked} is not among the schema's references at the registry").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schemas::tests::event;

    fn compiled(text: &str, references: &[(&str, &str)]) -> Result<Validating, String> {
        let references = references
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        JsonSchema.compile(&Source {
            text: text.to_owned(),
            references: references.collect(),
        })
    }

    fn encoded(schema: &Validating, payload: &str) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        JsonSchema.encode(schema, &event(payload), &mut out).map(|()| out)
    }

    const ORDER: &str = r#"{"title":"Order","type":"object","required":["id"],
        "properties":{"id":{"type":"integer"},"to":{"$ref":"address.json"}}}"#;
    const ADDRESS: &str = r#"{"type":"object","properties":{"city":{"type":"string"}}}"#;

    #[test]
    fn a_body_that_fits_stays_as_it_is() {
        let schema = compiled(ORDER, &[("address.json", ADDRESS)]).unwrap();
        let payload = "{ \"id\": 1,\n \"to\": {\"city\": \"Bern\"}}";
        assert_eq!(encoded(&schema, payload).unwrap(), payload.as_bytes());
        assert_eq!(JsonSchema.name(&schema).as_deref(), Some("Order"));
    }

    #[test]
    fn violations_are_told_with_their_places_and_without_the_content() {
        let schema = compiled(ORDER, &[("address.json", ADDRESS)]).unwrap();
        let words = encoded(&schema, r#"{"id":"secret","to":{"city":7}}"#).unwrap_err();
        assert!(words.contains("/id: ") && words.contains("/to/city: "), "{words}");
        assert!(!words.contains("secret"), "{words}");
        let words = encoded(&schema, "{}").unwrap_err();
        assert!(
            words.starts_with("at its top: \"id\" is a required property"),
            "{words}"
        );
        assert!(encoded(&schema, "{").unwrap_err().starts_with("it is not JSON"));
    }

    #[test]
    fn a_reference_that_is_not_there_is_not_fetched() {
        let words = compiled(ORDER, &[]).err().unwrap();
        assert!(words.contains("address.json"), "{words}");
    }
}
