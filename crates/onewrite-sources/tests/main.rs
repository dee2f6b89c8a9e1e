//! The sources against real databases.

mod conformance;
mod foreign;
mod debezium;
mod postgres;
mod postgres_operations;
mod reader;
mod sqlite;
mod tables;
