//! Reads one section of the tree against declared fields.

use std::collections::BTreeMap;

use onewrite_core::options::{BuildError, Field, Kind, Options, Secret, Value, nearest};

use super::environment::Environment;
use super::problem::{Place, Problem};
use super::tree::{Entry, Node, Table};

/// What a secret's text begins with when the secret is in a file.
const FILE_PREFIX: &str = "file:";

/// A section that was read: checked values, and where each was written.
#[derive(Clone, Debug)]
pub struct Section {
    /// The values, defaults included.
    pub options: Options,
    /// Where the section begins.
    pub place: Place,
    places: BTreeMap<String, Place>,
}

impl Section {
    /// Where a key was written; the section's own place where it was not.
    pub fn place_of(&self, key: &str) -> Place {
        self.places.get(key).unwrap_or(&self.place).clone()
    }

    /// That nothing can be made of the values, though each is right by itself.
    pub fn unusable(&self, error: BuildError) -> Problem {
        let cause = error.source.as_ref().map_or(String::new(), |cause| {
            format!(" ({})", onewrite_core::error::chain(cause.as_ref()))
        });
        let key = format!("{}.{}", error.section, error.key);
        Problem::new(self.place_of(error.key), key, error.problem + &cause)
    }
}

/// Reads sections and collects what is wrong with them.
pub struct Reader<'a> {
    /// Where `${NAME}` comes from.
    pub environment: &'a Environment,
    /// What was found wrong so far.
    pub problems: Vec<Problem>,
    /// Keys that were meant by unknown ones: that they are missing goes without saying.
    slips: Vec<String>,
}

impl<'a> Reader<'a> {
    /// A reader that knows of these problems already.
    pub fn new(environment: &'a Environment, problems: Vec<Problem>) -> Self {
        Self {
            environment,
            problems,
            slips: Vec::new(),
        }
    }

