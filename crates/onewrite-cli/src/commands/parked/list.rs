//! `onewrite parked list` and `onewrite parked show`.

use clap::Args;
use jiff::Timestamp;
use onewrite_core::Operations;
use onewrite_core::store::ParkedFilter;

use super::{Filter, one};
use crate::configuration::Settings;
use crate::failure::Failure;
use crate::output;
use crate::output::event::{ago, full_json, full_text};
use crate::output::human::{bytes, count, shortened};
use crate::output::table::{Side, Table};

/// Lists parked and held events, oldest first
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onewrite parked list
  onewrite parked list --route orders --topic shop.orders --limit 20
  onewrite parked list --json | jq -r '.[].error' | sort | uniq -c")]
pub struct ListArguments {
    #[command(flatten)]
    filter: Filter,
    /// Answer in JSON: an array of events without their payloads
    #[arg(long)]
    json: bool,
}

/// Shows one parked event with its headers and its payload
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onewrite parked show 12
  onewrite parked show 12 --json | jq -r .payload_text | jq .")]
pub struct ShowArguments {
    /// The event's number in the list
    id: i64,
    /// Answer in JSON; the payload is under payload_text, or payload_base64 where it is no text
    #[arg(long)]
    json: bool,
}

/// How many events are listed where nobody says how many.
const LISTED: i64 = 100;

/// Longest error in the table, in characters.
const ERROR_CHARACTERS: usize = 100;

/// Longest key and topic in the table, in characters.
const NAME_CHARACTERS: usize = 40;

pub async fn list(arguments: &ListArguments, settings: &Settings, operations: &dyn Operations) -> Result<(), Failure> {
    let limit = arguments.filter.limit.unwrap_or(LISTED);
    // One more than is shown tells whether there are more.
    let filter = ParkedFilter {
        limit: Some(limit.saturating_add(1)),
        ..arguments.filter.checked(settings, &[])?
    };
    let mut events = operations.parked(&filter).await?;
    let shown = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = events.len() > shown;
    events.truncate(shown);
    if arguments.json {
        return Ok(output::json(&events)?);
    }
    if events.is_empty() {
        return Ok(output::text("nothing is parked")?);
    }
    let columns = [
        ("ID", Side::Right),
        ("ROUTE", Side::Left),
        ("STATE", Side::Left),
        ("TOPIC", Side::Left),
        ("KEY", Side::Left),
        ("TYPE", Side::Left),
        ("SIZE", Side::Right),
        ("TRIES", Side::Right),
        ("PARKED", Side::Left),
        ("ERROR", Side::Left),
    ];
    let (mut table, now) = (Table::new(&columns), Timestamp::now());
    let name = |text: Option<&str>| text.map_or("–".to_owned(), |text| shortened(text, NAME_CHARACTERS));
    for event in &events {
        table.row([
            event.id.to_string(),
            event.route.clone(),
            event.state.clone(),
            name(Some(&event.topic)),
            name(event.key.as_deref()),
            name(event.event_type.as_deref()),
            bytes(event.payload_bytes),
            count(event.attempts),
            ago(event.parked_at, now),
            shortened(&event.error, ERROR_CHARACTERS),
        ]);
    }
    let mut text = table.to_string();
    if more {
        text.push_str(&format!(
            "there are more than {}; --limit shows more of them\n",
            count(limit)
        ));
    }
    Ok(output::text(&text)?)
}

pub async fn show(arguments: &ShowArguments, settings: &Settings, operations: &dyn Operations) -> Result<(), Failure> {
    let event = one(operations, settings, arguments.id).await?;
    if arguments.json {
        return Ok(output::json(&full_json(&event))?);
    }
    Ok(output::text(&full_text(&event, Timestamp::now()))?)
}
