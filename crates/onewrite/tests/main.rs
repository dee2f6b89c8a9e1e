//! The crate against real databases.

mod postgres;
