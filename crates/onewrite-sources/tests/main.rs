//! The sources against real databases.

mod postgres_operations;
