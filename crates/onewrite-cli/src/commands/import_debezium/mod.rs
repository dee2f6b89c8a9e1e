//! `onewrite import-debezium`: from the configuration of a Debezium connector to this program's own.

mod connect;
mod file;
mod given;
mod guide;
mod properties;
mod report;
mod server;
mod text;
mod translate;
mod verdicts;

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use self::given::{Given, Kind};
use self::report::Report;
use super::new_file;
use crate::failure::{EXIT_INCOMPLETE, Failure};
use crate::output;
use crate::output::human::plural;

pub(crate) use self::guide::page;

/// Makes an onewrite.toml of a Debezium connector's configuration, and names every key that has no counterpart
///
/// FILE is a connector of Kafka Connect as JSON (with its name or flat), a .properties file of the standalone worker, or
/// Debezium Server's application.properties. The configuration goes to standard output, and what became of each key to standard
/// error. Secrets are never shown: environment variables stand in their place.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onewrite import-debezium outbox.json > onewrite.toml
  onewrite import-debezium outbox.json --brokers kafka-1:9092,kafka-2:9092 --output onewrite.toml
  onewrite import-debezium conf/application.properties --output onewrite.toml
  curl -s http://connect:8083/connectors/outbox | onewrite import-debezium /dev/stdin > onewrite.toml

Exit codes:
  0  everything that matters is translated; at most environment variables are to be set
  2  nothing is written: the file cannot be read, or captures no outbox of PostgreSQL
  3  it is written, and a person has to look: something is to be filled in, or has no counterpart")]
pub struct Arguments {
    /// The configuration of the connector
    file: PathBuf,
    /// Kafka's brokers, for connectors of Kafka Connect: their configuration does not name them
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    brokers: Vec<String>,
    /// Write the configuration to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Overwrite the file of --output if it is there
    #[arg(long, requires = "output")]
    force: bool,
    /// Say in JSON, on standard error, what became of each key
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let file = arguments.file.display().to_string();
    let bytes = std::fs::read(&arguments.file)
        .map_err(|error| Failure::configuration(anyhow::Error::new(error).context(format!("{file} cannot be read"))))?;
    let given = Given::read(bytes).map_err(|unreadable| {
        Failure::usage(
            format!("{file}: {unreadable}"),
            "expected a connector of Kafka Connect as JSON or .properties, or Debezium Server's application.properties",
        )
    })?;
    let translation = translate::translate(&given, &arguments.brokers)
        .map_err(|refused| Failure::usage(format!("{file}: {refused}"), refused.help))?;
    let report = translation.report;
    let whence = format!(
        "Translated by `onewrite import-debezium` from {file}, {}. docs/from-debezium.md says in which order to switch.",
        words(given.kind)
    );
    let text = file::render(&whence, &translation.sections, &report);
    match &arguments.output {
        Some(path) => {
            let path = path.display().to_string();
            let help = "add --force to overwrite it, or name another with `--output FILE`";
            new_file(&path, arguments.force, help)?.write_all(text.as_bytes())?;
            output::text(&format!("wrote {path}"))?;
        }
        None => output::text(&text)?,
    }
    tell(&report, arguments.json);
    match report.open_count() {
        0 => Ok(()),
        _ => Err(Failure::told(EXIT_INCOMPLETE)),
    }
}

/// The configuration of a connector's, where there is one.
#[cfg(any(test, fuzzing))]
pub(crate) fn translated(bytes: Vec<u8>) -> Option<String> {
    let translation = translate::translate(&Given::read(bytes).ok()?, &[]).ok()?;
    Some(file::render("Translated.", &translation.sections, &translation.report))
}

fn words(kind: Kind) -> &'static str {
    match kind {
        Kind::Connect => "a connector of Kafka Connect",
        Kind::Server => "a configuration of Debezium Server",
    }
}

fn tell(report: &Report, json: bool) {
    if json {
        let report: Value = report.json();
        eprintln!("{report}");
        return;
    }
    eprint!("{}", report.text());
    match report.open_count() {
        0 => eprintln!("Everything that matters is translated. Next: `onewrite check`."),
        open => eprintln!(
            "{} for a person to look at: what has no counterpart, and what is marked FILL IN.",
            plural(open as u64, "key")
        ),
    }
}
