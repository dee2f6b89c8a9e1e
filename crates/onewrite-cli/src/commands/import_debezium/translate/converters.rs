//! `[source.converters]`: how key, value and headers are written.

use super::Translator;
use crate::commands::import_debezium::file::Section;
use crate::commands::import_debezium::given::Kind;
use crate::commands::import_debezium::report::Group;

const STRING: &str = "org.apache.kafka.connect.storage.StringConverter";
const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";
const BINARY: &str = "io.debezium.converters.BinaryDataConverter";
const BYTES: &str = "org.apache.kafka.connect.converters.ByteArrayConverter";
const DEBEZIUM_BYTES: &str = "io.debezium.converters.ByteArrayConverter";

/// Converters that are built in, by the names that files have for them.
const BUILT_IN: &[(&str, &str)] = &[
    (STRING, STRING),
    (JSON, JSON),
    (BINARY, BINARY),
    (BYTES, BYTES),
    (DEBEZIUM_BYTES, DEBEZIUM_BYTES),
    // What Debezium 1 called it.
    ("io.debezium.converters.ByteBufferConverter", BINARY),
];

/// The server's formats and the converters behind them.
const FORMATS: &[(&str, &str)] = &[
    ("json", JSON),
    ("jsonbytearray", JSON),
    ("simplestring", STRING),
    ("binary", BINARY),
];

/// The converter for what the one for bytes does not take.
const DELEGATE: &str = "delegate.converter.type";
const ENCODING: &str = "converter.encoding";
/// The options of the converters for JSON and texts.
const OPTIONS: &[&str] = &[
    "schemas.enable",
    "decimal.format",
    "replace.null.with.default",
    ENCODING,
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
        let is_delegate = option == DELEGATE;
        if takes(class, option) {
            // One setting of the server can be about several parts, of which this one counts.
            translator.tell(setting, Group::Translated, "`converters` in `[source]`");
            let value = translator.text(setting);
            if is_delegate && !BUILT_IN.iter().any(|(known, _)| *known == value) {
                let words = format!("{} is {NOT_BUILT_IN}", last_part(&value));
                translator.tell(setting, Group::NoCounterpart, &words);
                section.put_with(&format!("{name}.{option}"), value, format!("FILL IN: {words}."));
            } else {
                section.put(&format!("{name}.{option}"), value);
            }
        } else if is_delegate || OPTIONS.contains(&option) {
            let words = format!("{} has no such option", last_part(class));
            translator.tell(setting, Group::NotNeeded, words);
        }
    }
}

/// Whether a converter has an option.
fn takes(class: &str, option: &str) -> bool {
    match class {
        JSON => OPTIONS.contains(&option) && option != ENCODING,
        STRING => option == ENCODING,
        BINARY | DEBEZIUM_BYTES => {
            let of_delegate = option.strip_prefix(DELEGATE).map(|rest| rest.trim_start_matches('.'));
            of_delegate.is_some_and(|own| own.is_empty() || OPTIONS.contains(&own))
        }
        _ => false,
    }
}

fn last_part(class: &str) -> &str {
    class.rsplit('.').next().unwrap_or(class)
}
