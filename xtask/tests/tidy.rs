//! The project itself is tidy.

use std::path::Path;

use xtask::tidy::{self, Finding};

fn expect_none(check: fn(&Path) -> Vec<Finding>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace holds this crate");
    let findings: Vec<String> = check(root).iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "not tidy:\n{}", findings.join("\n"));
}

#[test]
fn files_and_functions_are_short() {
    expect_none(tidy::lengths);
}

#[test]
fn words_and_calls_are_in_their_places() {
    expect_none(tidy::rules);
}

#[test]
fn advisories_are_ignored_for_a_reason() {
    expect_none(tidy::ignored_advisories);
}
