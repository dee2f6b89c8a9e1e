//! The sources against real databases.

mod postgres;
mod postgres_operations;
mod reader;
mod sqlite;
