//! Tests of the engine from outside.

mod blocking;
mod route_machine;
mod world;
