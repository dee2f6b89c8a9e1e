//! What was given, whichever of the three forms it has: settings under the names that Kafka Connect has for them.

use super::report::Finding;
use super::text::Text;
use super::{connect, properties, server};

/// Why a file is not a connector's configuration at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// What runs the connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Kafka Connect.
    Connect,
    /// Debezium Server.
    Server,
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its key as the file has it.
    pub key: String,
    /// Its name as Kafka Connect has it.
    pub name: String,
    /// Its value.
    pub value: Text,
}

/// The settings of a file, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// What reads the file.
    pub kind: Kind,
    /// The settings.
    pub settings: Vec<Setting>,
    /// What could be told while reading, of keys that are not among the settings.
    pub told: Vec<Finding>,
}

impl Given {
    /// Reads a file.
    ///
    /// # Errors
    /// What it is instead, or where it stops being what it seems to be.
    pub fn read(bytes: Vec<u8>) -> Result<Self, Unreadable> {
        // Java writes .properties in Latin-1 by default, where every byte is a character.
        let text = String::from_utf8(bytes)
            .unwrap_or_else(|other| other.into_bytes().into_iter().map(char::from).collect::<String>());
        let text = text.trim_start_matches('\u{feff}');
        if text.trim_start().starts_with('{') {
            return connect::read_json(text);
        }
        let properties = properties::parse(text)?;
        if properties.iter().any(|property| server::is_servers(&property.key)) {
            return Ok(server::read(properties));
        }
        connect::read_properties(properties)
    }

    /// The setting of this name.
    pub fn get(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.name == name)
    }

    /// The same, where its value is not empty.
    pub fn filled(&self, name: &str) -> Option<&Setting> {
        self.get(name).filter(|setting| setting.value.literal() != Some(""))
    }

    /// The value of this name, where it is given and refers to nothing.
    pub fn literal(&self, name: &str) -> Option<&str> {
        self.get(name)?.value.literal()
    }

    /// The items of a list of this name.
    pub fn list(&self, name: &str) -> Vec<&str> {
        let items = self.literal(name).unwrap_or_default().split(',').map(str::trim);
        items.filter(|item| !item.is_empty()).collect()
    }

    /// The settings whose names begin so, with the rest of their names.
    pub fn below<'g>(&'g self, prefix: &'g str) -> impl Iterator<Item = (&'g str, &'g Setting)> {
        let below = move |setting: &'g Setting| Some((setting.name.strip_prefix(prefix)?, setting));
        self.settings.iter().filter_map(below)
    }
}
