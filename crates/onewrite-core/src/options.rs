//! One description of what can be configured, from which reading, defaults, errors, help and documentation all come.
//!
//! A source or a sink declares its [`Field`]s; the program reads a file and the environment against them and hands the
//! adapter checked [`Options`]. An adapter never sees text that it would have to reject for its shape.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::error::BoxError;
use crate::template::Template;

/// One configurable value.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its key in the file.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What holds where the file is silent, as it would be written there without quotes. `None`: nothing holds.
    pub default: Option<&'static str>,
    /// Whether it must be given.
    pub required: bool,
    /// One or two sentences: meaning, unit, limits.
    pub doc: &'static str,
}

/// A field that may be left out; nothing holds then.
pub const fn field(name: &'static str, kind: Kind, doc: &'static str) -> Field {
    Field {
        name,
        kind,
        default: None,
        required: false,
        doc,
    }
}

/// A field that may be left out; then this holds.
pub const fn defaulted(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Field {
    Field {
        default: Some(default),
        ..field(name, kind, doc)
    }
}

/// The kinds of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A text with an event's fields in it.
    Template,
    /// A text that is never shown again.
    Secret,
    /// A whole number in this range.
    Integer {
        /// The least.
        min: i64,
        /// The most.
        max: i64,
    },
    /// `true` or `false`.
    Flag,
    /// A time such as `250ms`, `30s`, `5m`, `2h` or `7d`.
    Duration,
    /// An amount of bytes such as `512kB`, `16MiB`, or a plain number.
    Bytes,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of texts. In the environment: separated by commas.
    List,
    /// A table of texts.
    Map,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => write!(formatter, "a text"),
            Self::Template => write!(
                formatter,
                "a text that may hold {{topic}}, {{key}}, {{type}}, {{id}} or {{header.NAME}}"
            ),
            Self::Secret => write!(formatter, "a text (kept secret)"),
            Self::Integer { min, max } if *max == i64::MAX => write!(formatter, "a whole number of at least {min}"),
            Self::Integer { min, max } => write!(formatter, "a whole number from {min} to {max}"),
            Self::Flag => write!(formatter, "true or false"),
            Self::Duration => write!(formatter, "a time such as \"250ms\", \"30s\", \"5m\", \"2h\" or \"7d\""),
            Self::Bytes => write!(formatter, "an amount of bytes such as \"512kB\" or \"16MiB\""),
            Self::Choice(words) => write!(formatter, "one of \"{}\"", words.join("\", \"")),
            Self::List => write!(formatter, "a list of texts"),
            Self::Map => write!(formatter, "a table of texts"),
        }
    }
}

/// A text that cannot print itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// A checked value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of [`Kind::Text`] and [`Kind::Choice`].
    Text(String),
    /// Of [`Kind::Template`].
    Template(Template),
    /// Of [`Kind::Secret`].
    Secret(Secret),
    /// Of [`Kind::Integer`] and, in bytes, [`Kind::Bytes`].
    Integer(i64),
    /// Of [`Kind::Flag`].
    Flag(bool),
    /// Of [`Kind::Duration`].
    Duration(Duration),
    /// Of [`Kind::List`].
    List(Vec<String>),
    /// Of [`Kind::Map`].
    Map(BTreeMap<String, String>),
}

impl Kind {
    /// Reads a scalar from its text; also how defaults and environment variables are read.
    ///
    /// # Errors
    /// What is expected instead, such as `a whole number from 1 to 65535`.
    pub fn parse(self, text: &str) -> Result<Value, String> {
        let expected = || self.to_string();
        match self {
            Self::Text => Ok(Value::Text(text.to_owned())),
            Self::Template => Template::parse(text)
                .map(Value::Template)
                .map_err(|error| format!("{self}; this one {error}")),
            Self::Secret => Ok(Value::Secret(Secret::new(text))),
            Self::Integer { .. } => self.integer(text.trim().parse().map_err(|_| expected())?),
            Self::Flag => text.trim().parse().map(Value::Flag).map_err(|_| expected()),
            Self::Duration => parse_duration(text.trim()).map(Value::Duration).ok_or_else(expected),
            Self::Bytes => parse_bytes(text.trim()).map(Value::Integer).ok_or_else(expected),
            Self::Choice(words) if words.contains(&text) => Ok(Value::Text(text.to_owned())),
            Self::Choice(_) | Self::Map => Err(expected()),
            Self::List => Ok(Value::List(
                text.split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(str::to_owned)
                    .collect(),
            )),
        }
    }

    /// Checks a whole number.
    ///
    /// # Errors
    /// What is expected instead.
    pub fn integer(self, number: i64) -> Result<Value, String> {
        match self {
            Self::Integer { min, max } if (min..=max).contains(&number) => Ok(Value::Integer(number)),
            Self::Bytes if number >= 0 => Ok(Value::Integer(number)),
            _ => Err(self.to_string()),
        }
    }
}

/// Checked values of one section of the configuration; every field is there that is required or has a default.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The section as a person finds it, such as `sinks.events`.
    section: String,
    values: BTreeMap<&'static str, Value>,
}

impl Options {
    /// An empty set for a section of this name.
    pub fn new(section: impl Into<String>) -> Self {
        Self {
            section: section.into(),
            values: BTreeMap::new(),
        }
    }

