//! The program between real servers while everything fails.
//!
//! A [`campaign`] starts a [`world`]: PostgreSQL with a synchronous standby, a broker, two relays of one name, writers with a ledger,
//! and a proxy in every connection that is to suffer. In windows that a seed [`plan`]s, [`fault`]s [`strike`]; after each everything is
//! healed, must come back to its rate and drain by itself. At the end the checker [`judge`]s, and a [`report`] tells.
//!
//! The parts of that world also serve the end-to-end tests of the program.

pub mod authority;
pub mod broker;
pub mod campaign;
pub mod disk;
pub mod fault;
pub mod judge;
pub mod limits;
pub mod mutants;
pub mod plan;
pub mod process;
pub mod program;
pub mod receiver;
pub mod report;
pub mod setting;
pub mod shop;
pub mod strike;
pub mod timeline;
pub mod world;
