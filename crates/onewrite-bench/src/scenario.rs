//! All scenarios, as data: what varies between those of one kind, and what each is expected to take.

use std::fmt::Write as _;

use crate::latency::Load;
use crate::progress::took;
use crate::workload::Shape;

/// One thing that can be measured by itself.
#[derive(Debug)]
pub struct Scenario {
    /// What picks it.
    pub name: &'static str,
    /// What picks it together with others of its kind.
    pub group: &'static str,
    /// What is measured.
    pub about: &'static str,
    /// What is expected of it.
    pub goals: &'static str,
    /// How.
    pub measure: Measure,
    /// About how many seconds it takes on an idle machine of two cores, with the usual amounts.
    pub seconds: u32,
    /// The same with `--quick`.
    pub quick_seconds: u32,
}

/// The measuring functions, with what they are given.
#[derive(Clone, Copy, Debug)]
pub enum Measure {
    /// A relay that has nothing to do.
    Idle,
    /// From commit to consumer at a load; `twice`: each run a second time, to tell the noise.
    Latency { load: Load, twice: bool },
    /// The same at the greatest rate that is kept up, in transactions of so many events.
    Most { transaction: usize },
    /// The producer's transactions by each style of appending.
    Tax,
    /// From the start of the process to the first delivery.
    Start,
    /// The file of the program.
    Size,
    /// A backlog beside the raw limits.
    Drain,
    /// A backlog of another shape, of the usual number of events divided by `fewer`.
    Shape { shape: Shape, fewer: usize },
    /// A backlog in SQLite.
    Sqlite,
    /// Backlogs of several sizes.
    Backlog,
    /// Beside a transaction that stays open in another database.
    Held,
    /// Beside a route whose broker is down.
    Beside,
    /// After the broker was away.
    Away,
    /// Each sink beside its client library.
    Sinks,
    /// Other products between the same servers.
    Peers,
}

/// Seconds that the servers take to start and to stop.
pub const SERVERS_SECONDS: u32 = 7;

/// Another word for the scenario that tells the memory too.
pub const MEMORY: &str = "memory";

/// In the order in which they are measured: first what wants a broker that has little behind it, last what stops the broker.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "idle",
        group: "idle",
        about: "CPU of a relay that has nothing to do",
        goals: "relay < 1 % of a core",
        measure: Measure::Idle,
        seconds: 72,
        quick_seconds: 5,
    },
    Scenario {
        name: "latency-1k",
        group: "latency",
        about: "from commit to consumer at 1,000 events a second, each in a transaction of its own",
        goals: "p99 < 10 ms by wal",
        measure: latency(1_000, 1, true),
        seconds: 440,
        quick_seconds: 6,
    },
    Scenario {
        name: "latency-5k",
        group: "latency",
        about: "from commit to consumer at 5,000 events a second, each in a transaction of its own",
        goals: "p99 < 10 ms by wal",
        measure: latency(5_000, 1, false),
        seconds: 225,
        quick_seconds: 4,
    },
    Scenario {
        name: "latency-10k",
        group: "latency",
        about: "from commit to consumer at 10,000 events a second, in transactions of 10",
        goals: "",
        measure: latency(10_000, 10, false),
        seconds: 225,
        quick_seconds: 4,
    },
    Scenario {
        name: "latency-max",
        group: "latency",
        about: "from commit to consumer at the greatest rate that is kept up, in transactions of 100",
        goals: "",
        measure: Measure::Most { transaction: 100 },
        seconds: 660,
        quick_seconds: 8,
    },
    Scenario {
        name: "tax",
        group: "tax",
        about: "what each style of appending costs the application's transactions",
        goals: "with append / without ≥ 0.75",
        measure: Measure::Tax,
        seconds: 240,
        quick_seconds: 6,
    },
    Scenario {
        name: "start",
        group: "start",
        about: "from the start of the process to the first event at the broker",
        goals: "< 300 ms",
        measure: Measure::Start,
        seconds: 15,
        quick_seconds: 3,
    },
    Scenario {
        name: "size",
        group: "size",
        about: "the file of the released program",
        goals: "< 30 MB",
        measure: Measure::Size,
        seconds: 0,
        quick_seconds: 0,
    },
    Scenario {
        name: "drain",
        group: "drain",
        about: "a backlog of events of 300 bytes through the relay, beside the raw limits of its two ends",
        goals: "relay / raw limit ≥ 0.7 by wal, ≥ 0.6 by poll; memory < 50 MB",
        measure: Measure::Drain,
        seconds: 140,
        quick_seconds: 9,
    },
    shaped(
        "payload-100b",
        "payloads",
        "the drain with payloads of 100 bytes",
        payloads(100),
        1,
        55,
    ),
    shaped(
        "payload-1kb",
        "payloads",
        "the drain with payloads of 1,000 bytes",
        payloads(1_000),
        1,
        100,
    ),
    shaped(
        "payload-10kb",
        "payloads",
        "the drain with payloads of 10,000 bytes, a tenth as many",
        payloads(10_000),
        10,
        70,
    ),
    shaped(
        "one-key",
        "keys",
        "the drain with one key for all events",
        Shape {
            keys: 1,
            ..Shape::USUAL
        },
        1,
        70,
    ),
    shaped(
        "keys-100k",
        "keys",
        "the drain with 100,000 keys",
        Shape {
            keys: 100_000,
            ..Shape::USUAL
        },
        1,
        70,
    ),
    shaped(
        "transactions-1",
        "transactions",
        "the drain of events that were written each in a transaction of its own, a fifth as many",
        transactions(1),
        5,
        60,
    ),
    shaped(
        "transactions-10k",
        "transactions",
        "the drain of events that were written in transactions of 10,000",
        transactions(10_000),
        1,
        70,
    ),
    shaped(
        "ten-routes",
        "routes",
        "the drain by ten routes, each of which takes a topic of its own",
        Shape {
            routes: 10,
            ..Shape::USUAL
        },
        1,
        80,
    ),
    Scenario {
        name: "sqlite",
        group: "sqlite",
        about: "the drain out of an SQLite file",
        goals: "",
        measure: Measure::Sqlite,
        seconds: 50,
        quick_seconds: 2,
    },
    Scenario {
        name: "backlog",
        group: "backlog",
        about: "the drain of backlogs of several sizes; --events 10m adds that of 10,000,000",
        goals: "of the longest / of the shortest ≥ 0.9",
        measure: Measure::Backlog,
        seconds: 75,
        quick_seconds: 3,
    },
    Scenario {
        name: "held",
        group: "held",
        about: "throughput while a transaction stays open in another database",
        goals: "with / without ≥ 0.9",
        measure: Measure::Held,
        seconds: 380,
        quick_seconds: 7,
    },
    Scenario {
        name: "beside",
        group: "beside",
        about: "throughput and latency of a route beside one whose broker is down",
        goals: "throughput ≥ 0.95, latency ≤ 1.05 of the route alone",
        measure: Measure::Beside,
        seconds: 560,
        quick_seconds: 9,
    },
    Scenario {
        name: "away",
        group: "away",
        about: "the broker is away while events gather, and comes back",
        goals: "",
        measure: Measure::Away,
        seconds: 180,
        quick_seconds: 9,
    },
    Scenario {
        name: "sinks",
        group: "sinks",
        about: "each sink beside its client library alone, on the same broker",
        goals: "relay / library ≥ 0.8",
        measure: Measure::Sinks,
        seconds: 900,
        quick_seconds: 90,
    },
    Scenario {
        name: "peers",
        group: "peers",
        about: "other products between the same database server and broker, and Onewrite in the same runs",
        goals: "drain by wal ≥ 5 of Debezium Server's; its p99, CPU and memory ≤ 0.1 of Debezium Server's",
        measure: Measure::Peers,
        seconds: 900,
        quick_seconds: 75,
    },
];

