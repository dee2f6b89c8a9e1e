//! A configuration as written, before anything is known about its meaning: tables, keys and values with their places.

use std::ops::Range;

use toml_edit::{Document, Item, TableLike, Value};

use super::problem::{Place, Problem};

/// A table with its place and its entries in the order of writing.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Where it begins.
    pub place: Place,
    /// Its entries.
    pub entries: Vec<Entry>,
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where it stands.
    pub place: Place,
    /// Its value.
    pub node: Node,
}

/// A value as written.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// `true` or `false`.
    Flag(bool),
    /// A list.
    List(Vec<Node>),
    /// A table, or a section.
    Table(Table),
    /// The text of an environment variable, still to be read as whatever its key takes.
    Variable(String),
    /// Something that no key takes; what it is, in words.
    Other(&'static str),
}

impl Table {
    /// A table without entries.
    pub fn empty(place: Place) -> Self {
        Self {
            place,
            entries: Vec::new(),
        }
    }

    /// The entry of this key.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// The first place where it is not TOML. The line's own text is not repeated: it may hold a secret.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let lines = Lines::new(text);
        let document = Document::parse(text).map_err(|error| {
            Problem::new(
                lines.place(error.span()).unwrap_or(Place::File),
                "",
                format!("not TOML: {}", error.message()),
            )
        })?;
        Ok(lines.table(document.as_table(), Place::File))
    }
}

impl Node {
    /// What it is, in words. With `secret`, its text is left out.
    pub fn describe(&self, secret: bool) -> String {
        match self {
            Self::Text(_) | Self::Variable(_) if secret => "a text".to_owned(),
            Self::Text(text) | Self::Variable(text) => shortened(text),
            Self::Integer(_) if secret => "a number".to_owned(),
            Self::Integer(number) => number.to_string(),
            Self::Flag(flag) => flag.to_string(),
            Self::List(_) => "a list".to_owned(),
            Self::Table(_) => "a table".to_owned(),
            Self::Other(words) => (*words).to_owned(),
        }
    }
}

/// Longest piece of a value that an error repeats, in characters.
const SHOWN_CHARACTERS: usize = 60;

fn shortened(text: &str) -> String {
    if text.chars().count() <= SHOWN_CHARACTERS {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(SHOWN_CHARACTERS).collect();
    format!("{start:?}…")
}

/// Turns positions in a text into lines, and TOML into a [`Table`].
struct Lines<'a> {
    text: &'a str,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        Self { text }
    }

    fn place(&self, span: Option<Range<usize>>) -> Option<Place> {
        let upto = self.text.get(..span?.start)?;
        Some(Place::Line(upto.matches('\n').count() + 1))
    }

    fn table(&self, table: &dyn TableLike, place: Place) -> Table {
        let entries = table
            .iter()
            .map(|(key, item)| {
                let span = table.key(key).and_then(|key| key.span()).or_else(|| item.span());
                let place = self.place(span).unwrap_or_else(|| place.clone());
                Entry {
                    key: key.to_owned(),
                    node: self.item(item, &place),
                    place,
                }
            })
            .collect();
        Table { place, entries }
    }

    fn item(&self, item: &Item, place: &Place) -> Node {
        match item {
            Item::None => Node::Other("nothing"),
            Item::Value(value) => self.value(value, place),
            Item::Table(table) => Node::Table(self.table(table, place.clone())),
            Item::ArrayOfTables(tables) => Node::List(
                tables
                    .iter()
                    .map(|table| {
                        let place = self.place(table.span()).unwrap_or_else(|| place.clone());
                        Node::Table(self.table(table, place))
                    })
                    .collect(),
            ),
        }
    }

    fn value(&self, value: &Value, place: &Place) -> Node {
        match value {
            Value::String(text) => Node::Text(text.value().clone()),
            Value::Integer(number) => Node::Integer(*number.value()),
            Value::Boolean(flag) => Node::Flag(*flag.value()),
            Value::Float(_) => Node::Other("a number with a fraction"),
            Value::Datetime(_) => Node::Other("a date or time"),
            Value::Array(items) => Node::List(items.iter().map(|item| self.value(item, place)).collect()),
            Value::InlineTable(table) => Node::Table(self.table(table, place.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_knows_its_line() {
        let text = "name = \"a\"\n\n[source]\ntype = \"x\"\n[sinks.one]\nkeys = [\n 1,\n]\n[[routes]]\nname = 1\n[[routes]]\n\
                    match = { topic = \"t\" }\n";
        let table = Table::parse(text).unwrap();
        assert_eq!(table.get("name").unwrap().place, Place::Line(1));
        let Node::Table(source) = &table.get("source").unwrap().node else {
            panic!()
        };
        assert_eq!(
            (source.place.clone(), source.entries[0].place.clone()),
            (Place::Line(3), Place::Line(4))
        );
        let Node::Table(sinks) = &table.get("sinks").unwrap().node else {
            panic!()
        };
        assert_eq!(sinks.entries[0].place, Place::Line(5));
        let Node::List(routes) = &table.get("routes").unwrap().node else {
            panic!()
        };
        let Node::Table(second) = &routes[1] else { panic!() };
        assert_eq!(
            (second.place.clone(), second.entries[0].place.clone()),
            (Place::Line(11), Place::Line(12))
        );
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line_and_without_its_text() {
        let problem = Table::parse("name = \"a\"\nurl = \"hunter2\n").unwrap_err();
        assert_eq!(problem.place, Place::Line(2));
        assert!(!problem.message.contains("hunter2"), "{}", problem.message);
    }
}
