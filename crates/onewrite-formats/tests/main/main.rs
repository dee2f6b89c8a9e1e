//! Formats before sinks, with real brokers and a real schema registry.

mod conformance;
mod decorator;
mod documents;
mod refusing;
mod schemas;
mod stub;
mod support;
mod wire;
