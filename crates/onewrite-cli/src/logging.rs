//! Log lines on standard error: for people on a terminal, JSON otherwise.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::configuration::settings::LogSettings;
use crate::failure::Failure;

/// What the commands that only ask or change something log.
pub fn quiet() -> LogSettings {
    LogSettings {
        format: "human".to_owned(),
        level: "warn".to_owned(),
    }
}

/// What the demo logs unless it is told otherwise: it tells its story itself, and breaks things on purpose.
pub fn silent() -> LogSettings {
    LogSettings {
        level: "off".to_owned(),
        ..quiet()
    }
}

/// Starts logging. `option` (from `--log`) stands over `variable` (RUST_LOG), and that over the settings.
///
/// # Errors
/// When the filter that counts cannot be read.
pub fn start(settings: &LogSettings, option: Option<&str>, variable: Option<&str>) -> Result<(), Failure> {
    let (filter, whence) = match (option, variable.filter(|text| !text.is_empty())) {
        (Some(option), _) => (option, "--log"),
        (None, Some(variable)) => (variable, "the environment variable RUST_LOG"),
        (None, None) => (settings.level.as_str(), "log.level"),
    };
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        Failure::configuration(
            anyhow::Error::new(error).context(format!("{whence} holds {filter:?}, which is no filter")),
        )
        .help("write a level such as `info`, or levels by module such as `warn,onewrite_core=debug`")
    })?;
    let terminal = io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let human = settings.format == "human" || (settings.format == "auto" && terminal);
    if human {
        builder.with_ansi(terminal).with_target(false).init();
    } else {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .init();
    }
    Ok(())
}
