//! What became of each key, for people and for scripts.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::output::table::{Side, Table};

/// What became of a key; the graver of two comes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Onewrite does without it, and nothing changes for anybody.
    NotNeeded,
    /// It stands in the configuration.
    Translated,
    /// An environment variable stands in its place, and is to be set.
    SetVariable,
    /// It cannot be known from the file; the configuration marks the place.
    FillIn,
    /// Onewrite does not do this.
    NoCounterpart,
}

/// What became of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The key as the file has it; where it is missing there, the key of the configuration.
    pub key: String,
    /// What became of it.
    #[serde(skip)]
    pub group: Group,
    /// Where it went, what its lack means, or what to do. No value of the file that may be a secret is in it.
    pub text: String,
}

impl Finding {
    /// A finding.
    pub fn new(key: &str, group: Group, text: impl Into<String>) -> Self {
        Self {
            key: shown(key),
            group,
            text: text.into(),
        }
    }
}

/// A key without what is secret in it: of columns that are hashed, the salt.
fn shown(key: &str) -> String {
    match key.split_once(".with.salt.") {
        Some((before, _)) => format!("{before}.with.salt.…"),
        None => key.to_owned(),
    }
}

/// Everything that is to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// By key; of several things about one key, the gravest is told.
    findings: Vec<Finding>,
    /// The environment variables that the configuration names.
    pub variables: BTreeSet<String>,
}

/// The groups as they are told, gravest first.
const GROUPS: &[(&str, &str, &[Group])] = &[
    ("no_counterpart", "Has no counterpart", &[Group::NoCounterpart]),
    ("fill_in", "You must fill in", &[Group::FillIn, Group::SetVariable]),
    ("translated", "Translated", &[Group::Translated]),
    ("not_needed", "Not needed", &[Group::NotNeeded]),
];

impl Report {
    /// Notes what became of a key.
    pub fn tell(&mut self, finding: Finding) {
        match self.findings.iter_mut().find(|told| told.key == finding.key) {
            Some(told) if told.group < finding.group => *told = finding,
            Some(_) => {}
            None => self.findings.push(finding),
        }
    }

    /// Puts what was told into the order of these keys; what none of them is about comes last.
    pub fn sort(&mut self, keys: &[&str]) {
        self.findings.sort_by_key(|finding| {
            keys.iter()
                .position(|key| shown(key) == finding.key)
                .unwrap_or(keys.len())
        });
    }

    /// Whether anything was told of a key.
    pub fn knows(&self, key: &str) -> bool {
        let key = shown(key);
        self.findings.iter().any(|told| told.key == key)
    }

    /// What was told of these groups, in the order of the file.
    pub fn of<'r>(&'r self, groups: &'r [Group]) -> impl Iterator<Item = &'r Finding> {
        self.findings.iter().filter(|finding| groups.contains(&finding.group))
    }

    /// How many keys somebody has to look at before the configuration does what the file did. Variables are not among them: they
    /// are set where the program is started.
    pub fn open_count(&self) -> usize {
        self.of(&[Group::NoCounterpart, Group::FillIn]).count()
    }

    /// The report for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (_, heading, groups) in GROUPS {
            let mut table = Table::new(&[("", Side::Left), ("", Side::Left), ("", Side::Left)]);
            let mut count = 0;
            for finding in self.of(groups) {
                table.row([String::new(), finding.key.clone(), finding.text.clone()]);
                count += 1;
            }
            if count > 0 {
                // The table's own headings are empty.
                let rows = table.to_string();
                let rows = rows.split_once('\n').map_or("", |(_, rows)| rows);
                let _ = write!(text, "{heading} ({count}):\n{rows}\n");
            }
        }
        if !self.variables.is_empty() {
            let names: Vec<&str> = self.variables.iter().map(String::as_str).collect();
            let _ = write!(
                text,
                "Environment variables to set for Onewrite: {}\n\n",
                names.join(", ")
            );
        }
        text
    }

    /// The report for scripts.
    pub fn json(&self) -> Value {
        let groups = GROUPS.iter().map(|(name, _, groups)| {
            let findings: Vec<&Finding> = self.of(groups).collect();
            ((*name).to_owned(), json!(findings))
        });
        let mut object: Map<String, Value> = groups.collect();
        object.insert("variables".to_owned(), json!(self.variables));
        object.insert("complete".to_owned(), json!(self.open_count() == 0));
        Value::Object(object)
    }
}
