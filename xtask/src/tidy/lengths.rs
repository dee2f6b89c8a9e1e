//! Files and functions that are too long, against a ratchet.

use std::collections::BTreeMap;

use toml_edit::{DocumentMut, Table};

use super::Finding;
use super::source::functions;
use super::tree::TextFile;

/// Where exceptions stand with their present length, which may only shrink.
pub const RATCHET: &str = "xtask/tidy-ratchet.toml";

/// Most lines of a file: past it, it holds more than one subject. Aim for 150.
const FILE_LINES: usize = 600;

/// Most lines of a function: what is seen at once.
const FUNCTION_LINES: usize = 70;

/// Whatever people read as code.
const CODE: [&str; 10] = [
    ".rs", ".sql", ".sh", ".py", ".ts", ".js", ".css", ".html", "/fetch", "/x",
];

/// A thing with a length: a file by its path, a function by `path#name`.
struct Measured {
    name: String,
    path: String,
    line: usize,
    lines: usize,
    limit: usize,
}

pub fn check(files: &[TextFile], ratchet: &str) -> Vec<Finding> {
    let mut exceptions = exceptions(ratchet);
    let mut findings = Vec::new();
    for thing in files.iter().flat_map(measure) {
        let excepted = exceptions.remove(&thing.name);
        findings.extend(judge(&thing, excepted));
    }
    for name in exceptions.into_keys() {
        findings.push(at_ratchet(format!(
            "\"{name}\" is gone or short enough; remove its line"
        )));
    }
    findings
}

fn measure(file: &TextFile) -> Vec<Measured> {
    let mut things = Vec::new();
    if CODE.iter().any(|ending| file.is(ending)) || file.path == "x" {
        let (name, path, lines) = (file.path.clone(), file.path.clone(), file.text.lines().count());
        things.push(Measured {
            name,
            path,
            line: 0,
            lines,
            limit: FILE_LINES,
        });
    }
    if file.is(".rs") {
        things.extend(functions(&file.text).into_iter().map(|function| Measured {
            name: format!("{}#{}", file.path, function.name),
            path: file.path.clone(),
            line: function.line,
            lines: function.lines,
            limit: FUNCTION_LINES,
        }));
    }
    things.retain(|thing| thing.lines > thing.limit);
    things
}

fn judge(thing: &Measured, excepted: Option<usize>) -> Option<Finding> {
    let Measured {
        name,
        path,
        line,
        lines,
        limit,
    } = thing;
    let message = match excepted {
        Some(allowed) if *lines == allowed => return None,
        Some(allowed) if *lines < allowed => {
            return Some(at_ratchet(format!(
                "\"{name}\" has shrunk to {lines}; write that number"
            )));
        }
        Some(allowed) => format!("{lines} lines, and {RATCHET} allows it {allowed}: it may only shrink"),
        None => format!("{lines} lines where {limit} are the most; divide it by subject"),
    };
    Some(Finding {
        path: path.clone(),
        line: *line,
        message,
    })
}

fn exceptions(ratchet: &str) -> BTreeMap<String, usize> {
    let document: DocumentMut = ratchet.parse().unwrap_or_else(|error| panic!("{RATCHET}: {error}"));
    let lines = document
        .get("lines")
        .and_then(|item| item.as_table())
        .into_iter()
        .flat_map(Table::iter);
    lines
        .map(|(name, value)| {
            let length = value.as_integer().and_then(|length| usize::try_from(length).ok());
            (
                name.to_owned(),
                length.unwrap_or_else(|| panic!("{RATCHET}: \"{name}\" needs a number of lines")),
            )
        })
        .collect()
}

fn at_ratchet(message: String) -> Finding {
    Finding {
        path: RATCHET.to_owned(),
        line: 0,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::tree::TextFile;

    fn findings(lines: usize, ratchet: &str) -> Vec<String> {
        let body = "    x;\n".repeat(lines - 2);
        let file = TextFile {
            path: "a.rs".to_owned(),
            text: format!("fn long() {{\n{body}}}\n"),
        };
        check(&[file], ratchet)
            .into_iter()
            .map(|finding| finding.to_string())
            .collect()
    }

    #[test]
    fn a_function_of_seventy_lines_is_the_longest() {
        assert!(findings(70, "").is_empty());
        assert_eq!(
            findings(71, ""),
            ["a.rs:1: 71 lines where 70 are the most; divide it by subject"]
        );
    }

    #[test]
    fn a_file_of_six_hundred_lines_is_the_longest() {
        let ratchet = |lines: usize| format!("[lines]\n\"a.rs#long\" = {lines}");
        assert!(findings(600, &ratchet(600)).is_empty());
        assert_eq!(
            findings(601, &ratchet(601)),
            ["a.rs: 601 lines where 600 are the most; divide it by subject"]
        );
    }

    #[test]
    fn the_ratchet_turns_one_way() {
        let ratchet = "[lines]\n\"a.rs#long\" = 80";
        assert!(findings(80, ratchet).is_empty());
        assert!(findings(81, ratchet)[0].contains("may only shrink"));
        assert!(findings(79, ratchet)[0].contains("has shrunk to 79; write that number"));
        assert!(findings(70, ratchet)[0].contains("remove its line"));
    }
}
