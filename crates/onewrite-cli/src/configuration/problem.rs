//! What is wrong with a configuration, and where.

use std::fmt;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A line of the file, counted from 1.
    Line(usize),
    /// The file as a whole: what is missing has no line.
    File,
    /// An environment variable.
    Variable(String),
}

/// One thing that is wrong, or in a list of warnings: odd.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// The key with its section, such as `sinks.events.brokers`; empty where the text is no TOML at all.
    pub key: String,
    /// What was found, what is expected, what to do.
    pub message: String,
}

impl Problem {
    /// A problem.
    pub fn new(place: Place, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            place,
            key: key.into(),
            message: message.into(),
        }
    }

    /// The problem in one line: place, key, message.
    pub fn line(&self, file: &str) -> String {
        let place = match &self.place {
            Place::Line(line) => format!("{file}:{line}"),
            Place::File => file.to_owned(),
            Place::Variable(name) => name.clone(),
        };
        if self.key.is_empty() {
            format!("{place}: {}", self.message)
        } else {
            format!("{place}: {}: {}", self.key, self.message)
        }
    }
}

/// Everything that is wrong with one configuration, in the order of the file's lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file as the person named it.
    pub file: String,
    /// The problems, sorted.
    pub list: Vec<Problem>,
}

impl Problems {
    /// The problems found in `file`.
    pub fn new(file: &str, mut list: Vec<Problem>) -> Self {
        list.sort();
        Self {
            file: file.to_owned(),
            list,
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = match self.list.len() {
            1 => "1 problem".to_owned(),
            count => format!("{count} problems"),
        };
        write!(formatter, "the configuration has {count}")?;
        for problem in &self.list {
            write!(formatter, "\n  {}", problem.line(&self.file))?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