impl Scenario {
    /// Whether a word on the command line means it.
    pub fn is_called(&self, word: &str) -> bool {
        self.name == word || self.group == word || (self.name == "drain" && word == MEMORY)
    }

    /// Whether `--quick` measures it without its being named: all but the sinks, which start seven more brokers.
    pub fn is_quick(&self) -> bool {
        !matches!(self.measure, Measure::Sinks)
    }
}

/// All words that mean a scenario or several, each once.
pub fn words() -> Vec<&'static str> {
    let mut words: Vec<&str> = Vec::new();
    for word in SCENARIOS.iter().flat_map(|scenario| [scenario.group, scenario.name]) {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

/// All scenarios, for people: what picks them, what they measure, and how long they take.
pub fn list() -> String {
    let mut text = format!("{:<18}{:<15}{:>8}{:>9}\n", "name", "group", "usually", "--quick");
    for scenario in SCENARIOS {
        let quick = if scenario.is_quick() {
            took(scenario.quick_seconds)
        } else {
            "-".to_owned()
        };
        let usually = took(scenario.seconds);
        let _ = writeln!(
            text,
            "{:<18}{:<15}{usually:>8}{quick:>9}",
            scenario.name, scenario.group
        );
        let _ = writeln!(text, "    {}", scenario.about);
        if !scenario.goals.is_empty() {
            let _ = writeln!(text, "    goal: {}", scenario.goals);
        }
    }
    text
}

const fn latency(rate: u32, transaction: usize, twice: bool) -> Measure {
    Measure::Latency {
        load: Load { rate, transaction },
        twice,
    }
}

const fn payloads(payload_bytes: usize) -> Shape {
    Shape {
        payload_bytes,
        ..Shape::USUAL
    }
}

const fn transactions(transaction: usize) -> Shape {
    Shape {
        transaction,
        ..Shape::USUAL
    }
}

const fn shaped(
    name: &'static str,
    group: &'static str,
    about: &'static str,
    shape: Shape,
    fewer: usize,
    seconds: u32,
) -> Scenario {
    Scenario {
        name,
        group,
        about,
        goals: "",
        measure: Measure::Shape { shape, fewer },
        seconds,
        quick_seconds: 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds that `--quick` may take without the peers, and what they may: together less than three minutes.
    const QUICK_BUDGET: u32 = 100;
    const QUICK_PEERS_BUDGET: u32 = 75;

    #[test]
    fn names_are_unique_and_fit_for_files() {
        for (at, scenario) in SCENARIOS.iter().enumerate() {
            let name = scenario.name;
            assert!(
                name.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
                "{name}"
            );
            assert!(SCENARIOS[..at].iter().all(|other| other.name != name), "{name}");
            // A word means one scenario, or a group, and never both.
            assert!(
                SCENARIOS.iter().all(|other| other.group != name || other.name == name),
                "{name}"
            );
        }
    }

    #[test]
    fn quick_is_quick() {
        let quick = SCENARIOS.iter().filter(|scenario| scenario.is_quick());
        let (peers, others): (Vec<_>, Vec<_>) = quick.partition(|scenario| matches!(scenario.measure, Measure::Peers));
        let seconds = |scenarios: &[&Scenario]| scenarios.iter().map(|scenario| scenario.quick_seconds).sum::<u32>();
        let (peers, others) = (seconds(&peers), seconds(&others) + SERVERS_SECONDS);
        assert!(
            others <= QUICK_BUDGET && peers <= QUICK_PEERS_BUDGET,
            "{others} and {peers}"
        );
    }
}
