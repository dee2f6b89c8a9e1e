//! The fixtures themselves.

#[cfg(feature = "kafka")]
mod kafka;
mod postgres;
mod survivors;
