//! An outbox in an SQLite file.

mod feed;
mod fixture;
mod leases;
mod maintenance;
mod operations;
mod redeliveries;
mod refusals;
mod rows;
mod writers;
