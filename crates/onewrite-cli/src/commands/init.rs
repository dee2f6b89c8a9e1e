//! `onewrite init`: a commented configuration to begin with.

use std::io::Write;

use clap::Args;
use onewrite_sinks::registry::{sink_type, sink_types};
use onewrite_sources::registry::{source_type, source_types};

use super::{Context, new_file};
use crate::configuration::example::example;
use crate::failure::Failure;
use crate::output;

/// Writes a commented onewrite.toml with every key that there is
///
/// What must be given is filled with an example to change; everything else is there as a comment with its default.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onewrite init                                  PostgreSQL to Kafka
  onewrite init --source sqlite --sink stdout    for a first look
  onewrite init --sink http -c /etc/onewrite/shop.toml")]
pub struct Arguments {
    /// Where events come from: postgres or sqlite [default: postgres]
    #[arg(long, value_name = "TYPE")]
    source: Option<String>,
    /// Where they go: kafka, http, file or stdout [default: kafka]
    #[arg(long, value_name = "TYPE")]
    sink: Option<String>,
    /// Overwrite the file if it is there
    #[arg(long)]
    force: bool,
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let unknown = |error: String| Failure::usage(error, "`onewrite init --help` shows examples");
    // The first of each registry is the usual one.
    let source = match &arguments.source {
        Some(name) => Some(source_type(name).map_err(|error| unknown(error.to_string()))?),
        None => source_types().first(),
    };
    let sink = match &arguments.sink {
        Some(name) => Some(sink_type(name).map_err(|error| unknown(error.to_string()))?),
        None => sink_types().first(),
    };
    let (Some(source), Some(sink)) = (source, sink) else {
        return Err(unknown(
            "this program was built without any source or without any sink".to_owned(),
        ));
    };
    let file = context.file();
    let help = "add --force to overwrite it, or name another with `-c FILE`";
    new_file(&file, arguments.force, help)?.write_all(example(source, sink).as_bytes())?;
    output::text(&format!(
        "wrote {file}: {} to {}; change what it marks, then `onewrite migrate`, `onewrite check`, `onewrite run`",
        source.name, sink.name
    ))?;
    Ok(())
}
