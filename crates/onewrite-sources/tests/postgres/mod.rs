//! The engine's view of a PostgreSQL outbox.

mod adoption;
mod batches;
mod crash;
mod fences;
pub mod fixture;
mod groups;
mod groups_status;
mod log_crash;
mod log_large;
mod log_refusals;
mod log_relay;
mod log_restored;
mod log_routes;
mod log_slots;
mod log_waiting;
mod maintenance;
mod names;
mod order;
mod redeliveries;
mod refusals;
mod restart;
mod tls;
