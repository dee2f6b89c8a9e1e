//! A connector of Kafka Connect: as JSON with its name, as flat JSON, or as a `.properties` file of the standalone worker.

use serde_json::{Map, Value};

use super::given::{Given, Kind, Setting, Unreadable};
use super::properties::Property;
use super::report::{Finding, Group};
use super::server::last_of_each;
use super::text::Text;

/// Reads JSON: `{"name": …, "config": {…}}`, as one posts it and as Connect shows it, or the inner table alone.
///
/// # Errors
/// Where it is no JSON, or a key whose value is none that Connect takes.
pub fn read_json(text: &str) -> Result<Given, Unreadable> {
    let mut object: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
        // The parser's own words may repeat a piece of the file.
        let (line, column) = (error.line(), error.column());
        Unreadable(format!(
            "line {line}, column {column}: not JSON that holds a connector's configuration"
        ))
    })?;
    let (mut settings, mut told) = (Vec::new(), Vec::new());
    match object.remove("config") {
        Some(Value::Object(config)) => {
            let name = object.remove("name").filter(|_| !config.contains_key("name"));
            for (key, value) in name.map(|name| ("name".to_owned(), name)).into_iter().chain(config) {
                add(&mut settings, &mut told, key, value)?;
            }
            // Connect shows tasks and type beside the configuration, and takes the state to begin with.
            let others = object.into_iter().map(|(key, _)| key);
            told.extend(
                others.map(|key| Finding::new(&key, Group::NotNeeded, "no part of the connector's configuration")),
            );
        }
        Some(_) => return Err(Unreadable("\"config\" is no table of settings".to_owned())),
        None => {
            for (key, value) in object {
                add(&mut settings, &mut told, key, value)?;
            }
        }
    }
    Ok(Given {
        kind: Kind::Connect,
        settings,
        told,
    })
}

/// The same of the standalone worker's `.properties`.
///
/// # Errors
/// When there is no connector in it.
pub fn read_properties(properties: Vec<Property>) -> Result<Given, Unreadable> {
    if !properties.iter().any(|property| property.key == "connector.class") {
        return Err(Unreadable(
            "there is neither a connector.class nor a key that begins with \"debezium.\" in it".to_owned(),
        ));
    }
    let (properties, told) = last_of_each(properties);
    let settings = properties.into_iter().map(|property| Setting {
        name: property.key.clone(),
        key: property.key,
        value: Text::of_connect(&property.value),
    });
    Ok(Given {
        kind: Kind::Connect,
        settings: settings.collect(),
        told,
    })
}

fn add(settings: &mut Vec<Setting>, told: &mut Vec<Finding>, key: String, value: Value) -> Result<(), Unreadable> {
    let text = match value {
        Value::Null => {
            told.push(Finding::new(&key, Group::NotNeeded, "null, so it is not set"));
            return Ok(());
        }
        Value::String(text) => text,
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Array(_) | Value::Object(_) => {
            return Err(Unreadable(format!(
                "{key:?} holds a list or a table; Connect takes texts, numbers and booleans"
            )));
        }
    };
    settings.push(Setting {
        name: key.clone(),
        key,
        value: Text::of_connect(&text),
    });
    Ok(())
}
