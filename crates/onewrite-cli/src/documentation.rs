//! Reference pages rendered from the declared fields, so that they cannot disagree with the program. A test compares them
//! with the files under `docs/` and rewrites those when it is told to.

use std::fmt::Write as _;

use onewrite_core::options::{Field, Kind};
use onewrite_formats::registry::format_types;
use onewrite_sinks::registry::sink_types;
use onewrite_sources::registry::source_types;

use crate::configuration::example::{example_text, toml_value};
use crate::configuration::fields::{LEASE, LOG, MATCH, ROUTE, TOP};

/// A page: its path below `docs/` and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The path, such as `sinks/kafka.md`.
    pub path: String,
    /// The text, in Markdown.
    pub text: String,
}

/// Every page about the configuration of what is built in.
pub fn pages() -> Vec<Page> {
    let mut pages = vec![Page {
        path: "configuration.md".to_owned(),
        text: configuration(),
    }];
    for source in source_types() {
        pages.push(Page {
            path: format!("sources/{}.md", source.name),
            text: adapter(
                "Source",
                "[source]",
                source.name,
                source.description,
                source.fields,
                &[],
            ),
        });
    }
    for sink in sink_types() {
        pages.push(Page {
            path: format!("sinks/{}.md", sink.name),
            text: adapter(
                "Sink",
                "[sinks.events]",
                sink.name,
                sink.description,
                sink.fields,
                sink.guide,
            ),
        });
    }
    for format in format_types() {
        let text = adapter(
            "Format",
            "[formats.wire]",
            format.name,
            format.description,
            format.fields,
            format.guide,
        );
        pages.push(Page {
            path: format!("formats/{}.md", format.name),
            text,
        });
    }
    pages.push(Page {
        path: "from-debezium.md".to_owned(),
        text: format!("{GENERATED}{}", crate::commands::import_debezium::page()),
    });
    pages
}

const GENERATED: &str = "<!-- Rendered from the program's own declarations; `ONEWRITE_UPDATE_DOCS=1 cargo test -p onewrite-cli --test main docs` writes it anew. -->\n";

const INTRODUCTION: &str = r#"# Configuration

One TOML file, `./onewrite.toml` unless `-c FILE` names another. `onewrite init` writes one with every key and a comment for
each. A key that does not exist is refused, and everything that is wrong with a file is told at once, each with its line.

```toml
name = "shop"

[source]
type = "postgres"
url = "postgres://onewrite@localhost/shop"

[sinks.events]
type = "kafka"
brokers = ["localhost:9092"]

[[routes]]
name = "orders"
match = { topic = "shop.*" }
sink = "events"
```

## Environment

Every key can come from the environment, which stands over the file. The variable's name is `ONEWRITE__` and the path of the
key in capitals, with `__` between its parts:

| key | variable |
| --- | --- |
| `name` | `ONEWRITE__NAME` |
| `url` in `[source]` | `ONEWRITE__SOURCE__URL` |
| `brokers` in `[sinks.events]` | `ONEWRITE__SINKS__EVENTS__BROKERS=a:9092,b:9092` |
| `sink` of the first of the `[[routes]]` | `ONEWRITE__ROUTES__0__SINK` |

A list is written with commas, a table of texts as `name=value` pairs with commas. The `-` and `.` in the name of a sink are
written as `_`. A variable that begins with `ONEWRITE__` and stands for no key is refused. Where there is no `onewrite.toml`
and no `-c`, the environment alone can be the configuration.

Texts in the file may hold `${NAME}` for the environment variable NAME, which must be set; `$${` stands for `${` itself.

## Secrets

A key that takes a secret can name a file instead: `password = "file:/run/secrets/password"`. One line break at the end of the
file is no part of the secret. Secrets appear neither in log lines nor in errors.

## Times and amounts

A time is a whole number and a unit: `ms`, `s`, `m`, `h` or `d`. An amount of bytes is a whole number, alone or with a unit:
`kB`, `MB`, `GB` (powers of 1000), `KiB`, `MiB`, `GiB` (powers of 1024).
"#;

