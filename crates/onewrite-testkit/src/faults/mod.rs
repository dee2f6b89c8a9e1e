//! Faults by name: wrappers around any sink, planted bugs that show whether a test would notice, and a TCP proxy that
//! misbehaves on demand.

mod bugs;
mod proxy;
mod sinks;

pub use bugs::{SinkBug, SourceBug, buggy_connector, buggy_outbox};
pub use proxy::{FaultProxy, ProxyMode};
pub use sinks::{Fault, Faulty, When};
