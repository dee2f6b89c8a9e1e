//! The engine's view of a PostgreSQL outbox.

mod adoption;
mod batches;
mod crash;
mod fences;
mod fixture;
mod maintenance;
mod names;
mod order;
mod redeliveries;
mod refusals;
mod restart;
mod tls;
