//! Adapters that keep everything in memory: the reference implementation of core's contracts, and what tests of the engine
//! run against. They are put through the conformance suites themselves.

mod broker;
mod changes;
mod database;
mod feed;
mod operations;
mod outbox;
mod redeliveries;
mod segments;
mod server;
mod state;
mod transaction;

pub use broker::{MemoryBroker, MemoryConnector};
pub use changes::{Changes, Watcher};
pub use database::MemoryDatabase;
pub use server::{Logged, Server, Snapshot};
pub use state::{LeaseBug, PlainRow, RouteRow, Row, Session, State};
pub use transaction::MemoryTransaction;
