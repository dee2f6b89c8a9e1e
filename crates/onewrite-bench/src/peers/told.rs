//! What is told of Onewrite beside other products.

use super::Name;
use super::drain::Drained;
use crate::figures::{Figures, Goal, Unit};
use crate::latency::Percentiles;
use crate::plan::Feed;

/// Whom the goals speak of, and of which of Onewrite's feeds: the one that reads the log as the rival does.
const RIVAL: Name = Name::DebeziumServer;
const OWN: Feed = Feed::Wal;

/// Events a second against the rival's; and latency, CPU and memory against its.
const RATE_GOAL: Goal = Goal::at_least(5.0);
const COST_GOAL: Goal = Goal::at_most(0.1);

const RATE: &str = "drain";
const RATE_WITH_START: &str = "drain with the start";
const CPU: &str = "CPU for a million events";
const CPU_WITH_START: &str = "CPU for a million events with the start";
const MEMORY: &str = "peak memory";
const P99: &str = "commit to consumer, p99";

/// What Onewrite is called with a feed.
pub fn onewrite(feed: Feed) -> String {
    format!("onewrite {feed}")
}

impl Drained {
    /// Notes one run of a relay.
    pub fn note(&self, figures: &mut Figures, who: &str, events: usize) {
        let mut note = |what, unit, value| figures.note(name(who, what), unit, value);
        note(RATE, Unit::PerSecond, self.rate);
        note(RATE_WITH_START, Unit::PerSecond, self.rate_with_start);
        if let Some(cpu) = self.cpu {
            note(CPU, Unit::Seconds, cpu);
        }
        note(CPU_WITH_START, Unit::Seconds, self.cpu_with_start);
        note(MEMORY, Unit::Megabytes, self.peak_megabytes);
        let (few, many) = (events.saturating_sub(self.records), self.records.saturating_sub(events));
        note("records too few", Unit::Count, few as f64);
        note("records too many", Unit::Count, many as f64);
    }
}

/// Notes its latency.
pub fn delivery(figures: &mut Figures, who: &str, found: &Percentiles) {
    for (percentile, value) in found.named() {
        let what = format!("commit to consumer, {percentile}");
        figures.note(name(who, &what), Unit::Milliseconds, value);
    }
}

/// Notes that a run came to nothing, or to half of it.
pub fn failed(figures: &mut Figures, who: &str) {
    figures.note(name(who, "a run that failed"), Unit::Count, 1.0);
}

/// Compares Onewrite with the rival, as far as both have figures. The rival's rate and CPU are those without its start, Onewrite's
/// those with it: a virtual machine starts slowly.
pub fn judge(figures: &mut Figures) {
    let comparisons = [
        (RATE_WITH_START, RATE, RATE_GOAL),
        (P99, P99, COST_GOAL),
        (CPU_WITH_START, CPU, COST_GOAL),
        (MEMORY, MEMORY, COST_GOAL),
    ];
    for (own, what, goal) in comparisons {
        let (own, rival) = (name(&onewrite(OWN), own), name(RIVAL.word(), what));
        if figures.has(&own) && figures.has(&rival) {
            let ratio = format!("{} / {}: {what}", onewrite(OWN), RIVAL.word());
            figures.compare(&ratio, &own, &rival);
            figures.expect(&ratio, goal);
        }
    }
}

fn name(who: &str, what: &str) -> String {
    format!("{who}: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(who: &str, rate: f64, cpu: Option<f64>, p99: Option<f64>) -> Figures {
        let mut figures = Figures::default();
        note(&mut figures, who, rate, cpu, p99);
        figures
    }

    fn note(figures: &mut Figures, who: &str, rate: f64, cpu: Option<f64>, p99: Option<f64>) {
        let drained = Drained {
            rate,
            rate_with_start: 100_000.0,
            cpu,
            cpu_with_start: 10.0,
            peak_megabytes: 50.0,
            records: 990,
        };
        drained.note(figures, who, 1_000);
        if let Some(p99) = p99 {
            let (p50, p999, max) = (1.0, 20.0, 30.0);
            delivery(figures, who, &Percentiles { p50, p99, p999, max });
        }
    }

    fn judged(figures: &Figures) -> Vec<(&str, f64, bool)> {
        let judged = figures.iter().filter_map(|figure| {
            let what = figure.name.strip_prefix("onewrite wal / debezium-server: ")?;
            Some((what, figure.spread().median, figure.reached()?))
        });
        judged.collect()
    }

    #[test]
    fn the_log_feed_is_judged_by_what_is_kinder_to_the_rival() {
        let mut figures = noted("onewrite wal", 400_000.0, None, Some(5.0));
        note(&mut figures, "onewrite poll", 400_000.0, None, Some(50.0));
        note(&mut figures, "debezium-server", 25_000.0, Some(80.0), Some(100.0));
        judge(&mut figures);
        let wanted = [
            (RATE, 4.0, false),
            (P99, 0.05, true),
            (CPU, 0.125, false),
            (MEMORY, 1.0, false),
        ];
        assert_eq!(judged(&figures), wanted);
    }

    #[test]
    fn who_is_missing_or_too_slow_is_not_compared_with() {
        let mut figures = noted("onewrite wal", 400_000.0, None, Some(5.0));
        judge(&mut figures);
        assert_eq!(judged(&figures), []);
        note(&mut figures, "debezium-server", 500.0, Some(80.0), None);
        judge(&mut figures);
        let names: Vec<&str> = judged(&figures).iter().map(|(what, ..)| *what).collect();
        assert_eq!(names, [RATE, CPU, MEMORY]);
    }

    #[test]
    fn what_was_lost_or_repeated_is_counted() {
        let figures = noted("watermill", 500.0, Some(80.0), None);
        let count = |what: &str| figures.median(&format!("watermill: records too {what}"));
        assert_eq!((count("few"), count("many")), (10.0, 0.0));
    }
}
