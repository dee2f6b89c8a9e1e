//! The command line, and what it comes to.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Parser, ValueEnum as _};

use crate::peers;
use crate::plan::{Amounts, Feed, Plan};
use crate::scenario::{self, Measure, SCENARIOS, SERVERS_SECONDS, Scenario};

/// Measures Onewrite on this machine: the drain of a backlog beside the raw limits, memory, latency, the idle relay, what the
/// outbox costs the application, and more. Everything it needs it starts, on 127.0.0.1, and stops; `./x up` fetched the servers.
#[derive(Debug, Parser)]
#[command(name = "onewrite-bench", max_term_width = 120)]
#[command(after_help = "\
Examples:
  ./x bench --list                    what can be measured, with the goals and about how long each takes
  ./x bench                           everything, an hour and a half
  ./x bench --quick                   everything but the sinks in three minutes, to see whether something changed much
  ./x bench --only drain --runs 5     the drain and its memory, five times
  ./x bench payloads keys             the drain with other payloads, and with other keys
  ./x bench backlog --events 10m      backlogs of 100,000 to 10,000,000 events
  ./x bench sinks --sink nats,redis   two sinks, each beside its client library alone
  ./x bench peers --peer watermill    Onewrite beside one of the products that it competes with
  ./x bench held --held 1800          throughput beside a transaction that has been open for half an hour
  ./x bench --feed poll               the relay with this feed alone
  ./x bench --json figures.json       the figures for a program as well
  ./x bench --write-docs              puts the figures into docs/benchmarks

Close other programs first: all figures share the machine's cores with whatever else runs.")]
pub struct Options {
    /// How many events to drain, such as 200000, 200k or 10m [default: 1m, with --quick 50k]
    #[arg(long, value_name = "N", value_parser = amount)]
    events: Option<usize>,
    /// How often to repeat what is no round of something else [default: 3, with --quick 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,
    /// Fewer events, shorter phases, and but for the drain the first feed alone
    #[arg(long)]
    pub quick: bool,
    /// Tell what can be measured, and do nothing
    #[arg(long)]
    pub list: bool,
    /// Measure these only: scenarios or groups of them
    #[arg(value_name = "NAME", value_parser = names())]
    names: Vec<String>,
    /// The same, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = names(), hide_possible_values = true)]
    only: Vec<String>,
    /// Of the sinks, measure these only
    #[arg(long, value_name = "SINKS", value_delimiter = ',')]
    pub sink: Vec<String>,
    /// Of the peers, measure these only
    #[arg(long, value_name = "PEERS", value_delimiter = ',')]
    peer: Vec<peers::Name>,
    /// Print the peers that would be measured, each after the word `peer`, and measure nothing: `./x bench` fetches them
    #[arg(long, hide = true)]
    pub list_peers: bool,
    /// How old a transaction elsewhere is when its effect is measured, in seconds [default: 120, with --quick 1]
    #[arg(long, value_name = "SECONDS")]
    held: Option<u32>,
    /// Measure the relay with each of these feeds
    #[arg(long, value_name = "FEEDS", value_delimiter = ',', default_value = "wal,poll")]
    feed: Vec<Feed>,
    /// Also write the figures into this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Also put the figures and their charts into docs/benchmarks, in the place of those of the same scenarios
    #[arg(long)]
    pub write_docs: bool,
    /// The program to measure [default: `onewrite` beside this program]
    #[arg(long, value_name = "PATH")]
    onewrite: Option<PathBuf>,
}

impl Options {
    /// What is to be measured, in the order in which it is.
    pub fn picked(&self) -> Vec<&'static Scenario> {
        let mut words = self.names.iter().chain(&self.only).peekable();
        if words.peek().is_none() {
            let is_wanted = |scenario: &&Scenario| !self.quick || scenario.is_quick();
            return SCENARIOS.iter().filter(is_wanted).collect();
        }
        let words: Vec<&String> = words.collect();
        let is_picked = |scenario: &&Scenario| words.iter().any(|word| scenario.is_called(word));
        SCENARIOS.iter().filter(is_picked).collect()
    }

    /// How much of everything for a scenario.
    pub fn plan(&self, scenario: &Scenario) -> Plan {
        let plan = Plan::new(&Amounts {
            feeds: self.feed.clone(),
            quick: self.quick,
            events: self.events,
            runs: self.runs.map(|runs| runs as usize),
            held: self.held,
        });
        match (self.quick, scenario.measure) {
            (false, _) | (true, Measure::Drain) => plan,
            (true, _) => plan.of_first_feed(),
        }
    }

    /// The products to measure.
    pub fn peers(&self) -> &[peers::Name] {
        let mut picked = self.picked().into_iter();
        match (
            picked.any(|scenario| matches!(scenario.measure, Measure::Peers)),
            &*self.peer,
        ) {
            (false, _) => &[],
            (true, []) => peers::Name::value_variants(),
            (true, named) => named,
        }
    }

    /// About how many seconds it takes.
    pub fn seconds(&self) -> u32 {
        let each = self.picked().into_iter().map(|scenario| match self.quick {
            true => scenario.quick_seconds,
            false => scenario.seconds,
        });
        each.sum::<u32>() + SERVERS_SECONDS
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
}

