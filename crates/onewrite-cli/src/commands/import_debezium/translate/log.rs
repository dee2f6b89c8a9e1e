//! `[log]`, of what Quarkus was told.

use super::Translator;
use crate::commands::import_debezium::file::Section;
use crate::commands::import_debezium::report::Group;

/// Quarkus's levels, those of Java's own logging among them.
const LEVELS: &[(&str, &str)] = &[
    ("off", "error"),
    ("fatal", "error"),
    ("severe", "error"),
    ("error", "error"),
    ("warn", "warn"),
    ("warning", "warn"),
    ("info", "info"),
    ("config", "info"),
    ("debug", "debug"),
    ("fine", "debug"),
    ("finer", "trace"),
    ("finest", "trace"),
    ("trace", "trace"),
    ("all", "trace"),
];

pub(super) fn section(translator: &mut Translator) -> Section {
    let given = translator.given;
    let mut section = Section::new("[log]", "How the relay logs, on standard error.");
    if let Some(setting) = given.get("quarkus.log.level") {
        let level = setting.value.literal().unwrap_or_default().to_ascii_lowercase();
        match LEVELS.iter().find(|(known, _)| *known == level) {
            Some((_, level)) => section.put("level", *level),
            None => translator.tell(setting, Group::NotNeeded, "no level that is known; `info` holds"),
        }
    }
    let names = ["quarkus.log.console.json.enabled", "quarkus.log.console.json"];
    if let Some(setting) = names.into_iter().find_map(|name| given.get(name)) {
        let json = setting
            .value
            .literal()
            .is_some_and(|value| value.eq_ignore_ascii_case("true"));
        section.put("format", if json { "json" } else { "human" });
    }
    section
}
