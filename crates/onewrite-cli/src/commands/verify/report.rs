//! What a run found, for people and for scripts.

use std::fmt::Write as _;

use onewrite_core::limits::WAL_RETAINED_UNEXPLAINED_THRESHOLD;
use onewrite_core::promise::{Examples, Verdict};
use serde::Serialize;

use super::arguments::Arguments;
use super::book::Tally;
use super::faults::{Fault, Kind};
use super::latency::{Latency, latencies};
use super::limits::{MEMORY_MAX, PAYLOADS_HELD};
use super::trial::{Outcome, Trial};
use crate::output::human::{bytes, count, plural, printable, seconds, span};
use crate::output::table::{Side, Table};

/// A run and its verdict.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether all of it holds.
    pub holds: bool,
    /// The sink that was tried, and its type.
    pub sink: String,
    /// The sink's type.
    pub sink_type: &'static str,
    /// The database, without any secret.
    pub source: String,
    /// How the relay found new events: every way that was seen, in their order.
    pub feeds: Vec<String>,
    /// The topic of all events.
    pub topic: String,
    /// What repeats load and faults.
    pub seed: u64,
    /// I1 to I6 in their order.
    pub promises: Vec<Promise>,
    /// What was written.
    pub wrote: Tally,
    /// How long that took, in seconds.
    pub wrote_seconds: f64,
    /// Committed events a second.
    pub events_per_second: f64,
    /// What arrived, and the checker's own figures.
    pub verdict: Verdict,
    /// Messages that were not what was written.
    pub damaged: Examples,
    /// From COMMIT to being read at the broker, of events that no fault touched.
    pub latency: Option<Latency>,
    /// The same of all events.
    pub latency_with_faults: Option<Latency>,
    /// What went wrong on purpose.
    pub faults: Vec<Fault>,
    /// The most memory that the relay had, in bytes.
    pub relay_memory_bytes: Option<u64>,
    /// The most of its log that the database kept for the relay, in bytes.
    pub log_kept_bytes: Option<i64>,
    /// How much larger the outbox became, in bytes; what applications wrote meanwhile is in it.
    pub outbox_grew_bytes: i64,
    /// What could not be removed, in words.
    pub left_behind: Vec<String>,
}

/// One of the six.
#[derive(Debug, Serialize)]
pub struct Promise {
    /// Such as `I1`.
    pub rule: &'static str,
    /// Such as `no loss`.
    pub name: &'static str,
    /// Whether it holds; `None` where that cannot be judged.
    pub holds: Option<bool>,
    /// The figures behind it.
    pub found: String,
    /// The first violations.
    pub examples: Vec<String>,
}