    /// Notes that a key is missing, unless an unknown one was meant for it.
    pub fn missing(&mut self, place: &Place, key: String, message: impl Into<String>) {
        if !self.slips.contains(&key) {
            self.problem(place, key, message);
        }
    }
    /// Notes a problem.
    pub fn problem(&mut self, place: &Place, key: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::new(place.clone(), key, message));
    }

    /// The table of an entry, or a problem.
    pub fn table<'t>(&mut self, entry: &'t Entry, key: &str) -> Option<&'t Table> {
        match &entry.node {
            Node::Table(table) => Some(table),
            other => {
                let found = other.describe(true);
                self.problem(
                    &entry.place,
                    key,
                    format!("found {found}; expected a section, such as [{key}]"),
                );
                None
            }
        }
    }

    /// Reads `table` as the section `name` against `fields`; the keys of `others` are known and read elsewhere. `None` when
    /// anything was wrong.
    pub fn section(&mut self, name: &str, table: &Table, fields: &[Field], others: &[&str]) -> Option<Section> {
        let before = self.problems.len();
        let section = self.as_far_as_right(name, table, fields, others);
        (self.problems.len() == before).then_some(section)
    }

    /// The same for a section whose values are checked further, one by one: what is wrong with a key is told and left out, and
    /// has no default either.
    pub fn as_far_as_right(&mut self, name: &str, table: &Table, fields: &[Field], others: &[&str]) -> Section {
        let mut section = Section {
            options: Options::new(name),
            place: table.place.clone(),
            places: BTreeMap::new(),
        };
        let full = |key: &str| {
            if name.is_empty() {
                key.to_owned()
            } else {
                format!("{name}.{key}")
            }
        };
        for entry in table
            .entries
            .iter()
            .filter(|entry| !others.contains(&entry.key.as_str()))
        {
            let Some(field) = fields.iter().find(|field| field.name == entry.key) else {
                let known = fields.iter().map(|field| field.name).chain(others.iter().copied());
                self.slips.extend(nearest(&entry.key, known.clone()).map(full));
                self.problem(
                    &entry.place,
                    full(&entry.key),
                    unknown("unknown key", &entry.key, known),
                );
                continue;
            };
            match self.value(field.kind, &entry.node) {
                Ok(value) => {
                    section.options.set(field, value);
                    section.places.insert(entry.key.clone(), entry.place.clone());
                }
                Err(message) => self.problem(&entry.place, full(&entry.key), message),
            }
        }
        for field in fields.iter().filter(|field| table.get(field.name).is_none()) {
            // What can be wrong here is only that the field is required.
            if section.options.fill(std::slice::from_ref(field)).is_err() {
                let message = format!("missing; expected {}", field.kind);
                self.missing(&table.place, full(field.name), message);
            }
        }
        section
    }

    /// The text of a value, with variables filled in.
    pub fn text(&self, node: &Node) -> Result<String, String> {
        match self.value(Kind::Text, node)? {
            Value::Text(text) => Ok(text),
            _ => unreachable!("a text is read as a text"),
        }
    }

    fn value(&self, kind: Kind, node: &Node) -> Result<Value, String> {
        let unexpected = |expected: &str| {
            format!(
                "found {}; expected {expected}",
                node.describe(matches!(kind, Kind::Secret | Kind::Map))
            )
        };
        match (kind, node) {
            (Kind::Map, Node::Table(table)) => self.map(table),
            (Kind::Map, Node::Variable(text)) => {
                pairs(text).ok_or_else(|| unexpected("name=value pairs, separated by commas"))
            }
            (Kind::List, Node::List(items)) => self.list(items),
            (Kind::Integer { .. } | Kind::Bytes, Node::Integer(number)) => {
                kind.integer(*number).map_err(|expected| unexpected(&expected))
            }
            (Kind::Flag, Node::Flag(flag)) => Ok(Value::Flag(*flag)),
            (Kind::Secret, Node::Text(text)) => secret(self.environment.fill_in(text)?),
            (Kind::Secret, Node::Variable(text)) => secret(text.clone()),
            (_, Node::Variable(text)) => kind.parse(text).map_err(|expected| unexpected(&expected)),
            (Kind::Text | Kind::Template | Kind::Choice(_) | Kind::Duration | Kind::Bytes, Node::Text(text)) => kind
                .parse(&self.environment.fill_in(text)?)
                .map_err(|expected| unexpected(&expected)),
            _ => Err(unexpected(&kind.to_string())),
        }
    }

    fn list(&self, items: &[Node]) -> Result<Value, String> {
        let text = |item: &Node| match item {
            Node::Text(text) => self.environment.fill_in(text),
            other => Err(format!(
                "found {} in the list; expected texts only",
                other.describe(false)
            )),
        };
        items.iter().map(text).collect::<Result<_, _>>().map(Value::List)
    }

    fn map(&self, table: &Table) -> Result<Value, String> {
        let text = |entry: &Entry| {
            let text = match &entry.node {
                Node::Text(text) => self.environment.fill_in(text),
                Node::Variable(text) => Ok(text.clone()),
                other => Err(format!("found {}; expected a text", other.describe(false))),
            };
            text.map(|text| (entry.key.clone(), text))
                .map_err(|message| format!("under {:?}: {message}", entry.key))
        };
        table.entries.iter().map(text).collect::<Result<_, _>>().map(Value::Map)
    }
}

/// A message about an unknown name, with the nearest known one, or all where none is near.
pub fn unknown<'k>(what: &str, name: &str, known: impl Iterator<Item = &'k str> + Clone) -> String {
    match nearest(name, known.clone()) {
        Some(near) => format!("{what}; did you mean {near:?}?"),
        None => format!("{what}; expected {}", quoted(known)),
    }
}

/// Names in quotes, separated by commas: `"a", "b"`.
pub fn quoted<'k>(names: impl Iterator<Item = &'k str>) -> String {
    names.map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

fn pairs(text: &str) -> Option<Value> {
    let pair = |pair: &str| {
        pair.split_once('=')
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
    };
    text.split(',')
        .filter(|part| !part.trim().is_empty())
        .map(pair)
        .collect::<Option<_>>()
        .map(Value::Map)
}

/// A secret from its text, or from the file that the text names.
fn secret(text: String) -> Result<Value, String> {
    let Some(path) = text.strip_prefix(FILE_PREFIX) else {
        return Ok(Value::Secret(Secret::new(text)));
    };
    let content =
        std::fs::read_to_string(path).map_err(|error| format!("the secret's file {path} cannot be read: {error}"))?;
    Ok(Value::Secret(Secret::new(
        content
            .strip_suffix('\n')
            .map_or(&*content, |line| line.strip_suffix('\r').unwrap_or(line)),
    )))
}
