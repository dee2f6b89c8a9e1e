//! Debezium Server's `application.properties`: its keys under the names that the connector and Kafka Connect have for them.

use std::collections::BTreeMap;

use super::given::{Given, Kind, Setting};
use super::properties::Property;
use super::report::{Finding, Group};
use super::text::Text;

/// Whether a key is one that the server alone knows.
pub fn is_servers(key: &str) -> bool {
    let key = without_profile(&spelled_out(key)).1.to_owned();
    key.starts_with("debezium.") || key.starts_with("quarkus.debezium.")
}

/// Reads the keys of the profile that counts where nobody chooses another, `prod`.
pub fn read(properties: Vec<Property>) -> Given {
    let (properties, mut told) = last_of_each(properties);
    let mut chosen: Vec<(String, Property)> = Vec::new();
    for property in properties {
        let spelled = spelled_out(&property.key);
        let (profile, name) = without_profile(&spelled);
        match profile {
            None if chosen.iter().any(|(taken, _)| taken == name) => told.push(overruled(&property.key)),
            None => chosen.push((name.to_owned(), property)),
            Some(profile) if profile.split(',').any(|one| one == "prod") => {
                if let Some(at) = chosen.iter().position(|(taken, _)| taken == name) {
                    told.push(overruled(&chosen.remove(at).1.key));
                }
                chosen.push((name.to_owned(), property));
            }
            Some(profile) => told.push(Finding::new(
                &property.key,
                Group::NotNeeded,
                format!("counts in the profile {profile} alone, and this is the file of prod"),
            )),
        }
    }
    let file: BTreeMap<&str, &str> = chosen
        .iter()
        .map(|(name, property)| (&**name, &*property.value))
        .collect();
    let sink = file.get("debezium.sink.type").copied().unwrap_or_default();
    let mut settings = Vec::new();
    for (name, property) in &chosen {
        if is_referred_to(name, &file) {
            told.push(Finding::new(
                &property.key,
                Group::NotNeeded,
                "its value stands where the file refers to it",
            ));
            continue;
        }
        for connect_name in connect_names(name, sink, &file) {
            settings.push(Setting {
                key: property.key.clone(),
                name: connect_name,
                value: Text::of_server(&property.value, &file),
            });
        }
    }
    Given {
        kind: Kind::Server,
        settings,
        told,
    }
}

/// Whether a key is somebody's own, for `${…}` in other values.
fn is_referred_to(name: &str, file: &BTreeMap<&str, &str>) -> bool {
    let of_others = !name.starts_with("debezium.") && !name.starts_with("quarkus.");
    let (plain, with_default) = (format!("${{{name}}}"), format!("${{{name}:"));
    of_others
        && file
            .values()
            .any(|value| value.contains(&plain) || value.contains(&with_default))
}

/// Of a key that is given more than once the last counts; that the others do not is told.
pub fn last_of_each(properties: Vec<Property>) -> (Vec<Property>, Vec<Finding>) {
    let mut last = BTreeMap::new();
    for property in &properties {
        last.insert(property.key.clone(), property.line);
    }
    let (kept, dropped): (Vec<Property>, Vec<Property>) = properties
        .into_iter()
        .partition(|property| last[&property.key] == property.line);
    let told = dropped.into_iter().map(|property| {
        let words = format!(
            "given again on line {}, which counts; line {} does not",
            last[&property.key], property.line
        );
        Finding::new(&property.key, Group::NotNeeded, words)
    });
    (kept, told.collect())
}

fn overruled(key: &str) -> Finding {
    Finding::new(key, Group::NotNeeded, "the same key of the profile prod counts instead")
}

