//! An outbox in an SQLite file.

mod conformance;
mod fixture;