impl Report {
    /// Judges what a run found.
    pub fn new(trial: &Trial<'_>, sink: (&str, &'static str), source: &str, outcome: Outcome) -> Self {
        let (latency, latency_with_faults) = latencies(&outcome);
        let (tally, verdict, damaged) = (outcome.book.tally(), outcome.verdict.clone(), outcome.seen.damaged());
        let mut promises = delivered(&verdict, tally, &damaged, trial.unordered);
        promises.push(lag(&outcome, trial.arguments, latency));
        promises.push(resources(&outcome, trial.arguments));
        let wrote_seconds = outcome.wrote_for.as_secs_f64();
        Self {
            holds: promises.iter().all(|promise| promise.holds != Some(false)),
            sink: sink.0.to_owned(),
            sink_type: sink.1,
            source: source.to_owned(),
            feeds: outcome.feeds.clone(),
            topic: trial.run.topic(),
            seed: trial.plan.seed,
            promises,
            wrote: tally,
            wrote_seconds,
            #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
            events_per_second: tally.committed as f64 / wrote_seconds.max(0.001),
            verdict,
            damaged,
            latency,
            latency_with_faults,
            faults: outcome.faults,
            relay_memory_bytes: outcome.memory,
            log_kept_bytes: outcome.log_kept,
            outbox_grew_bytes: outcome.outbox_grew,
            left_behind: Vec::new(),
        }
    }

    /// The report for people.
    pub fn text(&self) -> String {
        let mut text = format!("{} → {} ({})\n", printable(&self.source), self.sink, self.sink_type);
        let _ = writeln!(
            text,
            "{} committed in {} ({:.0}/s), {} rolled back, {} left at COMMIT and looked up; feed {}; seed {}\n",
            plural(self.wrote.committed, "event"),
            seconds(self.wrote_seconds),
            self.events_per_second,
            figure(self.wrote.rolled_back),
            figure(self.wrote.unanswered),
            self.feeds.join(", then "),
            self.seed
        );
        let mut table = Table::new(&[
            ("", Side::Left),
            ("PROMISE", Side::Left),
            ("", Side::Left),
            ("FOUND", Side::Left),
        ]);
        for promise in &self.promises {
            let (sign, word) = match promise.holds {
                Some(true) => ("✓", "holds"),
                Some(false) => ("✗", "BROKEN"),
                None => ("–", "unjudged"),
            };
            let name = format!("{} {}", promise.rule, promise.name);
            table.row([sign.to_owned(), name, word.to_owned(), promise.found.clone()]);
        }
        let _ = write!(text, "{table}");
        for promise in self.promises.iter().filter(|promise| !promise.examples.is_empty()) {
            let _ = writeln!(text, "\n{} {}, the first of them:", promise.rule, promise.name);
            for example in &promise.examples {
                let _ = writeln!(text, "  {}", printable(example));
            }
        }
        text.push_str(&self.latency_table());
        text.push_str(&self.fault_table());
        for left in &self.left_behind {
            let _ = writeln!(text, "\nnot removed: {}", printable(left));
        }
        text
    }

    fn latency_table(&self) -> String {
        let mut table = Table::new(&[
            ("COMMIT TO BROKER", Side::Left),
            ("EVENTS", Side::Right),
            ("P50", Side::Right),
            ("P99", Side::Right),
            ("P99.9", Side::Right),
            ("MAX", Side::Right),
        ]);
        let with_faults = self.latency_with_faults.filter(|_| !self.faults.is_empty());
        let rows = [("without faults", self.latency), ("with faults", with_faults)];
        let rows: Vec<_> = rows
            .iter()
            .filter_map(|(name, latency)| Some((name, (*latency)?)))
            .collect();
        if rows.is_empty() {
            return String::new();
        }
        for (name, latency) in rows {
            let times = [latency.p50_ms, latency.p99_ms, latency.p999_ms, latency.max_ms].map(milliseconds);
            table.row([(*name).to_owned(), figure(latency.events)].into_iter().chain(times));
        }
        format!("\n{table}")
    }

    fn fault_table(&self) -> String {
        if self.faults.is_empty() {
            return String::new();
        }
        let mut table = Table::new(&[
            ("FAULT", Side::Left),
            ("AT", Side::Right),
            ("BACK AFTER", Side::Right),
            ("REPEATED", Side::Right),
            ("WHAT", Side::Left),
        ]);
        for fault in &self.faults {
            let kind = match fault.kind {
                Kind::Kill => "kill",
                Kind::Cut => "cut",
            };
            let back = fault.back_after_seconds.map_or("–".to_owned(), seconds);
            table.row([
                kind.to_owned(),
                seconds(fault.at_seconds),
                back,
                figure(fault.repeated),
                fault.what.clone(),
            ]);
        }
        format!("\n{table}")
    }
}

