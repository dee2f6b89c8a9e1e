//! Asking before something is done to many events.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::failure::Failure;

/// Asks on a terminal whether to go on. Elsewhere nobody can answer, and the command must say it itself.
///
/// # Errors
/// When the answer is no, or nobody can be asked.
pub fn confirm(question: &str) -> Result<(), Failure> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(Failure::usage(
            format!("{question} Nobody can be asked here, so nothing was done"),
            "add --yes to go ahead without being asked",
        ));
    }
    eprint!("{question} [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failure::usage("nothing was done", "answer `y` to go ahead"))
}
