//! Options of tables that are not Onewrite's own.

use std::collections::BTreeMap;

use onewrite_core::options::{Options, Value};
use onewrite_sources::registry::source_type;

/// A table of texts: its name, and what is in it.
pub type Map<'a> = (&'a str, &'a [(&'a str, &'a str)]);

/// Options of a source of type `postgres`: texts, and tables of texts.
pub fn options(texts: &[(&str, &str)], maps: &[Map<'_>]) -> Result<Options, String> {
    let fields = source_type("postgres").map_err(|error| error.to_string())?.fields;
    let mut options = Options::from_texts("source", fields, texts)?;
    for (name, entries) in maps {
        let field = fields.iter().find(|field| field.name == *name);
        let entries = entries
            .iter()
            .map(|(key, text)| ((*key).to_owned(), (*text).to_owned()));
        options.set(
            field.ok_or(format!("{name}: unknown key"))?,
            Value::Map(BTreeMap::from_iter(entries)),
        );
    }
    Ok(options)
}
