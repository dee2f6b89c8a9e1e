//! JSON whose numbers keep their digits: 0.1 and 12345678901234567890.12 are not what the nearest binary fraction is.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// One JSON value, of which the inner ones are still to be read.
#[derive(Debug)]
pub(super) enum Json<'a> {
    Null,
    Flag(bool),
    /// Its text.
    Number(&'a str),
    Text(Cow<'a, str>),
    Array(Vec<&'a RawValue>),
    /// In the order of the text; of members of one name the last counts.
    Object(Vec<(Cow<'a, str>, &'a RawValue)>),
}

impl<'a> Json<'a> {
    /// Reads a value.
    ///
    /// # Errors
    /// Where the text inside it is no JSON text, such as one with half a surrogate pair.
    pub fn read(raw: &'a RawValue) -> Result<Self, String> {
        let text = raw.get();
        let wrong = |error: serde_json::Error| format!("the JSON cannot be read: {error}");
        match text.as_bytes().first() {
            Some(b'{') => {
                let Members(members) = serde_json::from_str(text).map_err(wrong)?;
                Ok(Self::Object(members))
            }
            Some(b'[') => serde_json::from_str(text).map(Self::Array).map_err(wrong),
            Some(b'"') => {
                let Text(read) = serde_json::from_str(text).map_err(wrong)?;
                Ok(Self::Text(read))
            }
            Some(b't') => Ok(Self::Flag(true)),
            Some(b'f') => Ok(Self::Flag(false)),
            Some(b'n') => Ok(Self::Null),
            _ => Ok(Self::Number(text)),
        }
    }

    /// What it is, for messages; never its content, which may be private, but for short scalars.
    pub fn describe(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Flag(flag) => flag.to_string(),
            Self::Number(number) => format!("the number {}", short(number)),
            Self::Text(text) => format!("the text {:?}", short(text)),
            Self::Array(_) => "an array".to_owned(),
            Self::Object(_) => "an object".to_owned(),
        }
    }
}

/// How deep arrays and objects are nested in a text, where it is JSON.
pub(super) fn nesting(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn short(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(40) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collecting;

        impl<'de> Visitor<'de> for Collecting {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Self::Value = Vec::new();
                while let Some((Text(name), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    members.push((name, value));
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Collecting).map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_counted_outside_of_texts() {
        for (json, depth) in [
            ("1", 0),
            ("[]", 1),
            (r#"{"a":[{}],"b":{}}"#, 3),
            (r#"["[[\"[[\\",[1]]"#, 2),
        ] {
            assert_eq!(nesting(json.as_bytes()), depth, "{json}");
        }
    }

    #[test]
    fn numbers_keep_their_digits_and_texts_their_escapes() {
        let raw: &RawValue = serde_json::from_str(r#"{"n":1.10,"\u0061":"\ud83d\ude00"}"#).unwrap();
        let Ok(Json::Object(members)) = Json::read(raw) else {
            panic!("no object")
        };
        assert!(matches!(Json::read(members[0].1), Ok(Json::Number("1.10"))));
        assert_eq!(members[1].0, "a");
        assert!(matches!(Json::read(members[1].1), Ok(Json::Text(text)) if text == "😀"));
    }
}
