//! Outbox tables that are not Onewrite's own: what their rows hold, and what becomes of them.

pub mod debezium;
pub mod value;
