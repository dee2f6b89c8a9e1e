//! From settings to the things that run: the database's faces, the sinks' connectors, the relay.

use std::collections::BTreeMap;
use std::sync::Arc;

use onewrite_core::SinkConnector;
use onewrite_core::relay::{Relay, Route};
use onewrite_sources::registry::Opened;

use crate::configuration::{Problem, Problems, Settings};
use crate::failure::Failure;

/// Connectors by the names of their sinks.
pub type Connectors = BTreeMap<String, Arc<dyn SinkConnector>>;

/// Opens the source. Nothing is connected to yet.
///
/// # Errors
/// An option that nothing can be made of.
pub fn open(settings: &Settings, file: &str) -> Result<Opened, Failure> {
    let source = &settings.source;
    source.source_type.open(&source.section.options).map_err(|error| {
        Failure::configuration(anyhow::Error::new(error).context(format!("the source in {file} cannot be used")))
    })
}

/// Makes the connectors of all sinks. Nothing is connected to yet.
///
/// # Errors
/// Every option of which no sink can be made, with its line.
pub fn connectors(settings: &Settings, file: &str) -> Result<Connectors, Failure> {
    let (mut connectors, mut problems) = (Connectors::new(), Vec::new());
    for sink in &settings.sinks {
        match sink.sink_type.build(&sink.section.options) {
            Ok(connector) => {
                connectors.insert(sink.name.clone(), connector);
            }
            Err(error) => {
                let cause = error.source.as_ref().map_or(String::new(), |cause| {
                    format!(" ({})", onewrite_core::error::chain(cause.as_ref()))
                });
                let key = format!("{}.{}", error.section, error.key);
                problems.push(Problem::new(
                    sink.section.place_of(error.key),
                    key,
                    error.problem + &cause,
                ));
            }
        }
    }
    if problems.is_empty() {
        Ok(connectors)
    } else {
        let wrong = crate::configuration::ConfigurationError::Wrong(Problems::new(file, problems));
        Err(wrong.into())
    }
}

/// Puts the relay together.
pub fn relay(settings: &Settings, opened: &Opened, connectors: &Connectors) -> Relay {
    let routes = settings
        .routes
        .iter()
        .map(|route| Route {
            name: route.name.clone(),
            wanted: route.wanted.clone(),
            connector: connectors[&route.sink].clone(),
            behaviour: route.behaviour.clone(),
        })
        .collect();
    let mut relay = Relay::new(settings.name.clone(), holder(), routes, opened.outbox.clone());
    relay.lease_ttl = settings.lease_ttl;
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
