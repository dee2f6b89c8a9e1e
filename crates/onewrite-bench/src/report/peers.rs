//! Onewrite beside other products.

use super::figures::{Goal, row};
use super::table::Table;
use crate::peers::{Name, RATE, Run};
use crate::progress::thousands;
use crate::spread::Spread;

/// Whom the goals speak of.
const RIVAL: Name = Name::DebeziumServer;
/// And of which of Onewrite's feeds: the one that reads the log as the rival does.
const OWN: &str = "onewrite wal";
/// Events a second against the rival's, at least.
const RATE_GOAL: f64 = 5.0;
/// Latency, CPU and memory against the rival's, at most.
const COST_GOAL: f64 = 0.1;

/// What a relay needs of something, the less the better.
struct Cost {
    name: &'static str,
    of: fn(&Run) -> Option<f64>,
}

/// The rates of all, and what the goals speak of.
pub fn figures(table: &mut Table, runs: &[Run]) {
    for name in names(runs) {
        let rates = of(runs, name).map(Run::rate);
        row(
            table,
            &format!("peers: drain, {name}"),
            rates,
            |value| format!("{}/s", thousands(value)),
            None,
        );
    }
    let ratio = |value: f64| format!("{value:.3}");
    let (own, rival) = (|| of(runs, OWN), || of(runs, RIVAL.word()));
    if own().next().is_none() || rival().next().is_none() {
        return;
    }
    let base = Spread::of(rival().map(Run::rate)).median;
    let rates: Vec<f64> = own().map(|run| run.rate() / base).collect();
    let goal = Goal(
        format!("≥ {RATE_GOAL}"),
        Spread::of(rates.iter().copied()).median >= RATE_GOAL,
    );
    let name = format!("peers: drain, {OWN} / {}", RIVAL.word());
    row(table, &name, rates.into_iter(), ratio, Some(goal));
    let costs = [
        Cost {
            name: "p99",
            of: |run| run.delivery.map(|delivery| delivery.p99),
        },
        Cost {
            name: "CPU for a million events",
            of: |run| Some(run.cpu_for_a_million()),
        },
        Cost {
            name: "peak memory",
            of: |run| Some(run.peak_bytes as f64),
        },
    ];
    for cost in costs {
        let own: Vec<f64> = own().filter_map(cost.of).collect();
        let rival: Vec<f64> = rival().filter_map(cost.of).collect();
        // A rival that does not keep up has no latency to compare with.
        if own.is_empty() || rival.is_empty() {
            continue;
        }
        let base = Spread::of(rival).median;
        let ratios: Vec<f64> = own.into_iter().map(|value| value / base).collect();
        let goal = Goal(
            format!("≤ {COST_GOAL}"),
            Spread::of(ratios.iter().copied()).median <= COST_GOAL,
        );
        let name = format!("peers: {}, {OWN} / {}", cost.name, RIVAL.word());
        row(table, &name, ratios.into_iter(), ratio, Some(goal));
    }
}

/// Every run.
pub fn table(runs: &[Run]) -> Table {
    let columns = [
        "relay",
        "events",
        "first → last/s",
        "start → last/s",
        "CPU, first → last",
        "CPU, start → last",
        "peak memory",
        "p50",
        "p99",
        "p99.9",
        "records too few or many",
    ];
    let mut table = Table::new(&columns);
    for run in runs {
        let seconds = |value: f64| format!("{value:.1} s");
        let latency = match run.delivery {
            Some(delivery) => [delivery.p50, delivery.p99, delivery.p999].map(|value| format!("{value:.2} ms")),
            None if run.rate() < f64::from(RATE) => ["too slow", "", ""].map(str::to_owned),
            None => ["failed", "", ""].map(str::to_owned),
        };
        let difference = run.records as i64 - run.events as i64;
        let cells = [
            run.relay.clone(),
            thousands(run.events as f64),
            run.from_first.map(thousands).unwrap_or_default(),
            thousands(run.from_start),
            run.cpu_from_first.map(seconds).unwrap_or_default(),
            seconds(run.cpu_from_start),
            format!("{:.1} MB", run.peak_bytes as f64 / 1e6),
        ];
        let difference = if difference == 0 {
            "none".to_owned()
        } else {
            format!("{difference:+}")
        };
        table.row(cells.into_iter().chain(latency).chain([difference]));
    }
    table
}

fn names(runs: &[Run]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for run in runs {
        if !names.contains(&&*run.relay) {
            names.push(&run.relay);
        }
    }
    names
}

fn of<'a>(runs: &'a [Run], name: &'a str) -> impl Iterator<Item = &'a Run> {
    runs.iter().filter(move |run| run.relay == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Percentiles;

    fn run(relay: &str, events: usize, from_first: Option<f64>, p99: Option<f64>) -> Run {
        Run {
            relay: relay.to_owned(),
            events,
            from_start: 100_000.0,
            from_first,
            cpu_from_start: 10.0,
            cpu_from_first: from_first.map(|_| 80.0),
            peak_bytes: 50_000_000,
            records: events,
            delivery: p99.map(|p99| Percentiles {
                p50: 1.0,
                p99,
                p999: 20.0,
                max: 30.0,
            }),
        }
    }

    #[test]
    fn the_log_feed_is_judged_by_what_is_kinder_to_the_rival() {
        let mut table = Table::new(&["figure", "median", "least", "greatest", "goal", "reached"]);
        let runs = [
            run("onewrite wal", 1_000_000, None, Some(5.0)),
            run("onewrite poll", 1_000_000, None, Some(50.0)),
            run("debezium-server", 100_000, Some(25_000.0), Some(100.0)),
        ];
        figures(&mut table, &runs);
        let text = table.to_string();
        for row in [
            "| peers: drain, debezium-server | 25,000/s | 25,000/s | 25,000/s |  |  |",
            "| peers: drain, onewrite wal / debezium-server | 4.000 | 4.000 | 4.000 | ≥ 5 | **no** |",
            "| peers: p99, onewrite wal / debezium-server | 0.050 | 0.050 | 0.050 | ≤ 0.1 | yes |",
            "| peers: CPU for a million events, onewrite wal / debezium-server | 0.125 | 0.125 | 0.125 | ≤ 0.1 | **no** |",
            "| peers: peak memory, onewrite wal / debezium-server | 1.000 | 1.000 | 1.000 | ≤ 0.1 | **no** |",
        ] {
            assert!(text.contains(row), "{row}\n{text}");
        }
    }

    #[test]
    fn what_was_lost_or_repeated_and_who_is_too_slow_is_told() {
        let lost = Run {
            records: 990,
            ..run("watermill", 1_000, Some(500.0), None)
        };
        let text = table(&[lost, run("onewrite wal", 1_000, None, Some(5.0))]).to_string();
        assert!(text.contains("| too slow |  |  | -10 |"), "{text}");
        assert!(text.contains("| 1.00 ms | 5.00 ms | 20.00 ms | none |"), "{text}");
    }
}
