//! `onewrite replay`: events from the outbox once more.

use clap::Args;
use jiff::Timestamp;
use onewrite_core::store::ReplayRequest;
use serde_json::json;
use uuid::Uuid;

use super::{Context, known_route, moment};
use crate::failure::Failure;
use crate::output;

/// Delivers events that are still in the outbox once more
///
/// The relay does it in the background, beside new events; replayed events carry the header onewrite-replay and their old
/// ids, so that consumers with an inbox are not disturbed. All bounds that are given must fit.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onewrite replay --route orders --since '2h ago'
  onewrite replay --route orders --since 2026-11-24T08:00:00Z --until 2026-11-24T09:30:00Z --topic shop.orders
  onewrite replay --route orders --key 4711 --since 2026-11-24
  onewrite replay --route orders --id 0c9fe1a4-6f1e-4b4e-9d8a-1f0c5d0e2a77")]
pub struct Arguments {
    /// The route under which they are delivered; only events that it takes anyway
    #[arg(long)]
    route: String,
    /// Recorded at or after this time: RFC 3339, a date, or a span such as '2h ago'
    #[arg(long, value_name = "TIME", value_parser = moment_from_now)]
    since: Option<Timestamp>,
    /// Recorded before this time
    #[arg(long, value_name = "TIME", value_parser = moment_from_now)]
    until: Option<Timestamp>,
    /// Of this topic
    #[arg(long)]
    topic: Option<String>,
    /// Of this key
    #[arg(long)]
    key: Option<String>,
    /// The event's own id; may be given several times
    #[arg(long = "id", value_name = "UUID")]
    ids: Vec<Uuid>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let (settings, opened) = context.open()?;
    known_route(&settings, &arguments.route)?;
    let request = ReplayRequest {
        relay: settings.name.clone(),
        route: arguments.route.clone(),
        since: arguments.since,
        until: arguments.until,
        topic: arguments.topic.clone(),
        key: arguments.key.clone(),
        ids: arguments.ids.clone(),
    };
    if request
        == (ReplayRequest {
            relay: request.relay.clone(),
            route: request.route.clone(),
            ..ReplayRequest::default()
        })
    {
        return Err(Failure::usage(
            "which events are to be replayed is missing",
            "give at least one of --since, --until, --topic, --key and --id",
        ));
    }
    if let (Some(since), Some(until)) = (request.since, request.until)
        && since >= until
    {
        return Err(Failure::usage(
            format!("no event is at or after {since} and before {until}"),
            "give --since an earlier time than --until",
        ));
    }
    let number = opened.operations.replay(&request).await?;
    if arguments.json {
        return Ok(output::json(&json!({"replay": number, "route": request.route}))?);
    }
    let text = format!(
        "replay {number} is asked for; the relay delivers it under the route {:?} while it runs",
        request.route
    );
    Ok(output::text(&text)?)
}

fn moment_from_now(text: &str) -> Result<Timestamp, String> {
    moment::parse(text, Timestamp::now())
}
