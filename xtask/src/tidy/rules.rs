//! Words and calls that have one place, or none.

use super::Finding;
use super::source::{code_only, without_comments};
use super::tree::TextFile;

/// The engine names none of them; adapters have their own crates.
const ADAPTERS: [&str; 24] = [
    "postgres",
    "sqlite",
    "mysql",
    "mariadb",
    "oracle",
    "mssql",
    "mongo",
    "kafka",
    "rabbit",
    "amqp",
    "nats",
    "jetstream",
    "redis",
    "valkey",
    "pulsar",
    "mqtt",
    "stomp",
    "artemis",
    "activemq",
    "kinesis",
    "pubsub",
    "eventhub",
    "http",
    "websocket",
];

/// What the name of a limit contains.
const LIMITS: [&str; 8] = [
    "MAX",
    "MIN",
    "LIMIT",
    "TIMEOUT",
    "INTERVAL",
    "THRESHOLD",
    "CAPACITY",
    "TTL",
];

struct Rule {
    /// Where it holds.
    holds: fn(&TextFile) -> bool,
    /// What of the file's text is looked at.
    view: fn(&str) -> String,
    /// Whether a line breaks it.
    broken: fn(&str) -> bool,
    /// What to do.
    advice: &'static str,
}

const RULES: [Rule; 7] = [
    Rule {
        holds: |file| file.path.starts_with("crates/onewrite-core/src/"),
        view: without_comments,
        broken: |line| {
            let line = line.to_lowercase();
            ADAPTERS.iter().any(|name| line.contains(name))
        },
        advice: "the engine names no database and no broker; say it by a capability or an option in the contract",
    },
    Rule {
        holds: |file| file.is(".rs") && !is_registry(file),
        view: without_comments,
        broken: |line| {
            let condition = line.contains("cfg(") || line.contains("cfg_attr(") || line.contains("cfg!(");
            condition && line.replace(' ', "").contains("feature=\"")
        },
        advice: "features are looked at in registry.rs and in the module lists of lib.rs and main.rs alone",
    },
    Rule {
        holds: |file| has_limits_file(file) && !file.is("/limits.rs") && !file.is("tests.rs"),
        view: code_only,
        broken: is_limit,
        advice: "limits stand in limits.rs, with unit and reason",
    },
    Rule {
        holds: |file| file.is(".rs"),
        view: code_only,
        broken: |line| line.replace(' ', "").contains("#[ignore"),
        advice: "no test is skipped; one that cannot run here is a failure that says what is missing",
    },
    Rule {
        holds: |file| file.is(".rs") && (file.path.contains("/tests/") || file.is("/tests.rs")),
        view: code_only,
        broken: |line| {
            ["thread::sleep", "time::sleep", " sleep(", "(sleep(", "sleep_until("]
                .iter()
                .any(|call| line.contains(call))
        },
        advice: "tests wait for facts (onewrite_testkit::wait), never for time; a double that is slow says `// slow on purpose`",
    },
    Rule {
        holds: |file| !file.is("src/tidy/rules.rs"),
        view: str::to_owned,
        broken: |line| {
            ["/home/", "/Users/", "C:\\Users"]
                .iter()
                .any(|place| line.contains(place))
        },
        advice: "a place on one person's machine; say it relative to the project, or by a variable",
    },
    Rule {
        holds: |file| file.is(".rs"),
        view: code_only,
        broken: |line| line.contains("todo!") || line.contains("unimplemented!"),
        advice: "whole things only",
    },
];

pub fn check(files: &[TextFile]) -> Vec<Finding> {
    let pairs = files.iter().flat_map(|file| {
        RULES
            .iter()
            .filter(|rule| (rule.holds)(file))
            .map(move |rule| (file, rule))
    });
    pairs.flat_map(|(file, rule)| break_of(file, rule)).collect()
}

fn break_of(file: &TextFile, rule: &Rule) -> Vec<Finding> {
    let view = (rule.view)(&file.text);
    let broken = view
        .lines()
        .zip(file.text.lines())
        .enumerate()
        .filter(|(_, (line, whole))| (rule.broken)(line) && !whole.ends_with("// slow on purpose"));
    let finding = |(number, (_, line)): (usize, (&str, &str))| Finding {
        path: file.path.clone(),
        line: number + 1,
        message: format!("`{}`: {}", line.trim(), rule.advice),
    };
    broken.map(finding).collect()
}

fn is_registry(file: &TextFile) -> bool {
    ["/registry.rs", "/lib.rs", "/main.rs", "tidy/rules.rs"]
        .iter()
        .any(|ending| file.is(ending))
}

fn has_limits_file(file: &TextFile) -> bool {
    let crates = ["crates/onewrite-core/src/", "crates/onewrite/src/"];
    file.is(".rs") && crates.iter().any(|place| file.path.starts_with(place))
}

/// `const SOMETHING_MAX: u32 = …`.
fn is_limit(line: &str) -> bool {
    let declaration = line
        .trim_start()
        .trim_start_matches("pub(crate) ")
        .trim_start_matches("pub(super) ")
        .trim_start_matches("pub ");
    let Some((name, kind)) = declaration.strip_prefix("const ").and_then(|rest| rest.split_once(':')) else {
        return false;
    };
    let numeric = ["usize", "u64", "u32", "u16", "u8", "i64", "i32", "f64", "Duration"]
        .iter()
        .any(|known| kind.trim().starts_with(known));
    // Another name for one of limits.rs is no second place.
    let alias = kind.contains("limits::");
    numeric && !alias && name.split('_').any(|word| LIMITS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::tree::TextFile;

    fn lines_found(path: &str, text: &str) -> Vec<usize> {
        let file = TextFile {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        check(&[file]).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn the_engine_names_no_adapter_outside_comments() {
        let text = "// as Kafka does\nlet name = \"kafka\";\nstruct HttpError;\n";
        assert_eq!(lines_found("crates/onewrite-core/src/a.rs", text), [2, 3]);
        assert!(lines_found("crates/onewrite-sinks/src/a.rs", text).is_empty());
    }

    #[test]
    fn features_are_looked_at_in_registries() {
        let text = "#[cfg(feature = \"kafka\")]\n#[cfg(any(test, feature = \"a\"))]\n#[cfg(test)]\n";
        assert_eq!(lines_found("crates/onewrite-sinks/src/http/sink.rs", text), [1, 2]);
        assert!(lines_found("crates/onewrite-sinks/src/registry.rs", text).is_empty());
    }

    #[test]
    fn limits_have_their_file() {
        let text = "pub const BATCH_MAX: usize = 1;\nconst WAIT_TIMEOUT: Duration = x;\nconst MAXIMAL: &str = \"\";\n";
        assert_eq!(lines_found("crates/onewrite/src/a.rs", text), [1, 2]);
        assert!(lines_found("crates/onewrite/src/limits.rs", text).is_empty());
    }

    #[test]
    fn tests_neither_sleep_nor_are_skipped() {
        let text = "#[ignore]\nfn a() { std::thread::sleep(x); tokio::time::sleep(x).await }\n\"SELECT pg_sleep(1)\"\n\
                    time::sleep(x); // slow on purpose\n";
        assert_eq!(lines_found("crates/onewrite/tests/main.rs", text), [1, 2]);
    }

    #[test]
    fn places_of_one_machine_and_unfinished_code_are_found() {
        assert_eq!(lines_found("README.md", "see /home/me/onewrite\n"), [1]);
        assert_eq!(lines_found("crates/onewrite/src/a.rs", "fn a() { todo!() }\n"), [1]);
    }
}
