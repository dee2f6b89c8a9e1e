//! Tests of the engine from outside.

mod route_machine;
mod world;
