//! PostgreSQL by `tokio-postgres`: [`append`] in the caller's transaction, the inbox, and migrations.
//!
//! Every call is one round trip of an unprepared statement, and keeps nothing in the session: it works behind a transaction
//! pooler. Pools that wrap a [`tokio_postgres::Transaction`] (such as `deadpool-postgres`) pass it by reference as it is.
//!
//! What is polled together is sent together, in that order, and so an event can go along with a statement of the business and
//! cost no round trip of its own. If one of the two fails, the transaction does.
//!
//! ```no_run
//! # async fn example(transaction: &tokio_postgres::Transaction<'_>, event: &onewrite::Event) -> Result<(), Box<dyn std::error::Error>> {
//! let order = transaction.execute("INSERT INTO orders VALUES (42, 'lamp')", &[]);
//! let (inserted, appended) = tokio::join!(order, onewrite::postgres::append(transaction, event));
//! (inserted?, appended?);
//! # Ok(())
//! # }
//! ```

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
