//! `onewrite check`: tries everything that the file names.

use std::sync::Arc;

use clap::Args;
use futures::future::join_all;
use onewrite_core::SinkConnector;
use onewrite_core::limits::CONNECT_TIMEOUT;
use onewrite_core::sink::{Finding, FindingLevel};
use onewrite_formats::Format;
use serde::Serialize;
use serde_json::json;

use super::Context;
use crate::configuration::{Place, Settings};
use crate::failure::Failure;
use crate::output::table::{Side, Table};
use crate::{output, wiring};

/// Connects to everything that the configuration names, and says what works, what does not, and what to do
///
/// Nothing is changed and nothing is delivered. Exits with 1 when something is broken.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onewrite check
  onewrite check -c /etc/onewrite/shop.toml --json")]
pub struct Arguments {
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let file = context.file();
    let settings = context.settings()?;
    let opened = wiring::open(&settings, &file)?;
    let connectors = wiring::connectors(&settings, &file)?;
    let mut findings = configuration(&settings, &file);
    let sinks = settings.sinks.iter().map(|sink| {
        let connector = connectors.sinks[&sink.name].clone();
        let topics = settings.literal_topics(|route| route.sink == sink.name);
        probe_sink(sink.name.clone(), connector, topics)
    });
    let formats = connectors.formats.iter().map(|(name, format)| {
        let topics = settings.literal_topics(|route| route.format == *name);
        probe_format(name.clone(), Arc::clone(format), topics)
    });
    let (source, sinks, formats) = tokio::join!(
        probe_source(opened.operations.probe()),
        join_all(sinks),
        join_all(formats)
    );
    findings.extend(source);
    findings.extend(sinks.into_iter().chain(formats).flatten());
    let broken = findings
        .iter()
        .filter(|found| found.finding.level == FindingLevel::Broken)
        .count();
    if arguments.json {
        output::json(&json!({"ok": broken == 0, "findings": findings}))?;
    } else {
        output::text(&table(&findings).to_string())?;
    }
    match broken {
        0 => Ok(()),
        1 => Err(Failure::failed(anyhow::anyhow!("1 thing is broken"))),
        count => Err(Failure::failed(anyhow::anyhow!("{count} things are broken"))),
    }
}

/// A finding with the part of the configuration that it is about.
#[derive(Debug, Serialize)]
struct Found {
    part: String,
    #[serde(flatten)]
    finding: Finding,
}

fn configuration(settings: &Settings, file: &str) -> Vec<Found> {
    let found = |finding| Found {
        part: "configuration".to_owned(),
        finding,
    };
    let (routes, sinks) = (settings.routes.len() as u64, settings.sinks.len() as u64);
    let counted = format!(
        "{} to {}",
        output::human::plural(routes, "route"),
        output::human::plural(sinks, "sink")
    );
    let mut all = vec![found(Finding::works(file, counted))];
    for warning in &settings.warnings {
        let place = match &warning.place {
            Place::Line(line) => format!("{file}:{line}"),
            Place::File => file.to_owned(),
            Place::Variable(name) => name.clone(),
        };
        all.push(found(Finding::warning(
            place,
            format!("{}: {}", warning.key, warning.message),
        )));
    }
    all
}

async fn probe_source(probe: impl Future<Output = Vec<Finding>>) -> Vec<Found> {
    let found = bounded("database", probe).await;
    found
        .into_iter()
        .map(|finding| Found {
            part: "source".to_owned(),
            finding,
        })
        .collect()
}

async fn probe_sink(name: String, connector: Arc<dyn SinkConnector>, topics: Vec<String>) -> Vec<Found> {
    let part = format!("sinks.{name}");
    let found = bounded(connector.kind(), connector.probe(&topics)).await;
    found
        .into_iter()
        .map(|finding| Found {
            part: part.clone(),
            finding,
        })
        .collect()
}

async fn probe_format(name: String, format: Arc<dyn Format>, topics: Vec<String>) -> Vec<Found> {
    let part = format!("formats.{name}");
    let found = bounded(format.kind(), format.probe(&topics)).await;
    let found = found.into_iter().map(|finding| Found {
        part: part.clone(),
        finding,
    });
    found.collect()
}

/// Probes have time limits of their own; this one is for what they did not think of.
async fn bounded(subject: &str, probe: impl Future<Output = Vec<Finding>>) -> Vec<Finding> {
    match tokio::time::timeout(CONNECT_TIMEOUT * 2, probe).await {
        Ok(findings) => findings,
        Err(_) => vec![Finding::broken(
            subject,
            format!("no answer within {:?}", CONNECT_TIMEOUT * 2),
        )],
    }
}

fn table(findings: &[Found]) -> Table {
    let mut table = Table::new(&[
        ("", Side::Left),
        ("PART", Side::Left),
        ("WHAT", Side::Left),
        ("FOUND", Side::Left),
    ]);
    for Found { part, finding } in findings {
        let sign = match finding.level {
            FindingLevel::Works => "✓",
            FindingLevel::Warning => "!",
            FindingLevel::Broken => "✗",
        };
        table.row([
            sign.to_owned(),
            part.clone(),
            finding.subject.clone(),
            finding.message.clone(),
        ]);
    }
    table
}
