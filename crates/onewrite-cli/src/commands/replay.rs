//! `onewrite replay`: events from the outbox once more.

use clap::Args;
use jiff::Timestamp;
use onewrite_core::limits::UNSETTLED_COUNT_MAX;
use onewrite_core::store::{Replay, ReplayRequest};
use serde_json::json;
use uuid::Uuid;

use super::{Context, known_route, moment};
use crate::failure::Failure;
use crate::output;
use crate::output::human::{count, plural};

/// Delivers events that are still in the outbox once more
///
/// The relay does it in the background, beside new events; replayed events carry the header onewrite-replay and their old
/// ids, so that consumers with an inbox are not disturbed. What is parked is left to its retry, and what was skipped stays away; what
/// the route has still to deliver comes again after that. All bounds that are given must fit.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onewrite replay --route orders --since '2h ago'
  onewrite replay --route orders --since 2026-11-24T08:00:00Z --until 2026-11-24T09:30:00Z --topic shop.orders
  onewrite replay --route orders --key 4711 --since 2026-11-24
  onewrite replay --route orders --id 0c9fe1a4-6f1e-4b4e-9d8a-1f0c5d0e2a77
  onewrite replay --route orders --from-id 0c9fe1a4-6f1e-4b4e-9d8a-1f0c5d0e2a77
  onewrite replay --route orders --from-sequence 120000 --to-sequence 130000")]
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
    /// From this event on, in the order of the outbox
    #[arg(long, value_name = "UUID", conflicts_with = "from_sequence")]
    from_id: Option<Uuid>,
    /// Up to this event, which is included
    #[arg(long, value_name = "UUID", conflicts_with = "to_sequence")]
    to_id: Option<Uuid>,
    /// From this sequence of the outbox on
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..))]
    from_sequence: Option<i64>,
    /// Up to this sequence, which is included
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..))]
    to_sequence: Option<i64>,
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
        from_sequence: arguments.from_sequence,
        to_sequence: arguments.to_sequence,
        from_id: arguments.from_id,
        to_id: arguments.to_id,
    };
    if !request.is_bounded() {
        return Err(Failure::usage(
            "which events are to be replayed is missing",
            "give at least one of --since, --until, --topic, --key, --id, and --from or --to with an id or a sequence",
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
    let replay = opened.operations.replay(&request).await?;
    if arguments.json {
        let mut answer = json!(replay);
        answer["route"] = json!(request.route);
        return Ok(output::json(&answer)?);
    }
    Ok(output::text(&text(&replay, &request.route))?)
}

fn text(replay: &Replay, route: &str) -> String {
    let events = match replay.events {
        Some(events) if events >= UNSETTLED_COUNT_MAX => format!(", {} events or more", count(events)),
        Some(events) => format!(", {}", plural(events.unsigned_abs(), "event")),
        None => ", too many events to count".to_owned(),
    };
    let mut text = format!(
        "replay {}{events}: the relay delivers them under the route {route:?} while it runs; `onewrite status` shows how far it is\n",
        replay.id
    );
    if let Some(gone) = &replay.gone {
        text.push_str(&format!("! {gone}\n"));
    }
    text
}

fn moment_from_now(text: &str) -> Result<Timestamp, String> {
    moment::parse(text, Timestamp::now())
}
