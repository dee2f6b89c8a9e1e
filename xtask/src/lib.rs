//! The project's chores.

pub mod sbom;
pub mod tidy;
