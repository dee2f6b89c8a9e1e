//! What operators ask of a PostgreSQL outbox.

mod database;
mod parked;
mod probe;
mod requests;
mod status;
