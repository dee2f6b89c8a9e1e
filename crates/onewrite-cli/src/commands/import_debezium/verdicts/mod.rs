//! What becomes of every option that Debezium's PostgreSQL connector, its outbox event router, Kafka Connect, Kafka's producer
//! and Debezium Server have: one table, from which the report and the documentation both come. The names and the values at which
//! nothing changes are those of Debezium 3.6 and Kafka 4.3, and of what Debezium 1 and 2 called differently.

mod capture;
mod connection;
mod events;
mod framework;
mod producer;
mod replication;
mod router;
mod server;
mod snapshot;

use onewrite_core::options::nearest;

pub use producer::RENAMED;
pub use router::ROUTER_DEFAULTS;

use super::report::Group;

/// What becomes of an option.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    /// Its name as Kafka Connect has it; a `*` stands for any part of it.
    pub name: &'static str,
    /// What becomes of it.
    pub becomes: Becomes,
    /// Where it goes, what its lack means, or why it is not needed.
    pub text: &'static str,
}

/// What becomes of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Becomes {
    /// It has a place in the configuration.
    Translated,
    /// It is a secret, which goes into the environment.
    Secret,
    /// It has no counterpart, unless its value is one of these: then there is nothing to carry over.
    NoCounterpart(&'static [&'static str]),
    /// Onewrite does without it.
    NotNeeded,
}

/// A part of the table, under a heading of the documentation.
#[derive(Clone, Copy, Debug)]
pub struct Topic {
    /// What it is about.
    pub heading: &'static str,
    /// Its options.
    pub verdicts: &'static [Verdict],
}

/// The whole table.
pub const TOPICS: &[Topic] = &[
    connection::TOPIC,
    replication::TOPIC,
    capture::TOPIC,
    snapshot::TOPIC,
    events::TOPIC,
    router::ROUTER,
    router::CHAIN,
    framework::FRAMEWORK,
    framework::CONVERTERS,
    producer::TOPIC,
    server::SERVER,
    server::HTTP,
];

/// The verdict on an option.
pub fn verdict(name: &str) -> Option<&'static Verdict> {
    let all = || TOPICS.iter().flat_map(|topic| topic.verdicts);
    // A name of its own stands over one with a part left open.
    all()
        .find(|verdict| verdict.name == name)
        .or_else(|| all().find(|verdict| verdict.name.contains('*') && fits(verdict.name, name)))
}

/// The option that somebody most likely meant. What all names of an area begin with says nothing, and is left out of account.
pub fn meant(name: &str) -> Option<&'static str> {
    let area = ["producer.override.", "transforms.", "sink."]
        .into_iter()
        .find(|area| name.starts_with(area));
    let own = |name: &'static str| match area {
        Some("transforms.") => name.strip_prefix("transforms.*."),
        Some(area) => name.strip_prefix(area),
        None => Some(name),
    };
    let rest = area.map_or(name, |area| &name[area.len()..]);
    let rest = match area {
        Some("transforms.") => rest.split_once('.').map_or(rest, |(_, option)| option),
        _ => rest,
    };
    nearest(
        rest,
        TOPICS
            .iter()
            .flat_map(|topic| topic.verdicts)
            .filter_map(|verdict| own(verdict.name)),
    )
}

impl Verdict {
    /// The group that a setting of this value falls into, and what to tell. `value` is `None` where it is not known.
    pub fn judge(&self, value: Option<&str>) -> (Group, &'static str) {
        match self.becomes {
            Becomes::Translated => (Group::Translated, self.text),
            Becomes::Secret => (Group::SetVariable, self.text),
            Becomes::NotNeeded => (Group::NotNeeded, self.text),
            Becomes::NoCounterpart(harmless) => {
                let same = |value: &str| {
                    harmless
                        .iter()
                        .any(|harmless| harmless.eq_ignore_ascii_case(value.trim()))
                };
                match value {
                    Some(value) if same(value) => (Group::NotNeeded, "with this value there is nothing to carry over"),
                    _ => (Group::NoCounterpart, self.text),
                }
            }
        }
    }
}

const fn translated(name: &'static str, text: &'static str) -> Verdict {
    Verdict {
        name,
        becomes: Becomes::Translated,
        text,
    }
}

const fn secret(name: &'static str, text: &'static str) -> Verdict {
    Verdict {
        name,
        becomes: Becomes::Secret,
        text,
    }
}

const fn not_needed(name: &'static str, text: &'static str) -> Verdict {
    Verdict {
        name,
        becomes: Becomes::NotNeeded,
        text,
    }
}

const fn lacking(name: &'static str, harmless: &'static [&'static str], text: &'static str) -> Verdict {
    Verdict {
        name,
        becomes: Becomes::NoCounterpart(harmless),
        text,
    }
}

/// Whether a name fits a pattern, in which `*` stands for one character or more.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            let ends = rest.char_indices().map(|(at, character)| at + character.len_utf8());
            ends.into_iter().any(|end| fits(after, &rest[end..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_every_text_is_a_cell_of_a_table() {
        let mut names = BTreeSet::new();
        for verdict in TOPICS.iter().flat_map(|topic| topic.verdicts) {
            assert!(names.insert(verdict.name), "{} is there twice", verdict.name);
            assert!(
                !verdict.text.is_empty() && !verdict.text.contains(['|', '\n']),
                "{}",
                verdict.name
            );
        }
    }

    #[test]
    fn a_pattern_takes_what_it_describes() {
        let name = |name: &str| verdict(name).map(|verdict| verdict.name);
        assert_eq!(name("column.mask.with.8.chars"), Some("column.mask.with.*.chars"));
        assert_eq!(name("column.mask.with.chars"), None);
        assert_eq!(name("topic.creation.default.partitions"), Some("topic.creation.*"));
        assert_eq!(
            name("transforms.o.table.field.event.type"),
            Some("transforms.*.table.field.event.type")
        );
        assert_eq!(meant("table.inclde.list"), Some("table.include.list"));
        assert_eq!(meant("transforms.outbox.route.by.fields"), Some("route.by.field"));
        assert_eq!(meant("producer.override.zzz"), None);
    }
}
