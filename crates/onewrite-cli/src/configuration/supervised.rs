//! A configuration that comes over standard input from the process that started this one. No file holds it, so none can be left
//! behind or read by others; and since the other process keeps the pipe open, its end is noticed.

use std::io::{self, BufRead as _, Read as _, Write};

use super::tree::Table;
use super::{ConfigurationError, Environment, Problems, Settings};
use crate::failure::Failure;

/// The line that ends the configuration. Nothing else in TOML is a line with a NUL.
const END: &str = "\0\n";

/// What errors call it.
const NAME: &str = "the configuration on standard input";

/// Writes a configuration for [`receive`].
///
/// # Errors
/// When nobody reads.
pub fn send(configuration: &str, to: &mut impl Write) -> io::Result<()> {
    to.write_all(configuration.as_bytes())?;
    to.write_all(END.as_bytes())?;
    to.flush()
}

/// Reads the configuration. The environment has no part in it.
///
/// # Errors
/// Everything that is wrong with it.
pub fn receive() -> Result<Settings, Failure> {
    let (mut text, mut input) = (String::new(), io::stdin().lock());
    while input.read_line(&mut text)? > 0 {
        if text.ends_with(END) {
            text.truncate(text.len() - END.len());
            break;
        }
    }
    let wrong = |problems| ConfigurationError::Wrong(Problems::new(NAME, problems));
    let tree = Table::parse(&text).map_err(|problem| wrong(vec![problem]))?;
    Ok(Settings::read(tree, &Environment::default()).map_err(wrong)?)
}

/// Calls back when the process that started this one has closed standard input or is gone.
pub fn when_alone(then: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || {
        let _whatever_ends_it = io::stdin().lock().read_to_end(&mut Vec::new());
        then();
    });
}
