//! How much of everything.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// How the relay learns of new rows: the key `source.feed` of its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Feed {
    /// From the server's log
    Wal,
    /// By questions
    Poll,
    /// As the relay chooses
    Auto,
}

/// How much of everything. Durations are in the report as seconds and nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The feeds of the relay, each measured by itself.
    pub feeds: Vec<Feed>,
    /// Events of a drain.
    pub events: usize,
    /// Repetitions.
    pub runs: usize,
    /// How long the broker is warmed up before the first latency.
    pub broker_warm_up: Duration,
    /// How long the load of a latency lasts before it counts.
    pub warm_up: Duration,
    /// How long the latency is measured in each run.
    pub latency: Duration,
    /// How long each rate is tried in the search for the greatest.
    pub step: Duration,
    /// What a rate that was kept up is multiplied by there.
    pub growth: f64,
    /// How long a relay is left alone before it is watched: its start is over then, and polling has become slow.
    pub settling: Duration,
    /// How long the idle relay is watched in each run.
    pub idle: Duration,
    /// Rounds of the tax; each goes through all styles.
    pub tax_rounds: usize,
    /// How long each style lasts in a round.
    pub tax: Duration,
    /// Starts of the relay.
    pub starts: usize,
    /// How long a transaction is held open elsewhere before its effect is measured.
    pub held: Duration,
    /// Events of each measurement of that.
    pub held_events: usize,
    /// Events that gather while the broker is away.
    pub away_events: usize,
    /// Events of each measurement of a sink whose broker is slow; others drain as many as the drain does.
    pub sink_events: usize,
}

/// What the command line says of it.
#[derive(Clone, Debug)]
pub struct Amounts {
    pub feeds: Vec<Feed>,
    pub quick: bool,
    pub events: Option<usize>,
    pub runs: Option<usize>,
    /// Seconds.
    pub held: Option<u32>,
}

impl Plan {
    /// The usual amounts, or those of `--quick`, where the command line says nothing else.
    pub fn new(amounts: &Amounts) -> Self {
        let pick = |usual: usize, quick: usize| if amounts.quick { quick } else { usual };
        let milliseconds = |usual, quick| Duration::from_millis(pick(usual, quick) as u64);
        let events = amounts.events.unwrap_or(pick(1_000_000, 50_000));
        Self {
            feeds: amounts.feeds.clone(),
            events,
            runs: amounts.runs.unwrap_or(pick(3, 1)),
            broker_warm_up: milliseconds(60_000, 1_000),
            warm_up: milliseconds(5_000, 500),
            latency: milliseconds(30_000, 1_500),
            step: milliseconds(10_000, 1_000),
            growth: if amounts.quick { 2.0 } else { 1.25 },
            settling: milliseconds(5_000, 2_000),
            idle: milliseconds(10_000, 2_000),
            tax_rounds: pick(7, 1),
            tax: milliseconds(4_000, 500),
            starts: pick(9, 3),
            held: amounts.held.map_or(milliseconds(120_000, 1_000), |seconds| {
                Duration::from_secs(seconds.into())
            }),
            held_events: events / 5,
            away_events: amounts.events.unwrap_or(pick(2_000_000, 20_000)),
            sink_events: events / 10,
        }
    }

    /// The same with the first feed alone.
    pub fn of_first_feed(mut self) -> Self {
        self.feeds.truncate(1);
        self
    }
}

impl fmt::Display for Feed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Wal => "wal",
            Self::Poll => "poll",
            Self::Auto => "auto",
        })
    }
}
