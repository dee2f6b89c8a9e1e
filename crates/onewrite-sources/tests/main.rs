//! The sources against real databases.

mod conformance;
mod debezium;
mod foreign;
mod postgres;
mod postgres_operations;
mod reader;
mod sqlite;
mod tables;
