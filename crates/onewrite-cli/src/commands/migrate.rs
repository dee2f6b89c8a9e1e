//! `onewrite migrate`: the schema and the grants.

use std::time::Duration;

use clap::Args;
use onewrite_core::StoreFailure;
use onewrite_core::options::{Kind, Value};
use onewrite_sources::registry::MigrateRequest;
use serde_json::json;

use super::Context;
use crate::failure::Failure;
use crate::output;

/// Creates the outbox in the database, or brings it to the newest version
///
/// Running it again changes nothing. It needs a role that may create the schema `onewrite`, or owns it; the relay itself
/// needs far less, which --grant-relay gives.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onewrite migrate
  onewrite migrate --grant-application shop --grant-relay onewrite
  onewrite migrate --print --grant-relay onewrite > schema.sql    for the DBA who runs it")]
pub struct Arguments {
    /// Print the SQL instead of running it; nothing is connected to
    #[arg(long)]
    print: bool,
    /// A role that gets what an application needs: to append events and to use the inbox
    #[arg(long, value_name = "ROLE")]
    grant_application: Vec<String>,
    /// A role that gets what a relay needs: to read the outbox and to write its own progress
    #[arg(long, value_name = "ROLE")]
    grant_relay: Vec<String>,
    /// How long a segment of the outbox is in use before the next one's turn, such as 10m or 1h (PostgreSQL). Left out, it stays as
    /// it is, and is raised where `retention` in the configuration asks for more
    #[arg(long, value_name = "TIME", value_parser = time)]
    rotation: Option<Duration>,
    /// Answer in JSON
    #[arg(long, conflicts_with = "print")]
    json: bool,
}

pub async fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let settings = context.settings()?;
    let source = &settings.source;
    let request = MigrateRequest {
        rotation: arguments.rotation,
        groups: Some(settings.groups),
        grant_application: arguments.grant_application.clone(),
        grant_relay: arguments.grant_relay.clone(),
    };
    // No database is asked for this, so what it refuses is what the command line or the configuration says.
    let script = source
        .source_type
        .script(&source.section.options, &request)
        .map_err(Failure::configuration)?;
    if arguments.print {
        return Ok(output::text(&script)?);
    }
    let migrated = source
        .source_type
        .migrate(&source.section.options, request)
        .await
        .map_err(|error| {
            let refused = error.failure == StoreFailure::Refused;
            let failure = Failure::from(error);
            if refused {
                failure.help("`onewrite migrate --print` prints the SQL for somebody with the rights to run it")
            } else {
                failure
            }
        })?;
    if arguments.json {
        let granted: Vec<&String> = arguments
            .grant_application
            .iter()
            .chain(&arguments.grant_relay)
            .collect();
        output::json(&json!({
            "version": migrated.version,
            "applied": migrated.applied,
            "granted": granted,
            "notes": migrated.notes,
        }))?;
        return Ok(());
    }
    let mut text = match migrated.applied.as_slice() {
        [] => format!("the schema is at version {} already\n", migrated.version),
        _ => format!("the schema is at version {} now\n", migrated.version),
    };
    for role in &arguments.grant_application {
        text.push_str(&format!("{role} may append events\n"));
    }
    for role in &arguments.grant_relay {
        text.push_str(&format!("{role} may relay events\n"));
    }
    for note in &migrated.notes {
        text.push_str(&format!("{note}\n"));
    }
    Ok(output::text(&text)?)
}

fn time(text: &str) -> Result<Duration, String> {
    match Kind::Duration.parse(text) {
        Ok(Value::Duration(time)) => Ok(time),
        _ => Err(format!("expected {}", Kind::Duration)),
    }
}
