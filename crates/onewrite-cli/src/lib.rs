//! The program `onewrite`: the relay and the commands around it. The binary is [`main`]; everything else is here, so that
//! tests reach it.

pub mod commands;
pub mod configuration;
pub mod documentation;
pub mod failure;
/// What `./x fuzz` calls.
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod logging;
pub mod output;
pub mod wiring;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use commands::Cli;
use failure::EXIT_CLEAN;

/// Runs the program with these arguments, the first of which is its name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    // Two TLS providers may be linked; whoever asks first without this one installed would panic.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ended = commands::run(Cli::parse_from(arguments));
    match ended {
        Ok(()) => ExitCode::from(EXIT_CLEAN),
        Err(failure) => {
            if !failure.is_closed_output() {
                eprint!("{}", failure.text());
            }
            ExitCode::from(failure.exit)
        }
    }
}