/// I1 to I4.
fn delivered(verdict: &Verdict, tally: Tally, damaged: &Examples, unordered: Option<&'static str>) -> Vec<Promise> {
    let distinct = verdict.deliveries - verdict.duplicates;
    let mut phantom = verdict.phantom.clone();
    phantom.count += damaged.count;
    phantom.first.extend(damaged.first.iter().cloned());
    let none = Examples::default();
    let (committed, parked) = (figure(verdict.committed), figure(verdict.parked));
    let lost = figure(verdict.lost.count);
    vec![
        checked(
            "I1",
            "no loss",
            &verdict.lost,
            format!(
                "{committed} committed: {} arrived, {parked} parked, {lost} missing",
                figure(distinct)
            ),
        ),
        checked(
            "I2",
            "no phantom",
            &phantom,
            format!(
                "{} rolled back: {} arrived that was not committed",
                figure(tally.rolled_back),
                figure(phantom.count)
            ),
        ),
        order(verdict, unordered),
        checked(
            "I4",
            "one effect",
            verdict.effects.as_ref().unwrap_or(&none),
            format!(
                "{} deliveries, {} of them repeated; the inbox let each event take effect once",
                figure(verdict.deliveries),
                figure(verdict.duplicates)
            ),
        ),
    ]
}

/// I3, as far as the order of what was read back tells it.
fn order(verdict: &Verdict, unordered: Option<&'static str>) -> Promise {
    let found = "the first deliveries of each key came in the order of its commits";
    match unordered {
        None => checked("I3", "order", &verdict.reordered, found.to_owned()),
        Some(why) => Promise {
            rule: "I3",
            name: "order",
            holds: None,
            found: format!("cannot be judged, since {why}"),
            examples: Vec::new(),
        },
    }
}

fn checked(rule: &'static str, name: &'static str, broken: &Examples, found: String) -> Promise {
    Promise {
        rule,
        name,
        holds: Some(broken.count == 0),
        found: if broken.count == 0 {
            found
        } else {
            format!("{} of them wrong: {found}", figure(broken.count))
        },
        examples: broken.first.clone(),
    }
}

/// I5: what is behind gets to nothing by itself.
fn lag(outcome: &Outcome, arguments: &Arguments, latency: Option<Latency>) -> Promise {
    let within = span(arguments.within);
    let settled = outcome.unsettled.is_none_or(|unsettled| unsettled == 0);
    let late = |fault: &&Fault| {
        fault
            .back_after_seconds
            .is_none_or(|back| back > arguments.within.as_secs_f64())
    };
    let examples: Vec<String> = outcome
        .faults
        .iter()
        .filter(late)
        .map(|fault| {
            format!(
                "after {} at {}: nothing new arrived within {within}",
                fault.what,
                seconds(fault.at_seconds)
            )
        })
        .collect();
    let p99 = latency.map_or(String::new(), |latency| {
        format!("p99 {} without faults; ", milliseconds(latency.p99_ms))
    });
    let behind = match outcome.caught_up_after {
        Some(after) => format!("nothing behind {} after the end (limit {within})", span(after)),
        None => format!("still behind {within} after the end"),
    };
    let unsettled = match outcome.unsettled {
        Some(unsettled) if unsettled > 0 => format!("; {} not settled", count(unsettled)),
        _ => String::new(),
    };
    Promise {
        rule: "I5",
        name: "bounded lag",
        holds: Some(outcome.caught_up_after.is_some() && settled && examples.is_empty()),
        found: format!("{p99}{behind}{unsettled}"),
        examples,
    }
}

/// I6: memory and the database's log stay below their limits.
fn resources(outcome: &Outcome, arguments: &Arguments) -> Promise {
    let memory_max = MEMORY_MAX + PAYLOADS_HELD * u64::from(arguments.payload_bytes);
    let (memory, log) = (outcome.memory, outcome.log_kept);
    let size = |amount: u64| bytes(i64::try_from(amount).unwrap_or(i64::MAX));
    let memory_words = memory.map_or("memory not told by this system".to_owned(), |memory| {
        format!("relay {} of memory (limit {})", size(memory), size(memory_max))
    });
    let log_words = log.map_or(String::new(), |log| {
        format!(
            "; log kept {} (limit {})",
            bytes(log),
            bytes(WAL_RETAINED_UNEXPLAINED_THRESHOLD)
        )
    });
    Promise {
        rule: "I6",
        name: "bounded resources",
        holds: Some(
            memory.is_none_or(|memory| memory <= memory_max)
                && log.is_none_or(|log| log <= WAL_RETAINED_UNEXPLAINED_THRESHOLD),
        ),
        found: format!(
            "{memory_words}{log_words}; outbox grew by {}",
            bytes(outcome.outbox_grew)
        ),
        examples: Vec::new(),
    }
}

