//! User properties: what of a header's name and value IBM MQ can carry, and how the REST API takes it.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::settings::Properties;

/// What cannot stand in a value: all but visible ASCII, and what the header's syntax or the encoding is made of.
const VALUE: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b';').add(b',').add(b'"').add(b'\\');

/// Words of selectors, which are no names of properties (IBM MQ, "Property names").
const KEYWORDS: &[&str] = &[
    "and", "between", "escape", "false", "in", "is", "like", "not", "null", "or", "true",
];

/// Beginnings of names that IBM MQ and JMS keep for themselves.
const RESERVED: &[&str] = &["jms", "mq"];

/// The value of one header `ibm-mq-usr`: a property of type string.
pub(super) fn property(form: Properties, header: &str, value: &str) -> String {
    let name = name(header);
    let value = encoded(value);
    match form {
        Properties::Quoted => format!("{name};\"{value}\";string"),
        Properties::Plain | Properties::None => format!("{name};{value};string"),
    }
}

/// A Java identifier from which the header's name can be told.
pub(crate) fn name(header: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let lower = header.to_ascii_lowercase();
    let taken = KEYWORDS.contains(&&*lower) || RESERVED.iter().any(|reserved| lower.starts_with(reserved));
    let mut name = String::with_capacity(header.len());
    for (at, byte) in header.bytes().enumerate() {
        let first_is_wrong = at == 0 && (taken || byte.is_ascii_digit());
        match byte {
            b'-' if !first_is_wrong => name.push('_'),
            byte if plain(byte) && !first_is_wrong => name.push(char::from(byte)),
            byte => name.push_str(&format!("${byte:02x}")),
        }
    }
    name
}

/// The value without anything that the header's syntax, or HTTP, gives a meaning of its own. The MQI gives nothing a meaning, but a
/// reader need not know by which transport a message came.
pub(crate) fn encoded(value: &str) -> String {
    utf8_percent_encode(value, VALUE).to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_java_identifiers() {
        for (header, expected) in [
            ("onewrite-occurred-at", "onewrite_occurred_at"),
            ("traceparent", "traceparent"),
            ("X-Text", "X_Text"),
            ("a_b.c$d", "a$5fb$2ec$24d"),
            ("1st", "$31st"),
            ("jms-type", "$6ams_type"),
            ("MQ-x", "$4dQ_x"),
            ("not", "$6eot"),
            ("note", "note"),
        ] {
            assert_eq!(name(header), expected);
        }
    }

    #[test]
    fn a_property_has_a_name_a_value_and_a_type() {
        let value = "text/plain; charset=utf-8";
        assert_eq!(
            property(Properties::Quoted, "content-type", value),
            "content_type;\"text/plain%3B%20charset=utf-8\";string"
        );
        assert_eq!(
            property(Properties::Plain, "a", "é%,\"\\"),
            "a;%C3%A9%25%2C%22%5C;string"
        );
    }

    proptest! {
        #[test]
        fn different_headers_have_different_names(headers in prop::collection::hash_set("[ -~]{1,6}", 2..40)) {
            let mut seen = HashMap::new();
            for header in headers {
                let name = name(&header);
                prop_assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_$".contains(&byte)));
                prop_assert!(!name.starts_with(|first: char| first.is_ascii_digit()));
                if let Some(other) = seen.insert(name, header.clone()) {
                    prop_assert_eq!(other, header);
                }
            }
        }
    }
}
