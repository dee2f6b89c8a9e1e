//! The figures with their goals: what a reader wants to know first.

use super::table::Table;
use super::{Report, peers};
use crate::options::Feed;
use crate::progress::thousands;
use crate::spread::Spread;
use crate::{beside, drain, held, idle, latency, sinks, tax};

/// Percent of a core that an idle relay uses, less than.
const IDLE_GOAL: f64 = 1.0;
/// Milliseconds from commit to consumer of 99 in 100 events over the log, on an idle machine, less than.
const LATENCY_GOAL: f64 = 10.0;
/// Throughput beside a transaction that stays open against throughput without, at least.
const HELD_GOAL: f64 = 0.9;
/// A route beside one whose broker is down against the same alone: least throughput, and most latency.
const BESIDE_GOALS: (f64, f64) = (0.95, 1.05);
/// A sink against its client library alone on the same broker, at least.
const SINK_GOAL: f64 = 0.8;

/// The relay against the lower of the raw limits, at least.
fn ratio_goal(feed: Feed) -> f64 {
    match feed {
        Feed::Poll => 0.5,
        Feed::Wal | Feed::Auto => 0.7,
    }
}

/// Resident bytes of the relay in the drain, less than.
fn memory_goal(feed: Feed) -> f64 {
    match feed {
        Feed::Poll => 60e6,
        Feed::Wal | Feed::Auto => 50e6,
    }
}

