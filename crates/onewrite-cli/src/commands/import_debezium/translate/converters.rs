//! `[source.converters]`: how key, value and headers are written.

use super::Translator;
use crate::commands::import_debezium::file::Section;
use crate::commands::import_debezium::given::Kind;
use crate::commands::import_debezium::report::Group;

const STRING: &str = "org.apache.kafka.connect.storage.StringConverter";
const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";
const BINARY: &str = "io.debezium.converters.BinaryDataConverter";

/// Converters that are built in, by the names that files have for them.
const BUILT_IN: &[(&str, &str)] = &[
    (STRING, STRING),
    (JSON, JSON),
    (BINARY, BINARY),
    (
        "org.apache.kafka.connect.converters.ByteArrayConverter",
        "org.apache.kafka.connect.converters.ByteArrayConverter",
    ),
    (
        "io.debezium.converters.ByteArrayConverter",
        "io.debezium.converters.ByteArrayConverter",
    ),
    // What it was called in Debezium 1.
    ("io.debezium.converters.ByteBufferConverter", BINARY),
];

/// The server's formats and the converters behind them.
const FORMATS: &[(&str, &str)] = &[
    ("json", JSON),
    ("jsonbytearray", JSON),
    ("simplestring", STRING),
    ("binary", BINARY),
];

/// Which options the converters have; `delegate.converter.type` has options below it.
const OPTIONS: &[(&str, &str)] = &[
    (JSON, "schemas.enable"),
    (JSON, "decimal.format"),
    (JSON, "replace.null.with.default"),
    (STRING, "converter.encoding"),
    (BINARY, "delegate.converter.type"),
];

const NOT_BUILT_IN: &str = "not built in; texts, JSON and bytes are";

pub(super) fn section(translator: &mut Translator) -> Section {
    let mut section = Section::new(
        "[source.converters]",
        "How a record's parts are written, under Kafka Connect's own names.",
    );
    for part in ["key", "value", "header"] {
        match translator.given.kind {
            Kind::Connect => of_connect(translator, &mut section, part),
            Kind::Server => of_server(translator, &mut section, part),
        }
    }
    section
}

fn of_connect(translator: &mut Translator, section: &mut Section, part: &str) {
    let name = format!("{part}.converter");
    let Some(setting) = translator.given.get(&name) else {
        if part == "header" {
            return;
        }
        let words = "not in the file, so the worker's own holds: look into its properties; JsonConverter with schemas is \
                     what Kafka ships";
        translator.missing(&format!("[source.converters] {name}"), words);
        section.put_with(&name, JSON, format!("FILL IN: {words}."));
        return section.put(&format!("{name}.schemas.enable"), "true");
    };
    let class = setting.value.literal().map(str::trim);
    if part == "header" && class.map(last_part) == Some("SimpleHeaderConverter") {
        return translator.tell(setting, Group::NotNeeded, "what holds without it");
    }
    match BUILT_IN.iter().find(|(known, _)| Some(*known) == class) {
        Some((_, class)) => put(translator, section, part, class),
        None => {
            let class = translator.text(setting);
            let words = format!("{} is {NOT_BUILT_IN}", last_part(&class));
            not_built_in(translator, section, &name, &name, &class, &words);
        }
    }
}

fn of_server(translator: &mut Translator, section: &mut Section, part: &str) {
    let format_name = format!("format.{part}");
    let Some(setting) = translator.given.get(&format_name) else {
        return put(translator, section, part, JSON);
    };
    let format = translator.text(setting);
    match FORMATS.iter().find(|(known, _)| *known == format) {
        Some((_, class)) => put(translator, section, part, class),
        None => {
            let words = format!("the format {format} is {NOT_BUILT_IN}");
            not_built_in(
                translator,
                section,
                &format_name,
                &format!("{part}.converter"),
                &format,
                &words,
            );
        }
    }
}

/// The file then does not load before somebody has chosen: what consumers read would silently be another thing.
fn not_built_in(
    translator: &mut Translator,
    section: &mut Section,
    given_name: &str,
    name: &str,
    value: &str,
    words: &str,
) {
    let given = translator.given;
    if let Some(setting) = given.get(given_name) {
        translator.tell(setting, Group::NoCounterpart, words);
    }
    for (_, option) in given.below(&format!("{name}.")) {
        translator.tell(
            option,
            Group::NoCounterpart,
            "an option of a converter that is not built in",
        );
    }
    section.put_with(name, value, format!("FILL IN: {words}."));
}

/// A converter with those of the options that it has; what no converter has is left to the table of verdicts.
fn put(translator: &mut Translator, section: &mut Section, part: &str, class: &str) {
    let given = translator.given;
    let name = format!("{part}.converter");
    section.put(&name, class);
    if class == JSON && given.get(&format!("{name}.schemas.enable")).is_none() {
        // Kafka Connect's default, which surprises people.
        section.put(&format!("{name}.schemas.enable"), "true");
    }
    for (option, setting) in given.below(&format!("{name}.")) {
        let is_option = |known: &str| {
            option
                .strip_prefix(known)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let owners: Vec<&str> = OPTIONS
            .iter()
            .filter(|(_, known)| is_option(known))
            .map(|(owner, _)| *owner)
            .collect();
        if owners.contains(&class) {
            // One setting of the server can be about several parts, of which this one counts.
            translator.tell(setting, Group::Translated, "`converters` in `[source]`");
            let value = translator.text(setting);
            section.put(&format!("{name}.{option}"), value);
        } else if !owners.is_empty() {
            translator.tell(
                setting,
                Group::NotNeeded,
                format!("{} has no such option", last_part(class)),
            );
        }
    }
}

fn last_part(class: &str) -> &str {
    class.rsplit('.').next().unwrap_or(class)
}
