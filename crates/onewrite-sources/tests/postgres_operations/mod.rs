//! What operators ask of a PostgreSQL outbox.

mod database;
mod feed;
mod parked;
mod probe;
mod replays;
mod requests;
mod slots;
mod status;
mod transactions;
