//! The databases that hold an outbox: a folder each, and one registry.

mod behind;
#[cfg(feature = "postgres")]
pub mod foreign;
/// What `./x fuzz` calls.
#[cfg(all(any(test, fuzzing), feature = "postgres"))]
pub mod fuzzing;
mod pace;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod registry;
mod runs;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod words;
