//! Debezium's outbox contract: the facts of its own tests, and what a real one recorded.

mod converters;
mod expansion;
mod messages;
mod recorded;
mod router;
mod rows;
