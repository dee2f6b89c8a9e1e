//! SQLite by `rusqlite`: [`append`] in the caller's transaction, the inbox, and migrations.
//!
//! SQLite lets one transaction write at a time. Begin a transaction that will append with
//! [`TransactionBehavior::Immediate`](rusqlite::TransactionBehavior::Immediate): it then waits for its turn at the start, for
//! as long as the connection's `busy_timeout` allows. One that reads first and writes later can be refused in the middle.

mod append;
mod error;
mod inbox;
mod migrate;

pub use append::{append, append_all};
pub use error::{AppendError, InboxError, MigrateError};
pub use inbox::{prune_inbox, receive};
pub use migrate::{current_version, migrate};
