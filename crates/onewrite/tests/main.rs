//! The crate against real databases.

mod postgres;
mod sqlite;
