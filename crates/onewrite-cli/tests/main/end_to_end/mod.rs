//! The whole way: writers on a real PostgreSQL, the program as a process, a real Apache Kafka, and the checker at its end.

mod broker;
mod brokers;
mod campaign;
mod contracts;
mod durability;
mod foreign;
mod groups;
mod guide;
mod large;
mod memory;
mod nemesis;
mod outage;
mod receiver;
mod scale;
mod shop;
mod standby;
mod world;
