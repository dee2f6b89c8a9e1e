//! Tests of the engine from outside.

mod blocking;
mod reporting;
mod route_machine;
mod world;