/// One row for each figure: the middle, least and greatest of its runs, the goal, and whether it is reached.
pub fn figures(report: &Report) -> Table {
    let mut table = Table::new(&["figure", "median", "least", "greatest", "goal", "reached"]);
    if let Some(runs) = &report.drain {
        drain_figures(&mut table, runs, report.plan.events);
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
    if let Some(runs) = &report.held {
        held_figures(&mut table, runs);
    }
    if let Some(runs) = &report.beside {
        beside_figures(&mut table, runs);
    }
    if let Some(runs) = &report.sinks {
        sink_figures(&mut table, runs);
    }
    if let Some(runs) = &report.peers {
        peers::figures(&mut table, runs);
    }
    table
}

/// A goal, and whether a value meets it.
pub(super) struct Goal(pub String, pub bool);

/// Adds the row of one figure.
pub(super) fn row(
    table: &mut Table,
    name: &str,
    values: impl Iterator<Item = f64>,
    shown: fn(f64) -> String,
    goal: Option<Goal>,
) {
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

/// The feeds that were measured, and the runs of each.
fn by_feed<Run>(runs: &[Run], feed: fn(&Run) -> Feed) -> Vec<(Feed, Vec<&Run>)> {
    let mut groups: Vec<(Feed, Vec<&Run>)> = Vec::new();
    for run in runs {
        match groups.iter_mut().find(|(known, _)| *known == feed(run)) {
            Some((_, group)) => group.push(run),
            None => groups.push((feed(run), vec![run])),
        }
    }
    groups
}

fn drain_figures(table: &mut Table, runs: &[drain::Run], events: usize) {
    let rate = |value: f64| format!("{}/s", thousands(value));
    for (at, (name, _)) in runs[0].limits.named().into_iter().enumerate() {
        let values = runs.iter().map(|run| run.limits.named()[at].1);
        row(table, &format!("drain: {name}"), values, rate, None);
    }
    for (feed, runs) in by_feed(runs, |run| run.feed) {
        drain_by_feed(table, feed, &runs, events);
    }
}

fn drain_by_feed(table: &mut Table, feed: Feed, runs: &[&drain::Run], events: usize) {
    let rate = |value: f64| format!("{}/s", thousands(value));
    row(
        table,
        &format!("drain: relay, {feed}"),
        runs.iter().map(|run| run.relay),
        rate,
        None,
    );
    let ratios = || runs.iter().map(|run| run.ratio());
    let wanted = ratio_goal(feed);
    row(
        table,
        &format!("drain: relay / raw limit, {feed}"),
        ratios(),
        |value| format!("{value:.2}"),
        Some(Goal(format!("≥ {wanted}"), Spread::of(ratios()).median >= wanted)),
    );
    let peaks = || runs.iter().map(|run| run.peak_bytes as f64);
    let wanted = memory_goal(feed);
    row(
        table,
        &format!("drain: peak memory of the relay, {feed}"),
        peaks(),
        |value| format!("{:.1} MB", value / 1e6),
        Some(Goal(
            format!("< {:.0} MB", wanted / 1e6),
            Spread::of(peaks()).max < wanted,
        )),
    );
    row(
        table,
        &format!("drain: CPU of the relay for a million events, {feed}"),
        runs.iter().map(|run| run.cpu_seconds * 1e6 / events as f64),
        |value| format!("{value:.2} s"),
        None,
    );
}

fn latency_figures(table: &mut Table, runs: &[latency::Run]) {
    for (feed, runs) in by_feed(runs, |run| run.feed) {
        for rate in latency::RATES {
            let runs: Vec<&latency::Run> = runs.iter().copied().filter(|run| run.rate == rate).collect();
            latency_at_rate(table, &format!("at {}/s, {feed}", thousands(rate.into())), &runs);
        }
    }
}

fn latency_at_rate(table: &mut Table, which: &str, runs: &[&latency::Run]) {
    row(
        table,
        &format!("latency: committed, {which}"),
        runs.iter().map(|run| run.spans.committed),
        |value| format!("{}/s", thousands(value)),
        None,
    );
    for (at, (name, _)) in runs[0].spans.delivery.named().into_iter().enumerate() {
        let values = || runs.iter().map(|run| run.spans.delivery.named()[at].1);
        let has_goal = name == "p99" && runs[0].feed != Feed::Poll;
        let goal = has_goal.then(|| {
            let reached = Spread::of(values()).median < LATENCY_GOAL;
            Goal(format!("< {LATENCY_GOAL:.0} ms"), reached)
        });
        row(
            table,
            &format!("latency: commit to consumer, {which}, {name}"),
            values(),
            |value| format!("{value:.2} ms"),
            goal,
        );
    }
}

fn idle_figures(table: &mut Table, runs: &[idle::Run]) {
    let percent = |value: f64| format!("{value:.2} %");
    for (feed, runs) in by_feed(runs, |run| run.feed) {
        let relay = || runs.iter().map(|run| run.relay);
        let goal = Goal(format!("< {IDLE_GOAL:.0} %"), Spread::of(relay()).max < IDLE_GOAL);
        row(
            table,
            &format!("idle: relay, of a core, {feed}"),
            relay(),
            percent,
            Some(goal),
        );
        let database = runs.iter().map(|run| run.database);
        row(
            table,
            &format!("idle: PostgreSQL, of a core, {feed}"),
            database,
            percent,
            None,
        );
    }
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

fn held_figures(table: &mut Table, runs: &[held::Run]) {
    let rate = |value: f64| format!("{}/s", thousands(value));
    for (feed, runs) in by_feed(runs, |run| run.feed) {
        let rates = |held| runs.iter().filter(move |run| run.held == held).map(|run| run.rate);
        for (held, word) in [(false, "without"), (true, "with")] {
            let name = format!("held: {word} a transaction open elsewhere, {feed}");
            row(table, &name, rates(held), rate, None);
        }
        let without = Spread::of(rates(false)).median;
        let ratio = Spread::of(rates(true)).median / without;
        row(
            table,
            &format!("held: with / without, {feed}"),
            rates(true).map(|rate| rate / without),
            |value| format!("{value:.2}"),
            Some(Goal(format!("≥ {HELD_GOAL}"), ratio >= HELD_GOAL)),
        );
    }
}

fn beside_figures(table: &mut Table, runs: &[beside::Run]) {
    let (least_rate, most_latency) = BESIDE_GOALS;
    for (feed, runs) in by_feed(runs, |run| run.feed) {
        let of = |beside, figure: fn(&beside::Run) -> f64| {
            let values = runs.iter().filter(move |run| run.beside == beside);
            values.map(move |run| figure(run)).collect::<Vec<_>>()
        };
        let ratio = |value: f64| format!("{value:.2}");
        let alone = Spread::of(of(false, |run| run.rate)).median;
        let ratios = || of(true, |run| run.rate).into_iter().map(|rate| rate / alone);
        let reached = Spread::of(ratios()).median >= least_rate;
        let goal = Goal(format!("≥ {least_rate}"), reached);
        row(
            table,
            &format!("beside / alone: throughput, {feed}"),
            ratios(),
            ratio,
            Some(goal),
        );
        for name in ["p50", "p99"] {
            let figure: fn(&beside::Run) -> f64 = match name {
                "p50" => |run| run.delivery.p50,
                _ => |run| run.delivery.p99,
            };
            let alone = Spread::of(of(false, figure)).median;
            let ratios = || of(true, figure).into_iter().map(|latency| latency / alone);
            let reached = Spread::of(ratios()).median <= most_latency;
            let goal = Goal(format!("≤ {most_latency}"), reached);
            row(
                table,
                &format!("beside / alone: latency, {name}, {feed}"),
                ratios(),
                ratio,
                Some(goal),
            );
        }
    }
}

fn sink_figures(table: &mut Table, runs: &[sinks::Run]) {
    let mut names: Vec<&str> = runs.iter().map(|run| run.sink).collect();
    names.dedup();
    for name in names {
        let ratios = || {
            runs.iter()
                .filter(|run| run.sink == name)
                .map(|run| run.relay / run.alone)
        };
        let reached = Spread::of(ratios()).median >= SINK_GOAL;
        let goal = Goal(format!("≥ {SINK_GOAL}"), reached);
        row(
            table,
            &format!("sink {name}: relay / library alone"),
            ratios(),
            |value| format!("{value:.2}"),
            Some(goal),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_judged_by_the_median_ratio_and_the_greatest_peak_of_each_feed() {
        let run = |feed, relay: f64, peak_bytes: u64| drain::Run {
            feed,
            limits: drain::Limits {
                copy: 500_000.0,
                receive: 100_000.0,
                produce: 200_000.0,
            },
            relay,
            peak_bytes,
            cpu_seconds: 4.0,
            database_cpu_seconds: 3.0,
            broker_cpu_seconds: 2.0,
        };
        let mut table = Table::new(&["figure", "median", "least", "greatest", "goal", "reached"]);
        let runs = [
            run(Feed::Poll, 90_000.0, 50_000_000),
            run(Feed::Wal, 69_000.0, 49_000_000),
            run(Feed::Poll, 110_000.0, 70_000_000),
            run(Feed::Poll, 120_000.0, 50_000_000),
        ];
        drain_figures(&mut table, &runs, 500_000);
        let text = table.to_string();
        for row in [
            "| drain: pg_recvlogical alone | 100,000/s | 100,000/s | 100,000/s |  |  |",
            "| drain: relay, poll | 110,000/s | 90,000/s | 120,000/s |  |  |",
            "| drain: relay / raw limit, poll | 0.55 | 0.45 | 0.60 | ≥ 0.5 | yes |",
            "| drain: peak memory of the relay, poll | 50.0 MB | 50.0 MB | 70.0 MB | < 60 MB | **no** |",
            "| drain: CPU of the relay for a million events, poll | 8.00 s | 8.00 s | 8.00 s |  |  |",
            "| drain: relay / raw limit, wal | 0.69 | 0.69 | 0.69 | ≥ 0.7 | **no** |",
            "| drain: peak memory of the relay, wal | 49.0 MB | 49.0 MB | 49.0 MB | < 50 MB | yes |",
        ] {
            assert!(text.contains(row), "{row}\n{text}");
        }
    }
}
