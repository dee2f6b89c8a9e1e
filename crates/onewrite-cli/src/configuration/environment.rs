//! The process's environment: `ONEWRITE__…` variables that stand for keys, and `${NAME}` inside texts.

use std::collections::BTreeMap;

use super::problem::{Place, Problem};
use super::tree::{Entry, Node, Table};

/// What a variable that stands for a key begins with.
pub const PREFIX: &str = "ONEWRITE__";

/// Environment variables by name.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// That of this process. Variables that are not UTF-8 are left out.
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Whether any variable stands for a key.
    pub fn configures(&self) -> bool {
        self.keys().next().is_some()
    }

    /// Puts the values of `ONEWRITE__…` variables into the tree, over what the file says.
    pub fn overlay(&self, tree: &mut Table, problems: &mut Vec<Problem>) {
        let path =
            |name: &str| -> Vec<String> { name[PREFIX.len()..].split("__").map(str::to_ascii_lowercase).collect() };
        let mut keys: Vec<_> = self.keys().map(|(name, value)| (path(name), name, value)).collect();
        // By length first inside one part, so that the route 10 comes after the route 9, which it follows in the list.
        keys.sort_by_cached_key(|(path, ..)| path.iter().map(|part| (part.len(), part.clone())).collect::<Vec<_>>());
        for (path, name, value) in keys {
            let place = Place::Variable(name.to_owned());
            if path.iter().any(String::is_empty) {
                problems.push(Problem::new(
                    place,
                    "",
                    "names no key; expected something like ONEWRITE__SOURCE__URL",
                ));
            } else if let Err(message) = put(tree, &path, value, &place) {
                problems.push(Problem::new(place, path.join("."), message));
            }
        }
    }

    /// Replaces each `${NAME}` of `text` by the variable's value, and `$${` by `${`.
    ///
    /// # Errors
    /// What is wrong, naming the variable.
    pub fn fill_in(&self, text: &str) -> Result<String, String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, from) = rest.split_at(at);
            if let Some(before) = before.strip_suffix('$') {
                filled.push_str(before);
                filled.push_str("${");
                rest = &from[2..];
                continue;
            }
            let end = from
                .find('}')
                .ok_or("\"${\" without a \"}\"; write \"$${\" where the text itself is meant")?;
            let name = &from[2..end];
            if !is_name(name) {
                return Err(format!(
                    "{name:?} is no name of an environment variable; write \"$${{\" where the text itself is meant"
                ));
            }
            let value = self
                .get(name)
                .ok_or_else(|| format!("the environment variable {name} is not set"))?;
            filled.push_str(before);
            filled.push_str(value);
            rest = &from[end + 1..];
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn keys(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .filter(|(name, _)| name.starts_with(PREFIX))
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(variables: T) -> Self {
        Self(variables.into_iter().collect())
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || character == '_')
}

/// Puts one value in its place, making sections and the next route where they are missing.
fn put(table: &mut Table, path: &[String], value: &str, place: &Place) -> Result<(), String> {
    let (key, rest) = path.split_first().expect("a path has a key");
    let at = find(table, key)?;
    let fresh = |node| Entry {
        key: key.clone(),
        place: place.clone(),
        node,
    };
    if rest.is_empty() {
        let entry = fresh(Node::Variable(value.to_owned()));
        match at {
            Some(at) => {
                table.entries[at] = Entry {
                    key: table.entries[at].key.clone(),
                    ..entry
                }
            }
            None => table.entries.push(entry),
        }
        return Ok(());
    }
    let at = at.unwrap_or_else(|| {
        let is_list = key == "routes";
        let node = if is_list {
            Node::List(Vec::new())
        } else {
            Node::Table(Table::empty(place.clone()))
        };
        table.entries.push(fresh(node));
        table.entries.len() - 1
    });
    match &mut table.entries[at].node {
        Node::Table(inner) => put(inner, rest, value, place),
        Node::List(items) => put_in_list(items, rest, value, place),
        _ => Err(format!("{key:?} is no section")),
    }
}

