//! PostgreSQL by `tokio-postgres`: [`append`] in the caller's transaction, the inbox, and migrations.
//!
//! Every call is one round trip of an unprepared statement, and keeps nothing in the session: it works behind a transaction
//! pooler. Pools that wrap a [`tokio_postgres::Transaction`] (such as `deadpool-postgres`) pass it by reference as it is.

mod append;
mod error;
mod inbox;
mod migrate;

pub use append::{append, append_all, append_under_row_lock};
pub use error::{AppendError, InboxError, MigrateError};
pub use inbox::{prune_inbox, receive};
pub use migrate::{current_rotation, current_version, grant, migrate};

pub use crate::schema::postgres::grants::{Grant, Privileges};
pub use crate::schema::postgres::{MigrateOptions, Rotation};
