//! Formats: the sections `[formats.NAME]`, and the types that need none.

use onewrite_formats::registry::{FormatType, format_type, format_types};

use super::route::wrong_name;
use super::section::{Reader, Section, unknown};
use super::settings::read_type;
use super::tree::Table;

/// A format as configured.
#[derive(Debug)]
pub struct FormatSettings {
    /// Its name, as routes know it.
    pub name: String,
    /// Its type.
    pub format_type: &'static FormatType,
    /// Its values.
    pub section: Section,
}

/// Reads `[formats.NAME]`: the names of all sections, right or wrong, and those that are right.
pub fn read<'t>(reader: &mut Reader, tree: &'t Table) -> (Vec<&'t str>, Vec<FormatSettings>) {
    let table = tree
        .get("formats")
        .and_then(|entry| reader.table(entry, "formats.NAME"));
    let (mut defined, mut formats) = (Vec::new(), Vec::new());
    for entry in table.into_iter().flat_map(|table| &table.entries) {
        let key = format!("formats.{}", entry.key);
        if let Some(message) = wrong_name(&entry.key) {
            reader.problem(&entry.place, &key, message);
        }
        defined.push(entry.key.as_str());
        let format = reader
            .table(entry, &key)
            .and_then(|table| read_one(reader, &entry.key, &key, table));
        formats.extend(format);
    }
    (defined, formats)
}

/// Why a route's format is none, given the names of the sections.
pub fn wrong(name: &str, defined: &[&str]) -> Option<String> {
    if defined.contains(&name) {
        return None;
    }
    match format_type(name) {
        Ok(found) if found.needs_no_section() => None,
        Ok(_) => Some(format!(
            "the format {name:?} needs a section [formats.{name}] with type = \"{name}\", since it has keys that must be given"
        )),
        Err(_) => {
            let bare = format_types()
                .iter()
                .filter(|format_type| format_type.needs_no_section());
            let known: Vec<&str> = defined.iter().copied().chain(bare.map(|bare| bare.name)).collect();
            Some(unknown(
                &format!("there is no format {name:?}"),
                name,
                known.iter().copied(),
            ))
        }
    }
}

fn read_one(reader: &mut Reader, name: &str, key: &str, table: &Table) -> Option<FormatSettings> {
    let types = format_types().iter().map(|format_type| format_type.name);
    let written = read_type(reader, key, table, types)?;
    let type_key = format!("{key}.type");
    match format_type(&written.text) {
        Ok(found) => {
            if found.name != name && format_type(name).is_ok() {
                let message = format!(
                    "is {:?}, but {name:?} is the name of another type; choose another name",
                    found.name
                );
                reader.problem(&written.place, type_key, message);
            }
            let section = reader.section(key, table, found.fields, &["type"])?;
            Some(FormatSettings {
                name: name.to_owned(),
                format_type: found,
                section,
            })
        }
        Err(error) => {
            reader.problem(&written.place, type_key, error.to_string());
            None
        }
    }
}
