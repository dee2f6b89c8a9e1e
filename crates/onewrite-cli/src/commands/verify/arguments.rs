//! The command line of `onewrite verify`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use onewrite_core::options::{Kind, Value};

/// Proves the promise on your own database and broker
///
/// Writes events of its own in a topic of their own, some in transactions that are rolled back; runs a relay of its own, with your
/// source and your sink; kills that relay and cuts its connections; reads back what arrived; and says whether I1 to I6 hold: no loss, no phantom, the
/// order of each key, one effect, bounded lag, bounded resources. Then it removes everything that it made. What
/// applications write, and the relay that carries it, are left alone.
///
/// A sink must be such as can be read back: kafka, rabbitmq, nats, amqp1, redis, mqtt, sqs or file. Exits with 0 only if everything holds.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onewrite verify                                   every sink in turn, 30 s each
  onewrite verify -c shop.toml --sink events
  onewrite verify --duration 10m --rate 2000 --keys 5000
  onewrite verify --events 1000000 --rate max --faults none
  onewrite verify --faults kills --seed 7 --json

Exit codes: 0 all of it holds, 1 something is broken or failed, 2 the command line or the configuration is wrong, 3 all of it holds
but something could not be cleaned up.")]
pub struct Arguments {
    /// The one sink to try [default: every sink that can be read back, in turn]
    #[arg(long, value_name = "NAME")]
    pub sink: Option<String>,
    /// How many events to write; without it, --duration counts
    #[arg(long, value_name = "N", conflicts_with = "duration", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub events: Option<u64>,
    /// How long to write
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    pub duration: Duration,
    /// Events a second, or `max`
    #[arg(long, value_name = "N", default_value = "500", value_parser = rate)]
    pub rate: Rate,
    /// How many keys the events have
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub keys: u32,
    /// Bytes of each payload, at least
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(0..=16_000_000))]
    pub payload_bytes: u32,
    /// Events of each transaction
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub transaction: u32,
    /// How many of the transactions are rolled back
    #[arg(long, value_name = "PERCENT", default_value = "10%", value_parser = percent)]
    pub rollbacks: Percent,
    /// What goes wrong meanwhile: the relay is killed, its connections are cut
    #[arg(long, value_name = "WHICH", value_enum, default_value_t = Faults::All)]
    pub faults: Faults,
    /// How long it may take until nothing is behind any more, after the last event and after each fault
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    pub within: Duration,
    /// Makes load and faults the same again
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Remove nothing, to have a look at it; the next run an hour later does
    #[arg(long)]
    pub keep: bool,
    /// Answer in JSON; progress goes to standard error
    #[arg(long)]
    pub json: bool,
}

/// Events a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// As many as the database takes.
    Max,
    /// So many.
    Of(u64),
}

/// A share of a hundred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent(pub u8);

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Faults {
    /// Nothing.
    None,
    /// The relay's connections are cut, and some writers lose theirs while they wait for the answer to COMMIT.
    Cuts,
    /// The relay is killed without a warning and started again.
    Kills,
    /// Both.
    All,
}

impl Faults {
    /// Whether connections are cut.
    pub fn cuts(self) -> bool {
        matches!(self, Self::Cuts | Self::All)
    }

    /// Whether the relay is killed.
    pub fn kills(self) -> bool {
        matches!(self, Self::Kills | Self::All)
    }
}

/// Shortest time that anything may take: a relay needs a moment to take its lease.
const TIME_MIN: Duration = Duration::from_secs(1);
/// Longest: a day of verify's own events is all that its memory should hold.
const TIME_MAX: Duration = Duration::from_secs(24 * 3600);

fn time(text: &str) -> Result<Duration, String> {
    match Kind::Duration.parse(text)? {
        Value::Duration(time) if (TIME_MIN..=TIME_MAX).contains(&time) => Ok(time),
        _ => Err("expected a time from 1s to 1d, such as 30s or 10m".to_owned()),
    }
}

fn rate(text: &str) -> Result<Rate, String> {
    let text = text.trim_end_matches("/s");
    match text.parse() {
        _ if text == "max" => Ok(Rate::Max),
        Ok(rate @ 1..=1_000_000) => Ok(Rate::Of(rate)),
        _ => Err("expected a number of events a second from 1 to 1000000, or max".to_owned()),
    }
}

fn percent(text: &str) -> Result<Percent, String> {
    match text.trim_end_matches('%').parse() {
        Ok(percent @ 0..=90) => Ok(Percent(percent)),
        _ => Err("expected a share from 0% to 90%".to_owned()),
    }
}
