//! From a file and the environment to [`Settings`]: read, put together, checked, all that is wrong told at once.

pub mod environment;
pub mod example;
pub mod fields;
pub mod formats;
pub mod problem;
pub mod route;
pub mod section;
pub mod settings;
pub mod supervised;
pub mod tree;

use std::io;
use std::path::{Path, PathBuf};

pub use environment::Environment;
pub use problem::{Place, Problem, Problems};
pub use settings::Settings;

use tree::Table;

/// The file that is read where none is named.
pub const DEFAULT_FILE: &str = "onewrite.toml";

/// Reads the configuration. Without a named file, [`DEFAULT_FILE`] is read; it may be missing where the environment holds
/// `ONEWRITE__…` variables.
///
/// # Errors
/// A file that cannot be read, or everything that is wrong with the configuration.
pub fn load(named: Option<&Path>, environment: &Environment) -> Result<Settings, ConfigurationError> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    let file = path.display().to_string();
    let problems = |list| ConfigurationError::Wrong(Problems::new(&file, list));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => {
            if !environment.configures() {
                return Err(ConfigurationError::None);
            }
            String::new()
        }
        Err(source) => {
            return Err(ConfigurationError::Unreadable {
                path: path.to_owned(),
                source,
            });
        }
    };
    let tree = Table::parse(&text).map_err(|problem| problems(vec![problem]))?;
    Settings::read(tree, environment).map_err(problems)
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// No file was named and there is none here.
    #[error("there is no {DEFAULT_FILE} in this directory, and no ONEWRITE__… variable in the environment")]
    None,
    /// The file cannot be read.
    #[error("the configuration {} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is wrong.
    #[error(transparent)]
    Wrong(Problems),
}

impl ConfigurationError {
    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::None => "write one with `onewrite init`, or name one with `-c FILE`",
            Self::Unreadable { .. } => "name another with `-c FILE`, or write one with `onewrite init`",
            Self::Wrong(_) => {
                "every key is described in docs/configuration.md; `onewrite init` writes a commented example"
            }
        }
    }
}
