//! PostgreSQL 14 and later, by plain SQL: it works behind a transaction pooler.

pub(crate) mod connection;
pub(crate) mod error;
