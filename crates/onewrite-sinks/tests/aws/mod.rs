//! What the tests of Amazon's services share: a server that a test tells what to answer, and signatures.

mod server;
mod signature;

pub use server::Server;
pub use signature::{check, hex};

pub const ACCESS_KEY_ID: &str = "AKIDEXAMPLE";
pub const SECRET: &str = "hunter2-secret";
