//! Against a real PostgreSQL.

mod append;
mod database;
mod grants;
mod inbox;
mod limits;
mod migrate;
mod order;
