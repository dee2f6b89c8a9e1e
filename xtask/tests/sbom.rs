//! The bill of materials is that of the program: checked against the lock file, which `cargo tree` is not asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;
use toml_edit::DocumentMut;
use xtask::sbom;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace holds this crate")
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

/// What the lock file has of a package: its checksum, and what it depends on, each as a name, or a name and a version.
struct Locked {
    checksum: Option<String>,
    dependencies: Vec<String>,
}

/// By "name version".
fn lock() -> BTreeMap<String, Locked> {
    let lock: DocumentMut = fs::read_to_string(root().join("Cargo.lock")).unwrap().parse().unwrap();
    let packages = lock["package"].as_array_of_tables().unwrap().iter();
    let locked = packages.map(|package| {
        let text = |key: &str| package.get(key).and_then(|item| item.as_str()).map(str::to_owned);
        let dependencies = package.get("dependencies").and_then(|item| item.as_array());
        let dependencies = dependencies.into_iter().flatten().filter_map(|item| item.as_str());
        let locked = Locked {
            checksum: text("checksum"),
            dependencies: dependencies.map(str::to_owned).collect(),
        };
        (
            format!("{} {}", text("name").unwrap(), text("version").unwrap()),
            locked,
        )
    });
    locked.collect()
}

/// All that a package depends on in the lock file, whatever for.
fn reachable(lock: &BTreeMap<String, Locked>, from: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut ahead = vec![from.to_owned()];
    while let Some(next) = ahead.pop() {
        for dependency in &lock[&next].dependencies {
            let mut named = lock
                .keys()
                .filter(|key| *key == dependency || key.split_once(' ').is_some_and(|(name, _)| name == dependency));
            let key = named.next().expect("the lock file is whole").clone();
            if found.insert(key.clone()) {
                ahead.push(key);
            }
        }
    }
    found
}

#[test]
fn components_are_those_of_the_lock_file_and_of_the_program_alone() {
    let bill = sbom::bill(root(), "x86_64-unknown-linux-gnu").expect("a bill");
    let lock = lock();
    let program = &bill["metadata"]["component"];
    assert_eq!(
        (text(program, "type"), text(program, "name")),
        ("application", "onewrite")
    );
    let reachable = reachable(&lock, &format!("{} {}", sbom::PACKAGE, text(program, "version")));
    let mut names = BTreeMap::new();
    let mut references = BTreeSet::from([text(program, "bom-ref")]);
    for component in bill["components"].as_array().expect("components") {
        let key = format!("{} {}", text(component, "name"), text(component, "version"));
        assert!(reachable.contains(&key), "the program does not depend on {key}");
        let locked = lock[&key].checksum.as_deref().unwrap_or_default();
        assert_eq!(text(&component["hashes"][0], "content"), locked, "{key}");
        assert_eq!(text(component, "purl").is_empty(), locked.is_empty(), "{key}");
        assert!(!text(&component["licenses"][0], "expression").is_empty(), "{key}");
        assert!(references.insert(text(component, "bom-ref")), "{key} comes twice");
        names.insert(text(component, "name"), text(component, "scope"));
    }
    for (name, scope) in [
        ("onewrite-core", "required"),
        ("rdkafka-sys", "required"),
        ("rustls", "required"),
        ("libsqlite3-sys", "required"),
        ("cc", "excluded"),
        ("serde_derive", "excluded"),
    ] {
        assert_eq!(names.get(name), Some(&scope), "{name}");
    }
    // Those of tests, and of what is not built by default.
    for name in [
        "onewrite-testkit",
        "proptest",
        "krafka",
        "lapin",
        "libmqm-sys",
        "libfuzzer-sys",
    ] {
        assert!(!names.contains_key(name), "{name}");
    }
    let mut described = BTreeSet::new();
    for dependency in bill["dependencies"].as_array().expect("dependencies") {
        described.insert(text(dependency, "ref"));
        for other in dependency["dependsOn"].as_array().expect("a list") {
            assert!(references.contains(other.as_str().expect("a text")), "{other}");
        }
    }
    assert_eq!(described, references);
}

#[test]
fn an_unknown_target_is_told() {
    let told = sbom::bill(root(), "pdp11").expect_err("nobody builds for it");
    assert!(told.contains("pdp11"), "{told}");
}
