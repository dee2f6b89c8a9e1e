//! The command line, and what it comes to.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use serde::Serialize;

use crate::{latency, peers};

/// Measures Onewrite on this machine: the drain of a backlog beside the raw limits, memory, latency, the idle relay, and what
/// the outbox costs the application. Everything it needs it starts, on 127.0.0.1, and stops; `./x up` fetched the servers.
#[derive(Debug, Parser)]
#[command(name = "onewrite-bench", max_term_width = 120)]
#[command(after_help = "\
Examples:
  ./x bench                           everything, about half an hour
  ./x bench --quick                   everything in three or four minutes, to see whether something changed much
  ./x bench --only drain --runs 5     the drain and its memory, five times
  ./x bench sinks                     each sink beside its client library alone
  ./x bench sinks --sink nats,redis   two of them
  ./x bench peers --peer watermill    Onewrite beside one of the products that it competes with
  ./x bench --only held --held 600    throughput beside a transaction that has been open for ten minutes
  ./x bench --feed poll               the relay with this feed alone
  ./x bench --json figures.json       the figures for a program as well
  ./x bench --write-docs              puts the figures into docs/benchmarks.md

Close other programs first: all figures share the machine's cores with whatever else runs.")]
pub struct Options {
    /// How many events to drain [default: 1000000, with --quick 100000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1_000..))]
    events: Option<u32>,
    /// How often to repeat the drain, the latency and the idle relay
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Fewer events and shorter phases
    #[arg(long)]
    quick: bool,
    /// Measure these only
    #[arg(value_name = "PART")]
    parts: Vec<Part>,
    /// The same, separated by commas
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    only: Vec<Part>,
    /// Of the part sinks, measure these only
    #[arg(long, value_name = "SINKS", value_delimiter = ',')]
    pub sink: Vec<String>,
    /// Of the part peers, measure these only
    #[arg(long, value_name = "PEERS", value_delimiter = ',')]
    peer: Vec<peers::Name>,
    /// Print the peers that would be measured, each after the word `peer`, and measure nothing: `./x bench` fetches them
    #[arg(long, hide = true)]
    pub list_peers: bool,
    /// How old a transaction elsewhere is when its effect is measured, in seconds [default: 60, with --quick 5]
    #[arg(long, value_name = "SECONDS")]
    held: Option<u32>,
    /// Measure the relay with each of these feeds
    #[arg(long, value_name = "FEEDS", value_delimiter = ',', default_value = "wal,poll")]
    feed: Vec<Feed>,
    /// Also write the figures into this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Also put the figures into docs/benchmarks.md
    #[arg(long)]
    pub write_docs: bool,
    /// The program to measure [default: `onewrite` beside this program]
    #[arg(long, value_name = "PATH")]
    onewrite: Option<PathBuf>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Events a second out of a backlog, beside the raw limits; memory and CPU of the relay meanwhile
    #[value(alias = "memory")]
    Drain,
    /// From commit to consumer at 1,000 and at 5,000 events a second
    Latency,
    /// CPU of a relay that has nothing to do
    Idle,
    /// What the outbox costs the application's transactions
    Tax,
    /// Throughput while a transaction stays open in another database
    Held,
    /// Throughput and latency of a route beside one whose broker is down
    Beside,
    /// Each sink beside its client library alone, on the same broker
    Sinks,
    /// Other products on the same database server and broker
    Peers,
}

/// How the relay learns of new rows: the key `source.feed` of its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Feed {
    /// From the server's log
    Wal,
    /// By questions
    Poll,
    /// As the relay chooses
    Auto,
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

