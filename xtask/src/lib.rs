//! The project's chores.

pub mod tidy;
