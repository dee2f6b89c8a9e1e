//! The guide of contracts: what it shows is what the program takes.

use std::path::Path;

use onewrite_cli::configuration::{Environment, load};
use onewrite_cli::wiring;

/// The sections that an example of a source leaves out.
const REST: &str = "[sinks.out]\ntype = \"stdout\"\n[[routes]]\nname = \"all\"\nsink = \"out\"\n";

#[test]
fn every_example_of_the_guide_is_taken() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/contracts.md");
    let text = std::fs::read_to_string(guide).expect("the guide");
    let examples = text.split("```toml\n").skip(1);
    let examples = examples.filter_map(|example| example.split("```").next());
    let sources: Vec<&str> = examples.filter(|example| example.starts_with("[source]")).collect();
    assert_eq!(sources.len(), 8);
    for source in sources {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("onewrite.toml");
        std::fs::write(&file, format!("name = \"shop\"\n{source}{REST}")).expect("the file can be written");
        let settings = load(Some(&file), &Environment::default()).unwrap_or_else(|error| panic!("{source}: {error:?}"));
        if let Err(failure) = wiring::open(&settings, "onewrite.toml") {
            panic!("{source}: {}", failure.text());
        }
    }
}
