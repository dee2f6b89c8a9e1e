//! What `--help` says, command by command, as a file that a reviewer sees change.

use std::path::Path;

use crate::program::Program;

const COMMANDS: &[&[&str]] = &[
    &[],
    &["init"],
    &["migrate"],
    &["check"],
    &["verify"],
    &["run"],
    &["status"],
    &["parked"],
    &["parked", "list"],
    &["parked", "show"],
    &["parked", "retry"],
    &["parked", "skip"],
    &["parked", "edit"],
    &["replay"],
    &["pause"],
    &["resume"],
    &["import-debezium"],
    &["forget"],
];

/// Set to rewrite the file instead of comparing it.
const UPDATE: &str = "ONEWRITE_UPDATE_DOCS";

#[test]
fn help_is_as_reviewed() {
    // Lines are wrapped by the terminal's width, of which there is none here.
    let program = Program::new().variable("COLUMNS", "100");
    let mut page = String::new();
    for command in COMMANDS {
        let arguments: Vec<&str> = command.iter().copied().chain(["--help"]).collect();
        let said = program.run(&arguments);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{command:?}");
        assert!(
            said.out.contains("Example") || command.is_empty(),
            "{command:?} has no example"
        );
        page.push_str(&format!("$ onewrite {}\n{}\n", arguments.join(" "), said.out));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/main/help.txt");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &page).expect("the file can be written");
    }
    let reviewed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(reviewed, page, "{UPDATE}=1 writes tests/main/help.txt anew");
}

#[test]
fn wrong_usage_exits_with_two() {
    for arguments in [
        &["paus"][..],
        &["parked", "show"],
        &["replay", "--route", "a", "--since", "soon"],
        &["pause"],
    ] {
        let said = Program::new().run(arguments);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{arguments:?}");
    }
    let said = Program::new().run(&["replay", "--route", "a", "--since", "soon"]);
    assert!(
        said.err.contains("expected a time such as 2026-11-24T08:00:00Z"),
        "{}",
        said.err
    );
}
