//! The binary in a directory of its own.

use std::ops::Deref;
use std::path::Path;

pub use onewrite_chaos::program::Said;

/// Where Cargo has built it.
pub const EXECUTABLE: &str = env!("CARGO_BIN_EXE_onewrite");

/// A directory with a configuration, in which the program runs with a nearly empty environment.
pub struct Program(onewrite_chaos::program::Program);

impl Program {
    /// An empty directory.
    pub fn new() -> Self {
        Self(onewrite_chaos::program::Program::new(Path::new(EXECUTABLE)))
    }

    /// A directory with this `onewrite.toml`.
    pub fn with(configuration: &str) -> Self {
        let executable = Path::new(EXECUTABLE);
        Self(onewrite_chaos::program::Program::with(executable, configuration))
    }

    /// Sets an environment variable.
    pub fn variable(self, name: &str, value: &str) -> Self {
        Self(self.0.variable(name, value))
    }
}

impl Deref for Program {
    type Target = onewrite_chaos::program::Program;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
