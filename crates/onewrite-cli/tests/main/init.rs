//! `onewrite init` writes files that the program takes.

use onewrite_cli::configuration::{Environment, load};
use onewrite_sinks::registry::sink_types;
use onewrite_sources::registry::source_types;

use crate::program::Program;

#[test]
fn every_combination_is_taken_as_it_is_written() {
    for source in source_types() {
        for sink in sink_types() {
            let program = Program::new();
            let said = program.run(&["init", "--source", source.name, "--sink", sink.name]);
            assert_eq!((said.code, said.err.as_str()), (0, ""), "{} {}", source.name, sink.name);
            let settings = load(Some(&program.path("onewrite.toml")), &Environment::default());
            let settings = settings.unwrap_or_else(|error| panic!("{} {}: {error}", source.name, sink.name));
            assert_eq!(settings.warnings, []);
            let long = program
                .read("onewrite.toml")
                .lines()
                .find(|line| line.chars().count() > 120)
                .map(str::to_owned);
            assert_eq!(long, None, "{} {}", source.name, sink.name);
        }
    }
}

#[test]
fn every_key_that_is_commented_out_is_taken_as_well() {
    for source in source_types() {
        for sink in sink_types() {
            let program = Program::new();
            program.run(&["init", "--source", source.name, "--sink", sink.name]);
            let mut text = String::new();
            for line in program.read("onewrite.toml").lines() {
                let key = line.strip_prefix("# ").filter(|rest| {
                    rest.split_once(" = ")
                        .is_some_and(|(key, _)| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
                });
                // A secret's file is not there; that the key is known is what counts.
                let value = key.filter(|key| !key.contains("file:/")).unwrap_or(line);
                text.push_str(value);
                text.push('\n');
            }
            program.write("onewrite.toml", &text);
            if let Err(error) = load(Some(&program.path("onewrite.toml")), &Environment::default()) {
                panic!("{} {}: {error}", source.name, sink.name);
            }
        }
    }
}

#[test]
fn a_file_that_is_there_is_kept_unless_forced() {
    let program = Program::with("mine");
    let said = program.run(&["init"]);
    assert_eq!(
        (said.code, said.err.as_str()),
        (
            2,
            "error: onewrite.toml is there already\nhelp: add --force to overwrite it, or name another with `-c FILE`\n"
        )
    );
    assert_eq!(program.read("onewrite.toml"), "mine");
    let said = program.run(&["init", "--force"]);
    assert_eq!(
        (said.code, said.out.as_str()),
        (
            0,
            "wrote onewrite.toml: postgres to kafka; change what it marks, then `onewrite migrate`, `onewrite check`, `onewrite run`\n"
        )
    );
    assert!(program.read("onewrite.toml").contains("type = \"postgres\""));
}

#[test]
fn an_unknown_type_is_told() {
    let said = Program::new().run(&["init", "--source", "mysqul"]);
    assert_eq!(said.code, 2);
    assert!(
        said.err.starts_with("error: there is no source of type \"mysqul\";"),
        "{}",
        said.err
    );
}
