//! The binary `onewrite`.

use std::process::ExitCode;

fn main() -> ExitCode {
    onewrite_cli::main(std::env::args_os())
}
