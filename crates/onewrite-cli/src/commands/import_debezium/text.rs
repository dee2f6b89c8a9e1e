//! A value of the file: text, and in it references to what stands elsewhere. Kafka Connect asks its config providers
//! (`${file:/path:key}`), Debezium Server asks Quarkus (`${NAME:default}`), and this program asks the environment (`${NAME}`).

use std::collections::BTreeMap;

/// A value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    pieces: Vec<Piece>,
}

/// A part of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it stands.
    Literal(String),
    /// What stands elsewhere.
    Reference(Reference),
}

/// Where something stands, in this program's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The environment variable that holds it, or is to hold it.
    pub variable: String,
    /// The file that holds nothing else, which can take the variable's place where a secret is asked for.
    pub file: Option<String>,
    /// The reference as the file has it, where somebody has to put into the variable what the reference stood for.
    pub stood_for: Option<String>,
}

impl Text {
    /// A value of Kafka Connect: `${provider:path:key}` and `${provider:key}` refer, and no other `${` does.
    pub fn of_connect(text: &str) -> Self {
        let mut read = Self::default();
        read.push_connect(text);
        read
    }

    /// A value of Debezium Server. `$${` stands for `${` itself, which Kafka Connect's part of the server then reads in its own
    /// way; `${NAME}` and `${NAME:default}` refer to another key of the same file or to the environment.
    pub fn of_server(text: &str, file: &BTreeMap<&str, &str>) -> Self {
        let mut read = Self::default();
        read.push_server(text, file, NESTING_MAX);
        read
    }

    /// The text, where it refers to nothing.
    pub fn literal(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The one reference that the value is made of.
    pub fn reference(&self) -> Option<&Reference> {
        match self.pieces.as_slice() {
            [Piece::Reference(reference)] => Some(reference),
            _ => None,
        }
    }

    /// Every reference in it.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Reference(reference) => Some(reference),
            Piece::Literal(_) => None,
        })
    }

    /// The value as this program's configuration has it, its literal parts changed by `change` first.
    pub fn configured(&self, change: impl Fn(&str) -> String) -> String {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Literal(text) => change(text).replace("${", "$${"),
            Piece::Reference(reference) => format!("${{{}}}", reference.variable),
        });
        pieces.collect()
    }

    fn push_literal(&mut self, text: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Literal(last)) => last.push_str(text),
            _ if text.is_empty() => {}
            _ => self.pieces.push(Piece::Literal(text.to_owned())),
        }
    }

    fn push_connect(&mut self, text: &str) {
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let inside = &rest[at + 2..];
            let Some(end) = inside.find('}') else { break };
            self.push_literal(&rest[..at]);
            let whole = &rest[at..at + 2 + end + 1];
            match of_provider(&inside[..end], whole) {
                Some(reference) => self.pieces.push(Piece::Reference(reference)),
                None => self.push_literal(whole),
            }
            rest = &inside[end + 1..];
        }
        self.push_literal(rest);
    }

    fn push_server(&mut self, text: &str, file: &BTreeMap<&str, &str>, depth: usize) {
        let mut rest = text;
        // What is escaped for Quarkus is read by Kafka Connect's rules afterwards, so it is gathered first.
        let mut plain = String::new();
        while let Some(at) = rest.find("${") {
            let (before, from) = rest.split_at(at);
            if let Some(before) = before.strip_suffix(['$', '\\']) {
                plain.push_str(before);
                plain.push_str("${");
                rest = &from[2..];
                continue;
            }
            let Some(end) = closing(&from[2..]) else { break };
            plain.push_str(before);
            let (inside, whole) = (&from[2..2 + end], &from[..2 + end + 1]);
            rest = &from[2 + end + 1..];
            let name = inside.split(':').next().unwrap_or_default();
            if name == ROUTED_BY_VALUE {
                plain.push_str(whole);
                continue;
            }
            self.push_connect(&std::mem::take(&mut plain));
            match file.get(name).filter(|_| depth > 0) {
                Some(value) => self.push_server(value, file, depth - 1),
                None => self.pieces.push(Piece::Reference(of_quarkus(inside, whole))),
            }
        }
        plain.push_str(rest);
        self.push_connect(&plain);
    }
}

/// How many times a reference may lead to another within one file; more can only be a circle.
const NESTING_MAX: usize = 16;

/// The router's own placeholder, which people write without escaping it.
const ROUTED_BY_VALUE: &str = "routedByValue";