    /// A set from texts, with the fields' defaults: for tests and for programs that link the engine.
    ///
    /// # Errors
    /// The first text that does not fit, unknown name, or missing required field.
    pub fn from_texts(section: &str, fields: &[Field], texts: &[(&str, &str)]) -> Result<Self, String> {
        let mut options = Self::new(section);
        for (name, text) in texts {
            let field = fields
                .iter()
                .find(|field| field.name == *name)
                .ok_or(format!("{section}.{name}: unknown key"))?;
            let value = field
                .kind
                .parse(text)
                .map_err(|expected| format!("{section}.{name}: expected {expected}"))?;
            options.set(field, value);
        }
        options
            .fill(fields)
            .map_err(|name| format!("{section}.{name}: missing"))?;
        Ok(options)
    }

    /// Sets a value that was checked against `field`.
    pub fn set(&mut self, field: &Field, value: Value) {
        self.values.insert(field.name, value);
    }

    /// Adds the defaults of fields that are not set.
    ///
    /// # Errors
    /// The name of a required field that is missing.
    ///
    /// # Panics
    /// When a declared default does not fit its kind, which the adapter's tests show.
    pub fn fill(&mut self, fields: &[Field]) -> Result<(), &'static str> {
        for field in fields {
            if self.values.contains_key(field.name) {
                continue;
            }
            match field.default {
                Some(text) => {
                    let value = field.kind.parse(text).expect("a declared default fits its kind");
                    self.set(field, value);
                }
                None if field.required => return Err(field.name),
                None => {}
            }
        }
        Ok(())
    }

    /// The section's name.
    pub fn section(&self) -> &str {
        &self.section
    }

    /// A value, whatever it is.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// A text or choice.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.values.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A template.
    pub fn template(&self, name: &str) -> Option<&Template> {
        match self.values.get(name) {
            Some(Value::Template(template)) => Some(template),
            _ => None,
        }
    }

    /// A secret.
    pub fn secret(&self, name: &str) -> Option<&Secret> {
        match self.values.get(name) {
            Some(Value::Secret(secret)) => Some(secret),
            _ => None,
        }
    }

    /// A whole number or an amount of bytes.
    pub fn integer(&self, name: &str) -> Option<i64> {
        match self.values.get(name) {
            Some(Value::Integer(number)) => Some(*number),
            _ => None,
        }
    }

    /// A flag; `false` when it is not set.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.values.get(name), Some(Value::Flag(true)))
    }

    /// A time.
    pub fn duration(&self, name: &str) -> Option<Duration> {
        match self.values.get(name) {
            Some(Value::Duration(duration)) => Some(*duration),
            _ => None,
        }
    }

    /// A list; empty when it is not set.
    pub fn list(&self, name: &str) -> &[String] {
        match self.values.get(name) {
            Some(Value::List(items)) => items,
            _ => &[],
        }
    }

    /// A table's entries; none when it is not set.
    pub fn map(&self, name: &str) -> impl Iterator<Item = (&str, &str)> {
        let entries = match self.values.get(name) {
            Some(Value::Map(entries)) => Some(entries),
            _ => None,
        };
        entries
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// An option that fits its kind but of which nothing can be made.
#[derive(Debug, thiserror::Error)]
#[error("{section}.{key}: {problem}")]
pub struct BuildError {
    /// The section of the configuration, such as `sinks.events`.
    pub section: String,
    /// The option's name.
    pub key: &'static str,
    /// What was found, what was expected, what to do.
    pub problem: String,
    /// The error behind it.
    pub source: Option<BoxError>,
}

impl BuildError {
    /// An error about the option `key` of `options`.
    pub fn new(options: &Options, key: &'static str, problem: impl Into<String>) -> Self {
        Self {
            section: options.section().to_owned(),
            key,
            problem: problem.into(),
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// The name among `known` that a person most likely meant.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

fn parse_bytes(text: &str) -> Option<i64> {
    let (number, unit) = split_unit(text)?;
    let factor = match unit {
        "" | "B" => 1,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)?.try_into().ok()
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[Field] = &[
        Field {
            name: "wait",
            kind: Kind::Duration,
            default: Some("250ms"),
            required: false,
            doc: "",
        },
        Field {
            name: "size",
            kind: Kind::Bytes,
            default: Some("16MiB"),
            required: false,
            doc: "",
        },
        Field {
            name: "url",
            kind: Kind::Text,
            default: None,
            required: true,
            doc: "",
        },
    ];

    #[test]
    fn defaults_hold_and_what_is_missing_is_told() {
        let options = Options::from_texts("sinks.x", FIELDS, &[("url", "u")]).unwrap();
        assert_eq!(options.duration("wait"), Some(Duration::from_millis(250)));
        assert_eq!(options.integer("size"), Some(16 << 20));
        assert_eq!(
            Options::from_texts("sinks.x", FIELDS, &[]).unwrap_err(),
            "sinks.x.url: missing"
        );
    }

    #[test]
    fn a_wrong_value_is_told_with_what_is_expected() {
        let error = Options::from_texts("sinks.x", FIELDS, &[("wait", "soon")]).unwrap_err();
        assert_eq!(
            error,
            "sinks.x.wait: expected a time such as \"250ms\", \"30s\", \"5m\", \"2h\" or \"7d\""
        );
        assert_eq!(nearest("broker", ["brokers", "url"].into_iter()), Some("brokers"));
    }

    #[test]
    fn a_secret_does_not_print_itself() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(…)");
    }
}
