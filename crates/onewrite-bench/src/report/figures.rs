//! The figures with their goals: what a reader wants to know first.

use super::Report;
use super::table::Table;
use crate::progress::thousands;
use crate::spread::Spread;
use crate::{drain, idle, latency, tax};

/// The relay against the lower of the raw limits, at least.
const RATIO_GOAL: f64 = 0.5;
/// Resident bytes of the relay in the drain, less than.
const MEMORY_GOAL: f64 = 60e6;
/// Percent of a core that an idle relay uses, less than.
const IDLE_GOAL: f64 = 1.0;

/// One row for each figure: the middle, least and greatest of its runs, the goal, and whether it is reached.
pub fn figures(report: &Report) -> Table {
    let mut table = Table::new(&["figure", "median", "least", "greatest", "goal", "reached"]);
    if let Some(runs) = &report.drain {
        drain_figures(&mut table, runs);
    }
    if let Some(runs) = &report.latency {
        latency_figures(&mut table, runs);
    }
    if let Some(runs) = &report.idle {
        idle_figures(&mut table, runs);
    }
    if let Some(rounds) = &report.tax {
        tax_figures(&mut table, rounds);
    }
    table
}

/// A goal, and whether a value meets it.
struct Goal(String, bool);

fn row(table: &mut Table, name: &str, values: impl Iterator<Item = f64>, shown: fn(f64) -> String, goal: Option<Goal>) {
    let spread = Spread::of(values);
    let Goal(wanted, reached) = goal.unwrap_or(Goal(String::new(), false));
    let verdict = match (wanted.is_empty(), reached) {
        (true, _) => "",
        (false, true) => "yes",
        (false, false) => "**no**",
    };
    let cells = [
        name.to_owned(),
        shown(spread.median),
        shown(spread.min),
        shown(spread.max),
        wanted,
        verdict.to_owned(),
    ];
    table.row(cells);
}

fn drain_figures(table: &mut Table, runs: &[drain::Run]) {
    let rate = |value: f64| format!("{}/s", thousands(value));
    let megabytes = |value: f64| format!("{:.1} MB", value / 1e6);
    let ratio = Spread::of(runs.iter().map(drain::Run::ratio)).median;
    let peak = Spread::of(runs.iter().map(|run| run.peak_bytes as f64)).max;
    row(
        table,
        "drain: COPY of the rows",
        runs.iter().map(|run| run.copy),
        rate,
        None,
    );
    row(
        table,
        "drain: librdkafka alone",
        runs.iter().map(|run| run.produce),
        rate,
        None,
    );
    row(table, "drain: relay", runs.iter().map(|run| run.relay), rate, None);
    let goal = Goal(format!("≥ {RATIO_GOAL}"), ratio >= RATIO_GOAL);
    let ratios = runs.iter().map(drain::Run::ratio);
    row(
        table,
        "drain: relay / raw limit",
        ratios,
        |value| format!("{value:.2}"),
        Some(goal),
    );
    let goal = Goal(format!("< {:.0} MB", MEMORY_GOAL / 1e6), peak < MEMORY_GOAL);
    let peaks = runs.iter().map(|run| run.peak_bytes as f64);
    row(table, "drain: peak memory of the relay", peaks, megabytes, Some(goal));
    let seconds = runs.iter().map(|run| run.cpu_seconds);
    row(
        table,
        "drain: CPU of the relay",
        seconds,
        |value| format!("{value:.2} s"),
        None,
    );
}

fn latency_figures(table: &mut Table, runs: &[latency::Run]) {
    let milliseconds = |value: f64| format!("{value:.2} ms");
    for (at, (name, _)) in runs[0].delivery.named().into_iter().enumerate() {
        let values = runs.iter().map(|run| run.delivery.named()[at].1);
        row(
            table,
            &format!("latency: commit to consumer, {name}"),
            values,
            milliseconds,
            None,
        );
    }
}

fn idle_figures(table: &mut Table, runs: &[idle::Run]) {
    let percent = |value: f64| format!("{value:.2} %");
    let most = Spread::of(runs.iter().map(|run| run.relay)).max;
    let goal = Goal(format!("< {IDLE_GOAL:.0} %"), most < IDLE_GOAL);
    row(
        table,
        "idle: relay, of a core",
        runs.iter().map(|run| run.relay),
        percent,
        Some(goal),
    );
    row(
        table,
        "idle: PostgreSQL, of a core",
        runs.iter().map(|run| run.database),
        percent,
        None,
    );
}

fn tax_figures(table: &mut Table, rounds: &[tax::Round]) {
    let rate = |value: f64| format!("{}/s", thousands(value));
    let share = |value: f64| format!("{:.0} %", value * 100.0);
    row(
        table,
        "tax: transactions without outbox",
        rounds.iter().map(|round| round.without),
        rate,
        None,
    );
    let insert = rounds.iter().map(|round| round.insert / round.without);
    row(table, "tax: with INSERT, against without", insert, share, None);
    let append = rounds.iter().map(|round| round.append / round.without);
    row(table, "tax: with append(), against without", append, share, None);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_judged_by_the_median_ratio_and_the_greatest_peak() {
        let run = |relay: f64, peak_bytes: u64| drain::Run {
            copy: 500_000.0,
            produce: 200_000.0,
            relay,
            peak_bytes,
            cpu_seconds: 4.0,
            database_cpu_seconds: 3.0,
            broker_cpu_seconds: 2.0,
        };
        let mut table = Table::new(&["figure", "median", "least", "greatest", "goal", "reached"]);
        drain_figures(
            &mut table,
            &[
                run(90_000.0, 50_000_000),
                run(110_000.0, 70_000_000),
                run(120_000.0, 50_000_000),
            ],
        );
        let text = table.to_string();
        assert!(text.contains("| 0.55 | 0.45 | 0.60 | ≥ 0.5 | yes |"), "{text}");
        assert!(
            text.contains("| 50.0 MB | 50.0 MB | 70.0 MB | < 60 MB | **no** |"),
            "{text}"
        );
        assert!(text.contains("| 110,000/s | 90,000/s | 120,000/s |  |  |"), "{text}");
    }
}
