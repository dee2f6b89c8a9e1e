//! The commented file that `onewrite init` writes, rendered from the declared fields.

use std::fmt::Write as _;

use onewrite_core::options::{Field, Kind};
use onewrite_sinks::registry::SinkType;
use onewrite_sources::registry::SourceType;

use super::fields::{LEASE, LOG, ROUTE, TOP};

/// A file that relays from a source of one type to a sink of another.
pub fn example(source: &SourceType, sink: &SinkType) -> String {
    let mut file = String::from(
        "# Onewrite: from the outbox in your database to a broker.\n\
         #\n\
         # Every key can also come from the environment: [source] url is ONEWRITE__SOURCE__URL. Texts may hold ${NAME} for the\n\
         # environment variable NAME, and secrets may be in files: password = \"file:/run/secrets/password\".\n\
         # What begins with \"# \" and a key is a default; what is not commented out is yours to change.\n\
         \n",
    );
    write_fields(&mut file, TOP, &|name| (name == "name").then_some("\"shop\""));
    let section = |file: &mut String, heading: &str, about: &str| {
        let _ = write!(file, "\n# {about}\n{heading}\n");
    };
    section(
        &mut file,
        "[source]",
        &format!("Where events come from: {}.", source.description),
    );
    let _ = writeln!(file, "type = {:?}", source.name);
    write_fields(&mut file, source.fields, &|name| example_text(source.name, name));
    section(
        &mut file,
        "[sinks.events]",
        &format!("Where they go: {}.", sink.description),
    );
    let _ = writeln!(file, "type = {:?}", sink.name);
    write_fields(&mut file, sink.fields, &|name| example_text(sink.name, name));
    section(
        &mut file,
        "[[routes]]",
        "Which events go where. The first route that matches takes the event; what none takes is parked.",
    );
    // What says which events go where stands together, before the keys that hardly anybody needs.
    let (where_to, how) = ROUTE.split_at(2);
    write_fields(&mut file, where_to, &|name| match name {
        "name" => Some("\"all\""),
        "sink" => Some("\"events\""),
        _ => None,
    });
    let line = "# Which events the route takes, by topic and type; `*` stands for any run of characters.";
    let _ = writeln!(file, "\n{line}\n# match = {{ topic = \"shop.*\", type = \"Order*\" }}");
    write_fields(&mut file, how, &|_| None);
    section(&mut file, "[log]", "How the relay logs.");
    write_fields(&mut file, LOG, &|_| None);
    section(
        &mut file,
        "[lease]",
        "How processes of one name take over from each other.",
    );
    write_fields(&mut file, LEASE, &|_| None);
    file
}

/// A value as it is written in TOML.
pub fn toml_value(kind: Kind, text: &str) -> String {
    match kind {
        Kind::Integer { .. } | Kind::Flag => text.to_owned(),
        Kind::Bytes if text.bytes().all(|byte| byte.is_ascii_digit()) => text.to_owned(),
        Kind::List => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            format!("[{}]", items.map(quoted).collect::<Vec<_>>().join(", "))
        }
        _ => quoted(text),
    }
}

/// Longest line of a comment, in characters.
const LINE_CHARACTERS: usize = 118;

/// What stands behind a key as an example to change, as TOML: by type of adapter and key.
pub fn example_text(adapter: &str, name: &str) -> Option<&'static str> {
    Some(match (adapter, name) {
        ("postgres", "url") => "\"postgres://onewrite@localhost/shop\"",
        ("sqlite", "url") => "\"shop.db\"",
        ("kafka", "brokers") => "[\"localhost:9092\"]",
        ("rabbitmq", "urls") => "[\"amqp://localhost:5672\"]",
        ("nats", "urls") => "[\"nats://localhost:4222\"]",
        ("amqp1", "urls") => "[\"amqp://localhost:5672\"]",
        ("ibmmq", "urls") => "[\"https://localhost:9443\"]",
        ("ibmmq", "queue_manager") => "\"QM1\"",
        ("redis", "urls") => "[\"redis://localhost:6379\"]",
        ("mqtt", "urls") => "[\"mqtt://localhost:1883\"]",
        ("sqs", "queue_url") => "\"https://sqs.eu-west-1.amazonaws.com/123456789012/orders.fifo\"",
        ("sns", "topic_arn") => "\"arn:aws:sns:eu-west-1:123456789012:orders.fifo\"",
        ("http", "url") => "\"http://localhost:8080/events\"",
        ("file", "path") => "\"events.jsonl\"",
        ("avro" | "json-schema" | "protobuf", "registry") => "[\"http://localhost:8081\"]",
        _ => return None,
    })
}

fn write_fields(file: &mut String, fields: &[Field], given: &dyn Fn(&str) -> Option<&'static str>) {
    for (at, field) in fields.iter().enumerate() {
        if at > 0 || !field.required {
            file.push('\n');
        }
        for line in wrapped(&comment(field), LINE_CHARACTERS - 2) {
            let _ = writeln!(file, "# {line}");
        }
        let value = match (given(field.name), field.default) {
            (Some(given), _) => given.to_owned(),
            (None, Some(default)) => toml_value(field.kind, default),
            (None, None) => placeholder(field.kind),
        };
        let mark = if field.required { "" } else { "# " };
        let _ = writeln!(file, "{mark}{} = {value}", field.name);
    }
}

/// The field's doc, and what it takes where the doc cannot be expected to say it.
fn comment(field: &Field) -> String {
    match field.kind {
        Kind::Choice(words) => format!("{} One of {}.", field.doc, words.join(", ")),
        Kind::Integer { min, max } if max != i64::MAX => format!("{} From {min} to {max}.", field.doc),
        _ => field.doc.to_owned(),
    }
}

fn placeholder(kind: Kind) -> String {
    match kind {
        Kind::Integer { min, .. } => min.to_string(),
        Kind::Flag => "false".to_owned(),
        Kind::Duration => "\"30s\"".to_owned(),
        Kind::Bytes => "\"1MiB\"".to_owned(),
        Kind::Choice(words) => quoted(words.first().copied().unwrap_or_default()),
        Kind::List => "[]".to_owned(),
        Kind::Map => "{}".to_owned(),
        Kind::Text | Kind::Template => "\"\"".to_owned(),
        Kind::Secret => "\"file:/run/secrets/…\"".to_owned(),
    }
}

fn quoted(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}

/// Lines of at most so many characters, broken between words.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is a line");
        if !last.is_empty() && last.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}
