//! What the compiler does not check: sizes, layering, words that have one place.

mod advisories;
mod lengths;
mod rules;
mod source;
mod tree;

use std::fmt;
use std::path::Path;

/// Something that is not as the project wants it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, from the workspace's root.
    pub path: String,
    /// The line, from 1; 0 means the file as a whole.
    pub line: usize,
    /// What was found and what to do.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// Everything that is checked, for the workspace in this directory.
pub fn check(root: &Path) -> Vec<Finding> {
    let mut findings = [lengths(root), rules(root), ignored_advisories(root)].concat();
    findings.sort();
    findings
}

/// Files and functions that are too long to be read in one go.
pub fn lengths(root: &Path) -> Vec<Finding> {
    lengths::check(&tree::files(root), &tree::read(root, lengths::RATCHET))
}

/// Advisories about what we depend on that are ignored without a reason.
pub fn ignored_advisories(root: &Path) -> Vec<Finding> {
    advisories::check(&tree::read(root, advisories::FILE))
}

/// Words and calls that have one place, or none.
pub fn rules(root: &Path) -> Vec<Finding> {
    rules::check(&tree::files(root))
}
