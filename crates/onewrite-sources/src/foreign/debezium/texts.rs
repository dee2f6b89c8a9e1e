//! Options given as texts under the names that Debezium and Kafka Connect know them by.

use std::collections::BTreeMap;

use onewrite_core::options::{Field, Kind, nearest};

/// Options by their names, as a file gives them.
pub type Texts = BTreeMap<String, String>;

/// Options of which each is known and has a value of its kind.
pub(super) struct Checked<'a> {
    texts: &'a Texts,
    prefix: &'a str,
    fields: &'static [Field],
}

impl<'a> Checked<'a> {
    /// Checks what stands under `prefix` (empty for all) against the fields.
    ///
    /// # Errors
    /// The first option that is not known, or whose value does not fit; with what was found and what is expected.
    pub fn new(texts: &'a Texts, prefix: &'a str, fields: &'static [Field]) -> Result<Self, String> {
        let checked = Self { texts, prefix, fields };
        for (name, found) in texts {
            let Some(rest) = name.strip_prefix(prefix) else {
                continue;
            };
            let Some(field) = fields.iter().find(|field| field.name == rest) else {
                return Err(unknown(
                    name,
                    fields.iter().map(|field| format!("{prefix}{}", field.name)),
                ));
            };
            let value = field.kind.parse(&normal(field.kind, found));
            value.map_err(|expected| format!("{name} is {found:?}; expected {expected}"))?;
        }
        Ok(checked)
    }

    /// An option's text, or its default.
    pub fn text(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|field| field.name == name)?;
        let given = self.texts.get(&format!("{}{name}", self.prefix)).map(String::as_str);
        given.or(field.default)
    }

    /// A flag, or its default.
    pub fn flag(&self, name: &str) -> bool {
        self.text(name).is_some_and(|text| normal(Kind::Flag, text) == "true")
    }

    /// A choice, or its default, in small letters.
    pub fn choice(&self, name: &str) -> String {
        self.text(name)
            .map(|text| text.trim().to_lowercase())
            .unwrap_or_default()
    }
}

/// That no option has this name, with the one that was most likely meant.
pub(super) fn unknown(name: &str, known: impl Iterator<Item = String>) -> String {
    let known: Vec<String> = known.collect();
    match nearest(name, known.iter().map(String::as_str)) {
        Some(meant) => format!("{name} is not an option here; did you mean {meant}?"),
        None => format!("{name} is not an option here; the options are {}", known.join(", ")),
    }
}

/// Java's configurations take flags and choices in letters of any size.
fn normal(kind: Kind, text: &str) -> String {
    match kind {
        Kind::Flag | Kind::Choice(_) => text.trim().to_lowercase(),
        _ => text.to_owned(),
    }
}
