//! From settings to the things that run: the database's faces, the connectors of sinks and routes, the relay.

use std::collections::BTreeMap;
use std::sync::Arc;

use onewrite_core::SinkConnector;
use onewrite_core::options::Options;
use onewrite_core::relay::{Relay, Route};
use onewrite_formats::{Format, format_type, formatted};
use onewrite_sources::registry::Opened;

use crate::configuration::{Problem, Problems, Settings};
use crate::failure::Failure;

/// What routes are made of.
pub struct Connectors {
    /// By the names of sinks.
    pub sinks: BTreeMap<String, Arc<dyn SinkConnector>>,
    /// By the names of formats, but for the one that changes nothing.
    pub formats: BTreeMap<String, Arc<dyn Format>>,
    /// By the names of routes: the sink's connector, behind the route's format and topic where it has them.
    pub routes: BTreeMap<String, Arc<dyn SinkConnector>>,
}

/// Opens the source. Nothing is connected to yet.
///
/// # Errors
/// An option that nothing can be made of.
pub fn open(settings: &Settings, file: &str) -> Result<Opened, Failure> {
    let source = &settings.source;
    let opened = source
        .source_type
        .open_in_groups(&source.section.options, settings.groups);
    opened.map_err(|error| {
        Failure::configuration(anyhow::Error::new(error).context(format!("the source in {file} cannot be used")))
    })
}

/// Makes the connectors of all sinks and routes. Nothing is connected to yet.
///
/// # Errors
/// Every option of which no sink or format can be made, and every format that has no place in its sink, with its line.
pub fn connectors(settings: &Settings, file: &str) -> Result<Connectors, Failure> {
    let mut problems = Vec::new();
    let mut connectors = Connectors {
        sinks: BTreeMap::new(),
        formats: BTreeMap::new(),
        routes: BTreeMap::new(),
    };
    for sink in &settings.sinks {
        match sink.sink_type.build(&sink.section.options) {
            Ok(connector) => {
                connectors.sinks.insert(sink.name.clone(), connector);
            }
            Err(error) => problems.push(sink.section.unusable(error)),
        }
    }
    for format in &settings.formats {
        match format.format_type.build(&format.section.options) {
            Ok(built) => connectors
                .formats
                .extend(built.map(|built| (format.name.clone(), built))),
            Err(error) => problems.push(format.section.unusable(error)),
        }
    }
    for (at, route) in settings.routes.iter().enumerate() {
        let of_route = |message: String| {
            let key = format!("routes.{at}.format");
            Problem::new(route.format_place.clone(), key, message)
        };
        let format = match format_of(settings, &connectors, &route.format) {
            Ok(format) => format,
            Err(message) => {
                problems.push(of_route(message));
                continue;
            }
        };
        let Some(sink) = connectors.sinks.get(&route.sink) else {
            continue;
        };
        match formatted(Arc::clone(sink), format, route.topic.clone()) {
            Ok(connector) => {
                connectors.routes.insert(route.name.clone(), connector);
            }
            Err(misfit) => problems.push(of_route(misfit.to_string())),
        }
    }
    if problems.is_empty() {
        Ok(connectors)
    } else {
        let wrong = crate::configuration::ConfigurationError::Wrong(Problems::new(file, problems));
        Err(wrong.into())
    }
}

/// The format of this name: of a section, or of a type that is used by its name, with its defaults. `None` for the one that changes
/// nothing, and for one of which none could be made, which has been told.
///
/// # Errors
/// Why there is none.
fn format_of(settings: &Settings, connectors: &Connectors, name: &str) -> Result<Option<Arc<dyn Format>>, String> {
    if settings.formats.iter().any(|format| format.name == name) {
        return Ok(connectors.formats.get(name).cloned());
    }
    let found = format_type(name).map_err(|error| error.to_string())?;
    let options = Options::from_texts(&format!("formats.{name}"), found.fields, &[])?;
    found.build(&options).map_err(|error| error.to_string())
}

/// Puts the relay together.
pub fn relay(settings: &Settings, opened: &Opened, connectors: &Connectors) -> Relay {
    let routes = settings
        .routes
        .iter()
        .map(|route| Route {
            name: route.name.clone(),
            wanted: route.wanted.clone(),
            connector: connectors.routes[&route.name].clone(),
            behaviour: route.behaviour.clone(),
        })
        .collect();
    let mut relay = Relay::new(settings.name.clone(), holder(), routes, opened.outbox.clone());
    relay.lease_ttl = settings.lease_ttl;
    relay.groups = settings.groups;
    // Processes in containers may have one host name and one number.
    relay.member = format!("{} {:016x}", relay.holder, fastrand::u64(..));
    relay
}

/// Who this process is, for people: host and process number.
fn holder() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned());
    format!("{host}:{}", std::process::id())
}
