//! The fixtures themselves.

mod postgres;
mod survivors;
