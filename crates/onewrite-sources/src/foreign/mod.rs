//! Outbox tables that are not Onewrite's own: what their rows hold, and what becomes of them.

pub mod debezium;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub mod value;
