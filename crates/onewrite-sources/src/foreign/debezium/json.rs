//! JSON as Debezium reads it: members keep their order, and what stands after the first value is not looked at.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::foreign::value::Text;

/// How deep arrays and objects may be nested, so that reading them fits a thread's stack; Debezium reads 1000.
const DEPTH_MAX: usize = 200;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Boolean(bool),
    /// A whole number of 32 bits.
    Int32(i32),
    /// A whole number of 64 bits that has no place in 32.
    Int64(i64),
    /// A whole number that has no place in 64 bits.
    Huge,
    /// A number with a point or a power of ten.
    Float64(f64),
    Text(Text),
    Array(Vec<Self>),
    /// Each name once: the last value, at the place of the first.
    Object(Vec<(String, Self)>),
}

impl Json {
    /// Reads the object or array that the text begins with.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        if !text.starts_with(['{', '[']) {
            let start: String = text.chars().take(1).collect();
            return Err(format!(
                "it begins with {start:?}, and JSON is expanded that begins with {{ or ["
            ));
        }
        let mut reader = serde_json::Deserializer::from_str(text);
        let raw = <&RawValue>::deserialize(&mut reader).map_err(|error| error.to_string())?;
        Self::of(raw.get(), 0)
    }

    /// A member's value.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(known, _)| known == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Of a text that is whole and well formed: the reader has been over it.
    fn of(text: &str, depth: usize) -> Result<Self, String> {
        if depth > DEPTH_MAX {
            return Err(format!("it is nested more than {DEPTH_MAX} deep"));
        }
        let words = |error: serde_json::Error| error.to_string();
        Ok(match text.as_bytes() {
            [b'n', ..] => Self::Null,
            [b't', ..] => Self::Boolean(true),
            [b'f', ..] => Self::Boolean(false),
            [b'"', ..] => Self::Text(serde_json::from_str::<String>(text).map_err(words)?.into()),
            [b'[', ..] => {
                let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(words)?;
                let elements = elements.into_iter().map(|element| Self::of(element.get(), depth + 1));
                Self::Array(elements.collect::<Result<_, _>>()?)
            }
            [b'{', ..] => {
                let Members(members) = serde_json::from_str(text).map_err(words)?;
                let members = members
                    .into_iter()
                    .map(|(name, value)| Ok((name, Self::of(value.get(), depth + 1)?)));
                Self::Object(members.collect::<Result<_, String>>()?)
            }
            _ => number(text)?,
        })
    }
}

fn number(text: &str) -> Result<Json, String> {
    if text.contains(['.', 'e', 'E']) {
        return text
            .parse()
            .map(Json::Float64)
            .map_err(|error| format!("{text}: {error}"));
    }
    Ok(match text.parse::<i64>() {
        Ok(number) => i32::try_from(number).map_or(Json::Int64(number), Json::Int32),
        Err(_) => Json::Huge,
    })
}

struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(String, &RawValue)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>().map_err(A::Error::custom)? {
                    match members.iter_mut().find(|(known, _)| *known == name) {
                        Some(member) => member.1 = value,
                        None => members.push((name, value)),
                    }
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_numbers_their_size() {
        let read = Json::read(r#"{"b": 1, "a": [1.0, 3000000000, 99999999999999999999, -0], "b": "ü"} rest"#).unwrap();
        let Json::Object(members) = &read else { panic!() };
        assert_eq!(members[0], ("b".to_owned(), Json::Text("ü".into())));
        let numbers = vec![
            Json::Float64(1.0),
            Json::Int64(3_000_000_000),
            Json::Huge,
            Json::Int32(0),
        ];
        assert_eq!(read.get("a"), Some(&Json::Array(numbers)));
    }

    #[test]
    fn what_is_no_object_or_array() {
        for text in ["", " {}", "1", "{", "[1 2]", r#"{"a"}"#, &"[".repeat(100_000)] {
            assert!(Json::read(text).is_err(), "{text}");
        }
        assert!(Json::read(&format!("{}{}", "[".repeat(201), "]".repeat(201))).is_ok());
        assert!(Json::read(&format!("{}{}", "[".repeat(202), "]".repeat(202))).is_err());
    }
}