fn put_in_list(items: &mut Vec<Node>, path: &[String], value: &str, place: &Place) -> Result<(), String> {
    let (index, rest) = path.split_first().expect("a path has an index");
    let count = items.len();
    let expected = || format!("{index:?} is no place in the list; expected a number from 0 to {count}");
    let index: usize = index.parse().map_err(|_| expected())?;
    if index == count {
        items.push(Node::Table(Table::empty(place.clone())));
    }
    match items.get_mut(index) {
        Some(Node::Table(table)) if !rest.is_empty() => put(table, rest, value, place),
        Some(_) => Err("expected a key behind the number, as in ONEWRITE__ROUTES__0__SINK".to_owned()),
        None => Err(expected()),
    }
}

/// The entry that a part of a variable's name stands for: names of variables have neither small letters nor `-` and `.`.
fn find(table: &Table, key: &str) -> Result<Option<usize>, String> {
    let same = |written: &str| {
        written.len() == key.len()
            && written.bytes().zip(key.bytes()).all(|(left, right)| {
                left.to_ascii_lowercase() == right || (matches!(left, b'-' | b'.') && right == b'_')
            })
    };
    let mut found = table.entries.iter().enumerate().filter(|(_, entry)| same(&entry.key));
    match (found.next(), found.next()) {
        (Some((_, first)), Some((_, second))) => Err(format!(
            "stands for both {:?} and {:?}; rename one of them",
            first.key, second.key
        )),
        (found, _) => Ok(found.map(|(at, _)| at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn variables_are_filled_in_and_escaped() {
        let environment = environment(&[("A", "x"), ("B", "${A}")]);
        for (text, filled) in [
            ("${A}/${A}", "x/x"),
            ("$${A}", "${A}"),
            ("${B}", "${A}"),
            ("$5 {A} $", "$5 {A} $"),
            ("é${A}é", "éxé"),
        ] {
            assert_eq!(environment.fill_in(text).as_deref(), Ok(filled), "{text}");
        }
        assert_eq!(
            environment.fill_in("${C}"),
            Err("the environment variable C is not set".to_owned())
        );
        assert!(environment.fill_in("${A").unwrap_err().contains("without a"));
        assert!(environment.fill_in("${a b}").unwrap_err().contains("is no name"));
    }

    #[test]
    fn variables_stand_over_the_file_and_make_what_is_missing() {
        let mut tree =
            Table::parse("name = \"a\"\n[sinks.my-events]\ntype = \"file\"\n[[routes]]\nname = \"r\"\n").unwrap();
        let mut problems = Vec::new();
        environment(&[
            ("ONEWRITE__NAME", "b"),
            ("ONEWRITE__SINKS__MY_EVENTS__PATH", "/p"),
            ("ONEWRITE__ROUTES__0__SINK", "s"),
            ("ONEWRITE__ROUTES__1__MATCH__TOPIC", "t"),
            ("ONEWRITE__ROUTES__3__SINK", "s"),
            ("ONEWRITE__NAME__X", "s"),
            ("ONEWRITE__SOURCE__", "s"),
            ("ONEWRITE_LOG", "s"),
        ])
        .overlay(&mut tree, &mut problems);
        problems.sort();
        assert_eq!(tree.get("name").unwrap().node, Node::Variable("b".to_owned()));
        let Node::Table(sinks) = &tree.get("sinks").unwrap().node else {
            panic!()
        };
        let Node::Table(sink) = &sinks.get("my-events").unwrap().node else {
            panic!()
        };
        assert_eq!(sink.get("path").unwrap().node, Node::Variable("/p".to_owned()));
        let Node::List(routes) = &tree.get("routes").unwrap().node else {
            panic!()
        };
        assert_eq!(routes.len(), 2);
        let told: Vec<String> = problems.iter().map(|problem| problem.line("f")).collect();
        assert_eq!(
            told,
            [
                "ONEWRITE__NAME__X: name.x: \"name\" is no section",
                "ONEWRITE__ROUTES__3__SINK: routes.3.sink: \"3\" is no place in the list; expected a number from 0 to 2",
                "ONEWRITE__SOURCE__: names no key; expected something like ONEWRITE__SOURCE__URL",
            ]
        );
    }
}
