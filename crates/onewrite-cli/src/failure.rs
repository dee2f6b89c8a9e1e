//! How a command ends badly: what is shown and with which code the program exits.

use std::error::Error;
use std::fmt::Write as _;

use onewrite_core::{StoreError, StoreFailure};

use crate::configuration::ConfigurationError;

/// The program ended as it should.
pub const EXIT_CLEAN: u8 = 0;
/// Something failed while it ran, or `check` found something broken.
pub const EXIT_FAILED: u8 = 1;
/// The command line or the configuration is wrong; nothing was done.
pub const EXIT_USAGE: u8 = 2;
/// What was asked for is done, and a person has to look at a part of it, which the command has told.
pub const EXIT_INCOMPLETE: u8 = 3;

/// An error of a command with its exit code and, where there is one, an advice.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: u8,
    /// `None` where the command itself has said all there is to say.
    error: Option<anyhow::Error>,
    help: Option<String>,
}

impl Failure {
    /// A wrong command line: what is wrong, and what to do instead.
    pub fn usage(words: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            exit: EXIT_USAGE,
            error: Some(anyhow::Error::msg(words.into())),
            help: Some(help.into()),
        }
    }

    /// A failure at run time.
    pub fn failed(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: EXIT_FAILED,
            error: Some(error.into()),
            help: None,
        }
    }

    /// Something that was given is wrong: the configuration, or what the command line names.
    pub fn configuration(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: EXIT_USAGE,
            error: Some(error.into()),
            help: None,
        }
    }

    /// An exit code alone, where the command itself has said all there is to say.
    pub fn told(exit: u8) -> Self {
        Self {
            exit,
            error: None,
            help: None,
        }
    }

    /// Adds an advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Whether whoever read standard output went away, such as `head` in a pipe: nobody needs to be told.
    pub fn is_closed_output(&self) -> bool {
        self.error
            .as_ref()
            .and_then(|error| error.downcast_ref::<std::io::Error>())
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    }

    /// What is shown on standard error; nothing where all is said.
    pub fn text(&self) -> String {
        let Some(error) = &self.error else {
            return String::new();
        };
        let mut text = format!("error: {error}\n");
        let mut said = error.to_string();
        let mut cause: Option<&(dyn Error + 'static)> = error.source();
        while let Some(error) = cause {
            let words = error.to_string();
            // Several clients repeat their cause's words in their own; once is enough.
            if !said.contains(&words) {
                let _ = writeln!(text, "  because: {words}");
                said.push_str(&words);
            }
            cause = error.source();
        }
        if let Some(help) = &self.help {
            let _ = writeln!(text, "help: {help}");
        }
        text
    }
}

impl From<ConfigurationError> for Failure {
    fn from(error: ConfigurationError) -> Self {
        let help = error.help();
        Self::configuration(error).help(help)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let help = match error.failure {
            StoreFailure::Unavailable => Some("`onewrite check` tries everything that the configuration names"),
            StoreFailure::Fenced | StoreFailure::Refused => None,
        };
        Self {
            exit: EXIT_FAILED,
            error: Some(error.into()),
            help: help.map(str::to_owned),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error)
    }
}