fn configuration() -> String {
    let mut page = format!("{GENERATED}{INTRODUCTION}");
    page.push_str("\n## At the top\n\n");
    table(&mut page, TOP);
    page.push_str("\n## [source]\n\nWhere events come from: one section. `type` is one of these, and says which other keys there are:\n\n");
    for source in source_types() {
        let _ = writeln!(page, "- [`{0}`](sources/{0}.md): {1}", source.name, source.description);
    }
    page.push_str("\n## [sinks.NAME]\n\nWhere events go: a section for each sink, with a name of your own. `type` is one of these:\n\n");
    for sink in sink_types() {
        let _ = writeln!(page, "- [`{0}`](sinks/{0}.md): {1}", sink.name, sink.description);
    }
    page.push_str("\n## [formats.NAME]\n\nWhat events look like on the wire: a section for each format that a route names, with a name of your own. Where nothing \
                   is to be said,\na route can name the type itself: `format = \"json\"`. `type` is one of these:\n\n");
    for format in format_types() {
        let _ = writeln!(page, "- [`{0}`](formats/{0}.md): {1}", format.name, format.description);
    }
    page.push_str(
        "\n## [[routes]]\n\nWhich events go to which sink, in the order of the file: the first route that matches takes the event. \
         What no route takes is\nparked under the name `unrouted`. One route never holds back another.\n\n",
    );
    table(&mut page, ROUTE);
    page.push_str("\nAnd `match`, a table such as `{ topic = \"shop.*\", type = \"Order*\" }`. All that is in it must match; left out, every event does.\n\n");
    table(&mut page, MATCH);
    page.push_str("\n## [log]\n\nMay be left out.\n\n");
    table(&mut page, LOG);
    page.push_str("\n## [lease]\n\nMay be left out.\n\n");
    table(&mut page, LEASE);
    page
}

fn adapter(what: &str, section: &str, name: &str, description: &str, fields: &[Field], guide: &[&str]) -> String {
    let mut page = format!(
        "{GENERATED}# {what} `{name}`\n\n{}.\n\n```toml\n{section}\ntype = \"{name}\"\n",
        capital(description)
    );
    for field in fields.iter().filter(|field| field.required) {
        let value = example_text(name, field.name).unwrap_or("\"…\"");
        let _ = writeln!(page, "{} = {value}", field.name);
    }
    page.push_str("```\n\n");
    if fields.is_empty() {
        page.push_str("There is nothing else to configure.\n");
    } else {
        table(&mut page, fields);
    }
    page.push_str("\nHow keys come from the environment and from files is described in [the configuration](../configuration.md).\n");
    for part in guide {
        page.push('\n');
        page.push_str(part);
    }
    page
}

fn table(page: &mut String, fields: &[Field]) {
    page.push_str("| key | takes | default | meaning |\n| --- | --- | --- | --- |\n");
    for field in fields {
        let default = match (field.required, field.default) {
            (true, _) => "required".to_owned(),
            (false, Some(default)) => format!("`{}`", toml_value(field.kind, default)),
            (false, None) => "–".to_owned(),
        };
        let doc = field.doc.split_whitespace().collect::<Vec<_>>().join(" ");
        let _ = writeln!(
            page,
            "| `{}` | {} | {default} | {} |",
            field.name,
            takes(field.kind),
            cell(&doc)
        );
    }
}

fn takes(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Template => "template".to_owned(),
        Kind::Secret => "secret".to_owned(),
        Kind::Integer { min, max: i64::MAX } => format!("whole number from {min}"),
        Kind::Integer { min, max } => format!("whole number, {min} to {max}"),
        Kind::Flag => "`true` or `false`".to_owned(),
        Kind::Duration => "time".to_owned(),
        Kind::Bytes => "bytes".to_owned(),
        Kind::Choice(words) => words
            .iter()
            .map(|word| format!("`\"{word}\"`"))
            .collect::<Vec<_>>()
            .join(", "),
        Kind::List => "list of texts".to_owned(),
        Kind::Map => "table of texts".to_owned(),
    }
}

/// A text inside a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters
        .next()
        .map_or(String::new(), |first| first.to_uppercase().chain(characters).collect())
}
