//! The databases that hold an outbox: a folder each, and one registry.

#[cfg(feature = "postgres")]
pub mod postgres;
pub mod registry;
