//! Tables and logs that are not Onewrite's own, beyond what the conformance suite asks.

mod debezium;
mod fixture;
mod locks;
mod log;
mod log_changes;
mod lost;
mod marks;
mod messages;
mod names;
mod parking;
mod probe;
mod refusals;
mod rows;
mod values;