/// How much of everything.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The feeds of the relay, each measured by itself.
    pub feeds: Vec<Feed>,
    /// Events of the drain.
    pub events: usize,
    /// Repetitions.
    pub runs: usize,
    /// How long the latency is measured in each run.
    pub latency: Duration,
    /// How long the idle relay is watched in each run.
    pub idle: Duration,
    /// Rounds of the tax; each goes through all variants.
    pub tax_rounds: usize,
    /// How long each variant lasts in a round.
    pub tax: Duration,
    /// How long a transaction is held open elsewhere before its effect is measured.
    pub held: Duration,
    /// Events of each measurement of that.
    pub held_events: usize,
    /// Events of each measurement of a sink whose broker is slow; others drain as many as the drain does.
    pub sink_events: usize,
    /// Repetitions of the part peers.
    pub peer_runs: usize,
    /// Seconds of each latency of the part peers that do not count.
    pub peer_warm_up: u32,
}

impl Options {
    /// Whether a part is to be measured.
    pub fn wants(&self, part: Part) -> bool {
        let mut parts = self.parts.iter().chain(&self.only).peekable();
        parts.peek().is_none() || parts.any(|wanted| *wanted == part)
    }

    /// The products to measure.
    pub fn peers(&self) -> &[peers::Name] {
        match (self.wants(Part::Peers), &*self.peer) {
            (false, _) => &[],
            (true, []) => peers::Name::value_variants(),
            (true, named) => named,
        }
    }

    /// The program to measure.
    pub fn program(&self) -> Result<PathBuf> {
        let program = match &self.onewrite {
            Some(path) => path.clone(),
            None => {
                let own = std::env::current_exe().context("finding this program's own place")?;
                own.with_file_name("onewrite")
            }
        };
        let shown = program.display();
        ensure!(
            program.is_file(),
            "{shown} is missing, the program to measure; `./x bench` builds it, and --onewrite names another"
        );
        program.canonicalize().with_context(|| format!("finding {shown}"))
    }

    /// How much of everything.
    pub fn plan(&self) -> Plan {
        let pick = |usual: u64, quick: u64| if self.quick { quick } else { usual };
        let events = self.events.map_or(pick(1_000_000, 100_000), u64::from);
        Plan {
            feeds: self.feed.clone(),
            events: usize::try_from(events).expect("fits"),
            runs: usize::try_from(self.runs).expect("fits"),
            latency: Duration::from_secs(pick(30, 5)),
            idle: Duration::from_secs(pick(10, 5)),
            tax_rounds: if self.quick { 3 } else { 7 },
            tax: Duration::from_secs(pick(4, 1)),
            held: Duration::from_secs(self.held.map_or(pick(60, 5), u64::from)),
            held_events: usize::try_from(events / 5).expect("fits"),
            sink_events: usize::try_from(events / 10).expect("fits"),
            peer_runs: if self.quick {
                1
            } else {
                usize::try_from(self.runs).expect("fits")
            },
            peer_warm_up: if self.quick { 2 } else { latency::WARM_UP },
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Parser, ValueEnum};

    use super::{Feed, Options, Part};
    use crate::peers::Name;

    #[test]
    fn parts_and_amounts_are_read() {
        let options = Options::parse_from(["onewrite-bench", "--quick", "--only", "memory,tax", "--runs", "2"]);
        assert!(options.wants(Part::Drain) && options.wants(Part::Tax) && !options.wants(Part::Idle));
        let plan = options.plan();
        assert_eq!((plan.events, plan.runs), (100_000, 2));
        assert_eq!(plan.feeds, [Feed::Wal, Feed::Poll]);
        assert!(Options::parse_from(["onewrite-bench"]).wants(Part::Latency));
        let options = Options::parse_from(["onewrite-bench", "--feed", "auto"]);
        assert_eq!(options.plan().feeds, [Feed::Auto]);
        assert!(Options::try_parse_from(["onewrite-bench", "--runs", "0"]).is_err());
    }

    #[test]
    fn only_the_peers_that_are_to_be_measured_are_fetched() {
        let peers = |arguments: &[&str]| {
            let options = Options::parse_from([&["onewrite-bench"], arguments].concat());
            options.peers().to_vec()
        };
        assert_eq!(peers(&[]).len(), Name::value_variants().len());
        assert_eq!(peers(&["drain"]), []);
        assert_eq!(peers(&["peers", "--peer", "watermill"]), [Name::Watermill]);
    }
}
