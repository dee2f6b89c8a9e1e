//! What applications link: an [`Event`], [`append`](postgres::append) in the caller's own transaction, the inbox that makes a
//! consumer idempotent, and the schema with its migrations. No broker client is among the dependencies.

pub mod event;
pub mod limits;

pub use event::{Event, InvalidEvent};
