//! `onewrite parked retry` and `onewrite parked skip`.

use clap::Args;
use onewrite_core::Operations;
use onewrite_core::store::ParkedFilter;
use serde_json::{Value, json};

use super::{Filter, missing};
use crate::commands::confirm::confirm;
use crate::configuration::Settings;
use crate::failure::Failure;
use crate::output;
use crate::output::event::full_json;
use crate::output::human::plural;

/// Delivers parked events once more
///
/// The relay does it in the background, within a second while it runs. Held events of their keys follow by themselves.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onewrite parked retry 12 13
  onewrite parked retry --route orders --yes
  onewrite parked retry --all")]
pub struct RetryArguments {
    #[command(flatten)]
    which: Which,
}

/// Gives parked events up: they are removed and never delivered, nor replayed
///
/// What was removed is printed whole with --json, so that it can be kept. Held events of their keys follow by themselves.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onewrite parked skip 12
  onewrite parked skip --route orders --key 4711 --yes --json > skipped.json")]
pub struct SkipArguments {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
struct Which {
    /// The events' numbers in the list
    ids: Vec<i64>,
    #[command(flatten)]
    filter: Filter,
    /// Every event that fits, without being asked
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub async fn retry(
    arguments: &RetryArguments,
    settings: &Settings,
    operations: &dyn Operations,
) -> Result<(), Failure> {
    let which = &arguments.which;
    let filter = which.agreed("retry", settings, operations).await?;
    let count = operations.retry(&filter).await?;
    which.nothing(count)?;
    if which.json {
        return Ok(output::json(&json!({"retried": count}))?);
    }
    Ok(output::text(&format!(
        "{} will be delivered once more",
        plural(count, "event")
    ))?)
}

pub async fn skip(arguments: &SkipArguments, settings: &Settings, operations: &dyn Operations) -> Result<(), Failure> {
    let which = &arguments.which;
    let filter = which.agreed("skip", settings, operations).await?;
    let skipped = operations.skip(&filter).await?;
    which.nothing(skipped.len() as u64)?;
    if which.json {
        let events: Vec<Value> = skipped.iter().map(full_json).collect();
        return Ok(output::json(&json!({"skipped": events}))?);
    }
    Ok(output::text(&format!(
        "{} given up",
        plural(skipped.len() as u64, "event")
    ))?)
}

impl Which {
    /// The filter, once it is clear that the person means everything that fits it.
    async fn agreed(
        &self,
        verb: &str,
        settings: &Settings,
        operations: &dyn Operations,
    ) -> Result<ParkedFilter, Failure> {
        let filter = self.filter.checked(settings, &self.ids)?;
        if !self.ids.is_empty() {
            return Ok(filter);
        }
        if !self.all && !self.filter.narrows() {
            return Err(Failure::usage(
                format!("which events to {verb} is missing"),
                "give their numbers, or --route, --topic, --key or --limit, or --all",
            ));
        }
        if !self.all && !self.yes {
            let count = operations.parked(&filter).await?.len() as u64;
            if count > 1 {
                confirm(&format!("{verb} {}?", plural(count, "event")))?;
            }
        }
        Ok(filter)
    }

    /// An error where events were named and nothing was done. That no event fits a filter is none.
    fn nothing(&self, count: u64) -> Result<(), Failure> {
        match self.ids.as_slice() {
            [id, ..] if count == 0 => Err(missing(*id)),
            _ => Ok(()),
        }
    }
}
