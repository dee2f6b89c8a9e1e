//! The fixtures themselves, and the suites on adapters in memory.

mod harness;
#[cfg(feature = "kafka")]
mod kafka;
mod memory;
#[cfg(feature = "kafka")]
mod missing;
mod planted;
mod postgres;
mod postgres_copies;
mod proxy;
mod relay;
mod survivors;