/// The words for scenarios.
fn names() -> PossibleValuesParser {
    let value = |word: &'static str| match word {
        "drain" => PossibleValue::new(word).alias(scenario::MEMORY),
        _ => PossibleValue::new(word),
    };
    PossibleValuesParser::new(scenario::words().into_iter().map(value))
}

/// A number of events, with `k` for thousands or `m` for millions.
fn amount(text: &str) -> Result<usize, String> {
    let (number, times) = match text.to_ascii_lowercase().strip_suffix(['k', 'm']) {
        Some(number) if text.ends_with(['k', 'K']) => (number.to_owned(), 1_000),
        Some(number) => (number.to_owned(), 1_000_000),
        None => (text.to_owned(), 1),
    };
    let events = number
        .parse::<usize>()
        .ok()
        .and_then(|number| number.checked_mul(times));
    match events {
        Some(events @ 1_000..=100_000_000) => Ok(events),
        _ => Err("write a number from 1000 to 100m, such as 200000, 200k or 10m".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn options(line: &str) -> Options {
        let words = ["onewrite-bench"].into_iter().chain(line.split_whitespace());
        Options::parse_from(words)
    }

    fn names_of(line: &str) -> Vec<&'static str> {
        options(line).picked().iter().map(|scenario| scenario.name).collect()
    }

    fn plan_of(line: &str, name: &str) -> Plan {
        let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name).unwrap();
        options(line).plan(scenario)
    }

    #[test]
    fn scenarios_are_picked_by_name_and_by_group() {
        assert_eq!(names_of("--quick --only memory,tax"), ["tax", "drain"]);
        assert_eq!(names_of("one-key sinks"), ["one-key", "sinks"]);
        assert_eq!(names_of("payloads"), ["payload-100b", "payload-1kb", "payload-10kb"]);
        assert_eq!(names_of("").len(), SCENARIOS.len());
        let quick = names_of("--quick");
        assert!(
            quick.len() == SCENARIOS.len() - 1 && !quick.contains(&"sinks"),
            "{quick:?}"
        );
        assert!(Options::try_parse_from(["onewrite-bench", "--only", "drains"]).is_err());
    }

    #[test]
    fn amounts_are_read() {
        assert_eq!(amount("200000"), Ok(200_000));
        assert_eq!((amount("200k"), amount("10M")), (Ok(200_000), Ok(10_000_000)));
        for wrong in ["", "k", "999", "1g", "-5k", "101m"] {
            assert!(amount(wrong).is_err(), "{wrong}");
        }
        let plan = plan_of("--quick --events 100k --runs 2", "drain");
        assert_eq!((plan.events, plan.runs, plan.held_events), (100_000, 2, 20_000));
        assert_eq!(plan_of("--held 1800", "held").held, Duration::from_secs(1_800));
        assert!(Options::try_parse_from(["onewrite-bench", "--runs", "0"]).is_err());
    }

    #[test]
    fn quick_measures_both_feeds_in_the_drain_alone() {
        assert_eq!(plan_of("--quick", "drain").feeds, [Feed::Wal, Feed::Poll]);
        assert_eq!(plan_of("--quick", "held").feeds, [Feed::Wal]);
        assert_eq!(plan_of("", "held").feeds, [Feed::Wal, Feed::Poll]);
        assert_eq!(plan_of("--feed auto", "drain").feeds, [Feed::Auto]);
        assert!(options("--quick").seconds() <= 180);
    }

    #[test]
    fn only_the_peers_that_are_to_be_measured_are_fetched() {
        let all = peers::Name::value_variants();
        assert_eq!(options("").peers(), all);
        assert_eq!(options("--quick").peers(), all);
        assert_eq!(options("drain").peers(), []);
        assert_eq!(options("drain --peer watermill").peers(), []);
        assert_eq!(options("peers --peer watermill").peers(), [peers::Name::Watermill]);
    }
}
