//! Each adapter against the real thing, or a server that can be told how to misbehave.

#[cfg(feature = "file")]
mod file;
#[cfg(feature = "http")]
mod http;
mod support;