fn figure(number: u64) -> String {
    count(i64::try_from(number).unwrap_or(i64::MAX))
}

fn milliseconds(time: f64) -> String {
    if time < 100.0 {
        format!("{time:.1}ms")
    } else {
        seconds(time / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use onewrite_core::promise::Found;
    use onewrite_core::verify::Arrived;
    use uuid::Uuid;

    use super::super::book::{Book, Fate};
    use super::super::load::Body;
    use super::super::seen::Seen;
    use super::*;

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    /// What arrives when the event of this number is delivered under the id of another.
    fn under(number: u128, wire: u128) -> Arrived {
        let body = Body {
            id: id(number),
            key: "k".to_owned(),
            number: number as u64,
            written_at: jiff::Timestamp::UNIX_EPOCH,
            filling: String::new(),
        };
        Arrived::new(Some(&id(wire).to_string()), serde_json::to_vec(&body).unwrap())
    }

    /// The verdict on what arrived, where 1 to 3 are committed and 9 is rolled back.
    fn judge(arrived: &[Arrived], applied_twice: Option<u128>) -> Vec<Promise> {
        let (book, seen) = (Book::default(), Seen::default());
        let committed = (1..=3).map(|number| (id(number), "k".to_owned(), number as u64));
        book.note(committed, Fate::Committed);
        book.note([(id(9), "k".to_owned(), 4)], Fate::RolledBack);
        seen.note(arrived);
        let deliveries = seen.ids();
        let mut effects: HashMap<Uuid, u64> = deliveries.iter().map(|id| (*id, 1)).collect();
        effects.extend(applied_twice.map(|number| (id(number), 2)));
        let found = Found {
            deliveries,
            effects: Some(effects),
            ..Found::default()
        };
        delivered(&book.ledger().judge(&found), book.tally(), &seen.damaged(), None)
    }

    fn broken(promises: &[Promise]) -> Vec<(&str, &str)> {
        let broken = promises.iter().filter(|promise| promise.holds == Some(false));
        broken
            .map(|promise| (promise.rule, promise.examples[0].as_str()))
            .collect()
    }

    #[test]
    fn each_way_to_lie_breaks_its_own_promise_and_names_the_event() {
        let wire = |numbers: &[u128]| numbers.iter().map(|number| under(*number, *number)).collect::<Vec<_>>();
        assert_eq!(broken(&judge(&wire(&[1, 2, 1, 3]), None)), []);
        let (first, second, ninth) = (id(1).to_string(), id(2).to_string(), id(9).to_string());
        // What never arrived is also what the consumer never applied.
        assert_eq!(broken(&judge(&wire(&[1, 3]), None))[0], ("I1", second.as_str()));
        let told = judge(&wire(&[1, 2, 3, 9]), None);
        assert_eq!(broken(&told)[0], ("I2", format!("{ninth} (rolled back)").as_str()));
        let told = judge(&wire(&[2, 1, 3]), None);
        assert_eq!(broken(&told), [("I3", "key \"k\": number 1 arrived after 2")]);
        let told = judge(&wire(&[1, 2, 3]), Some(2));
        assert_eq!(broken(&told), [("I4", format!("{second} applied 2 times").as_str())]);
        let told = judge(&[under(1, 2), under(2, 2), under(3, 3)], None);
        let words = format!("{first} arrived under the id {second}");
        assert_eq!(broken(&told), [("I2", words.as_str())]);
    }
}
