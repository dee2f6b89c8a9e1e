//! Formats before sinks, with real brokers and a real schema registry.

mod conformance;
mod decorator;
mod documents;
mod patience;
mod refusing;
mod schemas;
mod stub;
mod support;
mod wire;
