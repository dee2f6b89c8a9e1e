//! The program as people meet it: what they type, and what they read.

mod configuration;
mod contracts;
mod docs;
mod end_to_end;
mod failpoints;
mod formats;
mod help;
mod import_debezium;
mod init;
mod operations;
mod postgres;
mod program;
mod relay;
mod shop;
mod verify;
