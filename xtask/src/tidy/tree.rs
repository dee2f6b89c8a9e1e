//! The project's files.

use std::fs;
use std::path::Path;

/// What people did not write.
const ELSEWHERE: [&str; 8] = [
    ".git",
    "target",
    ".cache",
    "node_modules",
    "Cargo.lock",
    "LICENSE",
    "corpus",
    "artifacts",
];

/// A text file, its path given from the workspace's root with `/`.
pub struct TextFile {
    pub path: String,
    pub text: String,
}

impl TextFile {
    /// Whether its name ends so, such as `.rs`.
    pub fn is(&self, ending: &str) -> bool {
        self.path.ends_with(ending)
    }
}

/// Every text file that people wrote, in order of path.
pub fn files(root: &Path) -> Vec<TextFile> {
    let mut found = Vec::new();
    collect(root, "", &mut found);
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// One file that has to be there.
pub fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn collect(directory: &Path, prefix: &str, found: &mut Vec<TextFile>) {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for entry in entries {
        let entry = entry.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let name = entry.file_name().to_string_lossy().into_owned();
        if ELSEWHERE.contains(&name.as_str()) {
            continue;
        }
        let path = format!("{prefix}{name}");
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{path}/"), found);
        } else if let Ok(text) = fs::read_to_string(entry.path()) {
            found.push(TextFile { path, text });
        }
    }
}