/// Where the brace closes that is open already.
fn closing(text: &str) -> Option<usize> {
    let mut open = 1;
    text.char_indices().find_map(|(at, character)| {
        match character {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        (open == 0).then_some(at)
    })
}

/// A reference to a config provider; `None` where there is no provider's name in it.
fn of_provider(inside: &str, whole: &str) -> Option<Reference> {
    let (provider, place) = inside.split_once(':')?;
    let (path, key) = match place.rsplit_once(':') {
        Some((path, key)) => (Some(path), key),
        None => (None, place),
    };
    let is_variable = path.is_none() && variable_name(key) == key;
    let file = path
        .filter(|path| provider == "directory" && path.starts_with('/'))
        .map(|path| format!("{}/{key}", path.trim_end_matches('/')));
    Some(Reference {
        variable: if is_variable { key.to_owned() } else { invented(key) },
        file,
        stood_for: (!is_variable).then(|| whole.to_owned()),
    })
}

/// A reference to a property of Quarkus, which is looked for in the environment under a name without dots.
fn of_quarkus(inside: &str, whole: &str) -> Reference {
    // Behind two colons stands an encrypted value, which is nobody's to read.
    if let Some((handler, _)) = inside.split_once("::") {
        return Reference {
            variable: invented("secret"),
            file: None,
            stood_for: Some(format!("${{{handler}::…}}")),
        };
    }
    let (name, default) = inside
        .split_once(':')
        .map_or((inside, None), |(name, default)| (name, Some(default)));
    Reference {
        variable: variable_name(name),
        file: None,
        // A default may be a secret, so it is not repeated.
        stood_for: match default {
            Some(_) => Some(format!("${{{name}:…}}")),
            None => (variable_name(name) != name).then(|| whole.to_owned()),
        },
    }
}

/// The environment variable in which a property of this name is looked for.
fn variable_name(name: &str) -> String {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let begins_well = name.starts_with(|first: char| is_part(first) && !first.is_ascii_digit());
    if begins_well && name.chars().all(is_part) {
        return name.to_owned();
    }
    if !begins_well {
        return invented(name);
    }
    upper(name)
}

/// A variable of our own for what had no variable. One called USER or PATH would be there already.
fn invented(name: &str) -> String {
    let name = upper(name);
    // Two underscores would make a key of the configuration of it.
    format!("ONEWRITE_{}", name.trim_start_matches('_'))
}

fn upper(name: &str) -> String {
    let part = |character: char| {
        if character.is_ascii_alphanumeric() {
            character.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    name.chars().map(part).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::configuration::Environment;

    fn configured(text: &Text) -> String {
        text.configured(str::to_owned)
    }

    fn stood_for(text: &Text) -> Vec<String> {
        text.references()
            .filter_map(|reference| reference.stood_for.clone())
            .collect()
    }

    #[test]
    fn what_connect_refers_to_becomes_a_variable() {
        for (text, expected, told) in [
            ("plain", "plain", None),
            ("outbox.event.${routedByValue}", "outbox.event.$${routedByValue}", None),
            ("${env:DB_PASSWORD}", "${DB_PASSWORD}", None),
            ("jdbc-${env:A}-${env:B}", "jdbc-${A}-${B}", None),
            (
                "${file:/opt/secrets.properties:db.password}",
                "${ONEWRITE_DB_PASSWORD}",
                Some("${file:/opt/secrets.properties:db.password}"),
            ),
            (
                "${vault:secret/data/db:9}",
                "${ONEWRITE_9}",
                Some("${vault:secret/data/db:9}"),
            ),
            ("${open", "$${open", None),
        ] {
            let read = Text::of_connect(text);
            assert_eq!(configured(&read), expected);
            assert_eq!(stood_for(&read), Vec::from_iter(told.map(str::to_owned)), "{text}");
        }
        let read = Text::of_connect("${directory:/run/secrets/:password}");
        assert_eq!(read.reference().unwrap().file.as_deref(), Some("/run/secrets/password"));
    }

    #[test]
    fn what_quarkus_refers_to_is_looked_up_first() {
        let file = BTreeMap::from([("db.host", "${HOST:localhost}"), ("circle", "${circle}"), ("a", "b")]);
        for (text, expected, told) in [
            ("x-${a}-y", "x-b-y", vec![]),
            ("${db.host}:5432", "${HOST}:5432", vec!["${HOST:…}"]),
            ("${db.user}", "${DB_USER}", vec!["${db.user}"]),
            ("${PASSWORD:${OTHER:hunter2}}", "${PASSWORD}", vec!["${PASSWORD:…}"]),
            (
                "${aes-gcm-nopadding::hunter2}",
                "${ONEWRITE_SECRET}",
                vec!["${aes-gcm-nopadding::…}"],
            ),
            ("o.$${routedByValue}", "o.$${routedByValue}", vec![]),
            ("o.${routedByValue}", "o.$${routedByValue}", vec![]),
            ("$${file:/s:__key}", "${ONEWRITE_KEY}", vec!["${file:/s:__key}"]),
        ] {
            let read = Text::of_server(text, &file);
            assert_eq!(
                (configured(&read).as_str(), stood_for(&read)),
                (expected, told.into_iter().map(str::to_owned).collect())
            );
        }
        assert_eq!(configured(&Text::of_server("${circle}", &file)), "${circle}");
    }

    proptest! {
        #[test]
        fn a_literal_is_read_back_as_it_was(text in "([$]{0,2}[{]?[a-z:}]{0,3}|\\PC){0,20}") {
            let read = Text::of_connect(&text);
            if let Some(literal) = read.literal() {
                prop_assert_eq!(literal, &text);
                prop_assert_eq!(Environment::default().fill_in(&configured(&read)), Ok(text));
            }
        }
    }
}
