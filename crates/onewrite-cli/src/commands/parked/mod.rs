//! `onewrite parked …`: the events that were set aside.

mod change;
mod edit;
mod list;

use clap::{Args, Subcommand};
use onewrite_core::Operations;
use onewrite_core::store::{ParkedEvent, ParkedFilter};

use super::{Context, known_route};
use crate::configuration::Settings;
use crate::failure::Failure;

/// Lists, shows, retries, edits and gives up the events that were set aside
///
/// An event is parked when its sink will never accept it as it is: too large, refused, or taken by no route. Under
/// `on_poison = "block_key"`, later events of its key are held behind it and follow by themselves.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onewrite parked list --route orders
  onewrite parked show 12
  onewrite parked edit 12 --topic shop.orders.v2
  onewrite parked retry 12
  onewrite parked skip --route orders --key 4711")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::ListArguments),
    Show(list::ShowArguments),
    Retry(change::RetryArguments),
    Skip(change::SkipArguments),
    Edit(edit::Arguments),
}

/// Which events are meant; all that is given must fit.
#[derive(Debug, Args)]
struct Filter {
    /// Of this route
    #[arg(long)]
    route: Option<String>,
    /// Of this topic
    #[arg(long)]
    topic: Option<String>,
    /// Of this key
    #[arg(long)]
    key: Option<String>,
    /// At most so many, the oldest first
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(i64).range(1..))]
    limit: Option<i64>,
}

pub async fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let (settings, opened) = context.open()?;
    let operations = opened.operations.as_ref();
    match &arguments.command {
        Command::List(arguments) => list::list(arguments, &settings, operations).await,
        Command::Show(arguments) => list::show(arguments, &settings, operations).await,
        Command::Retry(arguments) => change::retry(arguments, &settings, operations).await,
        Command::Skip(arguments) => change::skip(arguments, &settings, operations).await,
        Command::Edit(arguments) => edit::edit(arguments, &settings, operations).await,
    }
}

impl Filter {
    fn checked(&self, settings: &Settings, ids: &[i64]) -> Result<ParkedFilter, Failure> {
        if let Some(route) = &self.route {
            known_route(settings, route)?;
        }
        Ok(ParkedFilter {
            ids: ids.to_vec(),
            relay: Some(settings.name.clone()),
            route: self.route.clone(),
            topic: self.topic.clone(),
            key: self.key.clone(),
            limit: self.limit,
            with_payload: false,
        })
    }

    fn narrows(&self) -> bool {
        self.route.is_some() || self.topic.is_some() || self.key.is_some() || self.limit.is_some()
    }
}

/// One event with its payload.
async fn one(operations: &dyn Operations, settings: &Settings, id: i64) -> Result<ParkedEvent, Failure> {
    let filter = ParkedFilter {
        ids: vec![id],
        relay: Some(settings.name.clone()),
        with_payload: true,
        ..ParkedFilter::default()
    };
    operations.parked(&filter).await?.pop().ok_or_else(|| missing(id))
}

fn missing(id: i64) -> Failure {
    Failure::failed(anyhow::anyhow!("there is no parked event {id}"))
        .help("`onewrite parked list` shows those that there are; one that was delivered or skipped is gone")
}
