//! The suites that every adapter must pass: one for sinks, one for sources.
//!
//! An adapter's tests implement the suite's harness on a real broker or database and call `check`; what comes back names the
//! adapter, the case, what is required and what was seen.

mod report;
pub mod sink;
pub mod source;

pub use report::{Broken, Failure, Wrong};