/// A name like that of an environment variable, with dots: the server reads `DEBEZIUM_SINK_TYPE` as `debezium.sink.type`.
fn spelled_out(key: &str) -> String {
    let is_shell = |character: char| character.is_ascii_uppercase() || character.is_ascii_digit() || character == '_';
    if key.contains('_') && key.chars().all(is_shell) {
        // Two of them stand for one that is part of the name.
        return key
            .to_ascii_lowercase()
            .replace("__", "\0")
            .replace('_', ".")
            .replace('\0', "_");
    }
    key.to_owned()
}

/// The profile that a key is for, and the key.
fn without_profile(key: &str) -> (Option<&str>, &str) {
    match key.strip_prefix('%').and_then(|rest| rest.split_once('.')) {
        Some((profile, name)) => (Some(profile.trim_start_matches('{').trim_end_matches('}')), name),
        None => (None, key),
    }
}

/// What Connect calls it; several names where a format is set for key, value and headers at once.
fn connect_names(name: &str, sink: &str, file: &BTreeMap<&str, &str>) -> Vec<String> {
    let one = |name: String| vec![name];
    let Some(own) = name.strip_prefix("debezium.") else {
        return one(name.strip_prefix("quarkus.debezium.").unwrap_or(name).to_owned());
    };
    if let Some(option) = own.strip_prefix("source.") {
        return one(option.to_owned());
    }
    if let Some(option) = own.strip_prefix("sink.kafka.producer.").filter(|_| sink == "kafka") {
        return one(format!("producer.override.{option}"));
    }
    if let Some(format) = own.strip_prefix("format.") {
        for part in ["key", "value", "header"] {
            match format.strip_prefix(part) {
                Some("") => return one(format!("format.{part}")),
                Some(option) if option.starts_with('.') => return one(format!("{part}.converter{option}")),
                _ => {}
            }
        }
        let parts = ["key", "value", "header"].into_iter();
        let unset = parts.filter(|part| !file.contains_key(&*format!("debezium.format.{part}.{format}")));
        return unset.map(|part| format!("{part}.converter.{format}")).collect();
    }
    if ["transforms", "predicates", "sink."]
        .iter()
        .any(|area| own.starts_with(area))
    {
        return one(own.to_owned());
    }
    one(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::import_debezium::properties::parse;

    #[test]
    fn keys_get_the_names_that_connect_has_for_them() {
        let given = read(
            parse(
                "debezium.source.topic.prefix=a\n%prod.debezium.source.topic.prefix=b\n%dev.debezium.source.topic.prefix=c\n\
                 debezium.format.key=simplestring\ndebezium.format.schemas.enable=false\n\
                 debezium.format.value.schemas.enable=true\nDEBEZIUM_SOURCE_SLOT_NAME=s\ndebezium.sink.type=kafka\n\
                 debezium.sink.kafka.producer.linger.ms=1\ndebezium.sink.kafka.producer.linger.ms=${my.linger}\n\
                 debezium.transforms.o.type=T\nquarkus.log.level=INFO\nquarkus.debezium.tasks.max=1\nmy.linger=5\n",
            )
            .unwrap(),
        );
        let settings: Vec<(&str, &str)> = given
            .settings
            .iter()
            .map(|setting| (&*setting.name, setting.value.literal().unwrap()))
            .collect();
        assert_eq!(
            settings,
            [
                ("topic.prefix", "b"),
                ("format.key", "simplestring"),
                ("key.converter.schemas.enable", "false"),
                ("header.converter.schemas.enable", "false"),
                ("value.converter.schemas.enable", "true"),
                ("slot.name", "s"),
                ("sink.type", "kafka"),
                ("producer.override.linger.ms", "5"),
                ("transforms.o.type", "T"),
                ("quarkus.log.level", "INFO"),
                ("tasks.max", "1"),
            ]
        );
        let told: Vec<&str> = given.told.iter().map(|finding| &*finding.key).collect();
        assert_eq!(
            told,
            [
                "debezium.sink.kafka.producer.linger.ms",
                "debezium.source.topic.prefix",
                "%dev.debezium.source.topic.prefix",
                "my.linger",
            ]
        );
    }
}
