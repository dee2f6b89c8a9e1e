//! The configuration as it is written: sections, keys, and a comment where somebody has to know something.

use std::fmt::Write as _;

use toml_edit::{Key, Value};

use super::report::{Group, Report};
use crate::configuration::example::wrapped;
use crate::output::human::printable;

/// A section of the file.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its heading, such as `[source]`; empty at the top.
    heading: String,
    /// What it is.
    about: String,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    comment: Option<String>,
    key: String,
    value: Value,
}

impl Section {
    /// A section without keys.
    pub fn new(heading: impl Into<String>, about: impl Into<String>) -> Self {
        Self {
            heading: heading.into(),
            about: about.into(),
            entries: Vec::new(),
        }
    }

    /// Adds a key.
    pub fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.entries.push(Entry {
            comment: None,
            key: key.to_owned(),
            value: value.into(),
        });
    }

    /// Adds a key with a comment above it.
    pub fn put_with(&mut self, key: &str, value: impl Into<Value>, comment: impl Into<String>) {
        self.put(key, value);
        self.entries.last_mut().expect("one was put").comment = Some(comment.into());
    }

    /// Whether it has no keys.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// The text of the file. `whence` says what it was made of; sections without keys are left out.
pub fn render(whence: &str, sections: &[Section], report: &Report) -> String {
    let mut text = String::new();
    comment(&mut text, whence);
    if !report.variables.is_empty() {
        let names: Vec<&str> = report.variables.iter().map(String::as_str).collect();
        comment(
            &mut text,
            &format!("Environment variables that it takes: {}.", names.join(", ")),
        );
    }
    for section in sections.iter().filter(|section| !section.is_empty()) {
        text.push('\n');
        comment(&mut text, &section.about);
        if !section.heading.is_empty() {
            let _ = writeln!(text, "{}", section.heading);
        }
        for entry in &section.entries {
            if let Some(words) = &entry.comment {
                comment(&mut text, words);
            }
            let _ = writeln!(text, "{} = {}", Key::new(&entry.key), entry.value);
        }
    }
    let lacking: Vec<_> = report.of(&[Group::NoCounterpart]).collect();
    if !lacking.is_empty() {
        text.push('\n');
        comment(&mut text, "What Debezium was told and Onewrite has no counterpart for:");
        for finding in lacking {
            comment(&mut text, &format!("- {}: {}", finding.key, finding.text));
        }
    }
    text
}

/// Longest line of a comment, in characters.
const LINE_CHARACTERS: usize = 118;

fn comment(text: &mut String, words: &str) {
    for line in wrapped(words, LINE_CHARACTERS).iter().filter(|line| !line.is_empty()) {
        // No comment of TOML may hold a control character, and a key of the connector's may.
        let _ = writeln!(text, "# {}", printable(line));
    }
}
