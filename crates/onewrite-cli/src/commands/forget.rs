//! `onewrite forget`: a relay that nobody will run again.

use clap::Args;
use onewrite_core::store::Status;
use serde_json::json;

use super::Context;
use super::confirm::confirm;
use crate::failure::Failure;
use crate::output;
use crate::output::human::{count, plural};

/// Gives a relay up for good, so that nothing is kept for it any more
///
/// Its progress, what is parked under it, its replays and its replication slot go. The outbox keeps every event until all relays that are recorded have settled it, so one that nobody will run again keeps
/// them for ever; `onewrite status` tells of it. What it has not delivered, it never will. Refused while a process runs it.
/// It need not be the relay of the configuration: any of the same database can be given up.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onewrite forget --relay shop-old
  onewrite forget --relay shop-old --yes --json")]
pub struct Arguments {
    /// The relay
    #[arg(long, value_name = "NAME")]
    relay: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let (_, opened) = context.open()?;
    let relay = &arguments.relay;
    if !arguments.yes {
        let status = opened.operations.status().await?;
        confirm(&question(&status, relay))?;
    }
    let forgotten = opened.operations.forget(relay).await?;
    if arguments.json {
        return Ok(output::json(&json!({"relay": relay, "forgotten": forgotten}))?);
    }
    let slots = match forgotten.slots.as_slice() {
        [] => String::new(),
        [slot] => format!(", and the slot {slot} is dropped"),
        slots => format!(", and the slots {} are dropped", slots.join(", ")),
    };
    Ok(output::text(&format!(
        "the relay {relay:?} is given up with {} and {}{slots}",
        plural(forgotten.routes.len() as u64, "route"),
        plural(forgotten.parked, "parked event")
    ))?)
}

fn question(status: &Status, relay: &str) -> String {
    let routes = || status.routes.iter().filter(|route| route.relay == relay);
    // What is in a log alone is not counted.
    let undelivered = match routes().all(|route| route.unsettled.is_some()) {
        true => count(routes().filter_map(|route| route.unsettled).max().unwrap_or(0)),
        false => "an unknown number of".to_owned(),
    };
    let parked: i64 = routes().map(|route| route.parked + route.held).sum();
    format!(
        "give up the relay {relay:?}, whose furthest route has {} events before it, and {} parked events with it?",
        undelivered,
        count(parked)
    )
}
