//! The whole way: writers on a real PostgreSQL, the program as a process, a real Apache Kafka, and the checker at its end.

mod brokers;
mod campaign;
mod contracts;
mod durability;
mod foreign;
mod groups;
mod guide;
mod large;
mod outage;
mod scale;
mod standby;
mod world;
