//! The reference pages under `docs/` say what the program says.

use std::path::Path;

use onewrite_cli::documentation::pages;
use onewrite_core::alarm::AlarmKind;

/// Set to rewrite the pages instead of comparing them.
const UPDATE: &str = "ONEWRITE_UPDATE_DOCS";

#[test]
fn docs_are_those_of_the_program() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let update = std::env::var_os(UPDATE).is_some();
    let mut stale = Vec::new();
    for page in pages() {
        let path = docs.join(&page.path);
        if std::fs::read_to_string(&path).is_ok_and(|text| text == page.text) {
            continue;
        }
        if update {
            std::fs::create_dir_all(path.parent().expect("a page is in a folder")).expect("docs can be written");
            std::fs::write(&path, &page.text).expect("docs can be written");
        } else {
            stale.push(page.path);
        }
    }
    assert!(
        stale.is_empty(),
        "these pages under docs/ are stale: {stale:?}; write them anew with\n  \
         {UPDATE}=1 cargo test -p onewrite-cli --test main docs"
    );
}

#[test]
fn every_alarm_has_its_section_in_the_runbook() {
    let runbook = include_str!("../../../../docs/operations.md");
    for kind in AlarmKind::ALL {
        let heading = format!("\n### `{}`\n", kind.as_str());
        assert!(
            runbook.contains(&heading),
            "docs/operations.md lacks a section {heading:?}"
        );
    }
}
