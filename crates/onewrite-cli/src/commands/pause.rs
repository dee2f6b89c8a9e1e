//! `onewrite pause` and `onewrite resume`.

use clap::Args;
use serde_json::json;

use super::{Context, known_route};
use crate::failure::Failure;
use crate::output;
use crate::output::human::plural;

/// Makes a route stand still until it is resumed
///
/// A running relay takes note within a second, and lets deliveries under way come to rest. Nothing is lost: events wait in the
/// outbox. It holds over restarts of the relay.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onewrite pause orders
  onewrite pause --all")]
pub struct PauseArguments {
    #[command(flatten)]
    which: Which,
}

/// Lets a paused or halted route go on
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onewrite resume orders
  onewrite resume --all")]
pub struct ResumeArguments {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
struct Which {
    /// The route
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    route: Option<String>,
    /// Every route of the relay
    #[arg(long)]
    all: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub async fn pause(arguments: &PauseArguments, context: &Context) -> Result<(), Failure> {
    set(&arguments.which, true, context).await
}

pub async fn resume(arguments: &ResumeArguments, context: &Context) -> Result<(), Failure> {
    set(&arguments.which, false, context).await
}

async fn set(which: &Which, paused: bool, context: &Context) -> Result<(), Failure> {
    let (settings, opened) = context.open()?;
    let route = which.route.as_deref();
    if let Some(route) = route {
        known_route(&settings, route)?;
    }
    let count = opened.operations.set_paused(&settings.name, route, paused).await?;
    let done = if paused { "paused" } else { "resumed" };
    if count == 0 {
        let what = route.map_or(format!("the relay {:?}", settings.name), |route| {
            format!("the route {route:?}")
        });
        return Err(Failure::failed(anyhow::anyhow!(
            "{what} has never run on this database, so nothing was {done}"
        ))
        .help("start `onewrite run` first"));
    }
    if which.json {
        return Ok(output::json(&json!({"paused": paused, "routes": count}))?);
    }
    Ok(output::text(&match route {
        Some(route) => format!("the route {route:?} is {done}"),
        None => format!("{} {done}", plural(count, "route")),
    })?)
}
