//! What a campaign found, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use onewrite_core::promise::Verdict;
use serde::Serialize;

use crate::fault::{FAULTS, Fault};
use crate::limits::{CALM_P99, IN_FLIGHT, OUTBOX, RESIDENT, RETAINED};
use crate::setting::Setting;
use crate::timeline::{Sizes, median};

/// What a campaign found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The command that runs it again.
    pub command: String,
    /// Where the plan comes from.
    pub seed: u64,
    /// The feed.
    pub source: String,
    /// The broker.
    pub sink: String,
    /// How many windows were planned.
    pub planned: usize,
    /// The windows.
    pub windows: Vec<WindowReport>,
    /// Faults that were not dealt, and why.
    pub skipped: Vec<Skipped>,
    /// The checker's word.
    pub verdict: Option<Verdict>,
    /// Arrivals a second in calm windows, the middle one.
    pub rate: Option<f64>,
    /// How late events of calm windows were; none where the broker tells no times.
    pub latency: Option<Latency>,
    /// The most bytes that were resident in a relay.
    pub resident: u64,
    /// The most bytes of the rest.
    pub sizes: Sizes,
    /// Transactions of writers that ended with an error.
    pub failed_transactions: u64,
    /// Last words of relays that ended by themselves and were started again.
    pub ended: Vec<String>,
    /// What operators were told when something did not go.
    pub complaints: Vec<String>,
    /// Why the campaign could not go on, where it could not.
    pub stuck: Option<String>,
}

/// A window.
#[derive(Clone, Debug, Serialize)]
pub struct WindowReport {
    /// Its number, from 0.
    pub number: usize,
    /// How long it lasted, without what came after.
    pub seconds: f64,
    /// What befell it; empty in a calm one.
    pub faults: Vec<FaultReport>,
    /// Seconds until another process led, where a fault was about that.
    pub takeover: Option<f64>,
    /// Under which epoch a relay led at its end: how often the lead had changed so far.
    pub epoch: i64,
    /// Seconds from the writers' rest to nothing unsettled; none if that did not come.
    pub drained: Option<f64>,
    /// Events committed so far.
    pub committed: i64,
    /// Events parked now, or given up by an operator so far.
    pub parked: i64,
    /// Deliveries beyond the first, so far; none where the broker cannot tell. Less than nothing means loss.
    pub repeated_so_far: Option<i64>,
    /// The same of this window.
    pub repeated: Option<i64>,
}

/// A fault of a window.
#[derive(Clone, Debug, Serialize)]
pub struct FaultReport {
    /// Which.
    pub fault: Fault,
    /// The window.
    pub window: usize,
    /// Why it did not come about.
    pub not_struck: Option<String>,
    /// What did not go well with it.
    pub complaint: Option<String>,
    /// Whether it was the only one of its window.
    pub alone: bool,
    /// Seconds from its end until arrivals were back at the rate.
    pub recovery: Option<f64>,
}

/// A fault that was not dealt.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Skipped {
    /// Which.
    pub fault: Fault,
    /// Why.
    pub reason: &'static str,
}

/// Milliseconds from the last moment before the commit to the arrival.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Of how many events.
    pub events: usize,
    /// The middle one.
    pub median: i64,
    /// The 99th of 100.
    pub p99: i64,
    /// The last.
    pub most: i64,
}

impl Report {
    /// Of a campaign that begins.
    pub fn new(setting: &Setting, seed: u64, planned: usize) -> Self {
        let (source, sink) = (setting.source.to_string(), setting.sink.to_string());
        Self {
            command: format!("./x chaos --windows {planned} --seed {seed} --source {source} --sink {sink}"),
            seed,
            source,
            sink,
            planned,
            windows: Vec::new(),
            skipped: Vec::new(),
            verdict: None,
            rate: None,
            latency: None,
            resident: 0,
            sizes: Sizes::default(),
            failed_transactions: 0,
            ended: Vec::new(),
            complaints: Vec::new(),
            stuck: None,
        }
    }

    /// Every way in which I1 to I6 did not hold, in words.
    pub fn violations(&self) -> Vec<String> {
        let mut found: Vec<String> = self.stuck.iter().cloned().collect();
        match &self.verdict {
            Some(verdict) if !verdict.holds() => found.push(verdict.to_string()),
            Some(_) => {}
            None => found.push("nothing was judged".to_owned()),
        }
        found.extend(self.losses());
        for window in &self.windows {
            for fault in &window.faults {
                if fault.not_struck.is_none() && fault.recovery.is_none() {
                    found.push(format!(
                        "I5: the rate was not back after {} in window {}",
                        fault.fault.name(),
                        window.number
                    ));
                }
            }
        }
        if let Some(latency) = self
            .latency
            .filter(|latency| u128::from(latency.p99.unsigned_abs()) > CALM_P99.as_millis())
        {
            found.push(format!(
                "I5: in calm windows one of a hundred events is later than {} ms",
                latency.p99
            ));
        }
        let sizes = [
            ("resident in a relay", self.resident, RESIDENT),
            (
                "of the log kept for the slot",
                self.sizes.retained.unsigned_abs(),
                RETAINED.unsigned_abs(),
            ),
            ("of the outbox", self.sizes.outbox.unsigned_abs(), OUTBOX.unsigned_abs()),
        ];
        for (what, bytes, most) in sizes {
            if bytes > most {
                found.push(format!("I6: {bytes} bytes {what}, more than {most}"));
            }
        }
        found
    }

    /// Windows after which fewer events had arrived than were settled, in words (I1).
    pub fn losses(&self) -> Vec<String> {
        let lost = |window: &&WindowReport| window.repeated_so_far.is_some_and(|repeated| repeated < 0);
        let words = |window: &WindowReport| {
            let number = window.number;
            format!("I1: after window {number} fewer events had arrived than were settled")
        };
        self.windows.iter().filter(lost).map(words).collect()
    }

    /// The report as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "# Faults, {} to {}, seed {}\n\n```console\n$ {}\n```\n\n",
            self.source, self.sink, self.seed, self.command
        );
        let violations = self.violations();
        match violations.is_empty() {
            true => text.push_str("**I1 to I6 hold.**\n\n"),
            false => {
                text.push_str("**BROKEN:**\n\n");
                violations.iter().for_each(|words| _ = writeln!(text, "- {words}"));
                text.push('\n');
            }
        }
        if let Some(verdict) = &self.verdict {
            _ = writeln!(text, "```text\n{verdict}```\n");
        }
        self.numbers(&mut text);
        self.kinds(&mut text);
        self.windows(&mut text);
        text
    }

    fn numbers(&self, text: &mut String) {
        let calm = self.windows.iter().filter(|window| window.faults.is_empty()).count();
        let megabytes = |bytes: u64| bytes / 1_000_000;
        _ = writeln!(text, "| what | measured |\n| --- | --- |");
        _ = writeln!(text, "| windows | {}, of them calm {calm} |", self.windows.len());
        _ = writeln!(text, "| arrivals in calm windows | {} a second |", or_dash(self.rate));
        if let Some(Latency {
            events,
            median,
            p99,
            most,
        }) = self.latency
        {
            _ = writeln!(
                text,
                "| from commit to arrival in calm windows | median {median} ms, p99 {p99} ms, most {most} ms, of {events} events |"
            );
        }
        _ = writeln!(
            text,
            "| most memory of a relay | {} MB, cap {} MB |",
            megabytes(self.resident),
            megabytes(RESIDENT)
        );
        _ = writeln!(
            text,
            "| most log kept for the slot | {} MB, cap {} MB |",
            megabytes(self.sizes.retained.unsigned_abs()),
            megabytes(RETAINED.unsigned_abs())
        );
        _ = writeln!(
            text,
            "| largest outbox | {} MB, cap {} MB |",
            megabytes(self.sizes.outbox.unsigned_abs()),
            megabytes(OUTBOX.unsigned_abs())
        );
        _ = writeln!(
            text,
            "| transactions that applications saw fail | {} |",
            self.failed_transactions
        );
        _ = writeln!(
            text,
            "| relays that ended by themselves and were started again | {} |\n",
            self.ended.len()
        );
    }

    /// By kind of fault.
    fn kinds(&self, text: &mut String) {
        let mut struck: BTreeMap<Fault, Vec<(&WindowReport, &FaultReport)>> = BTreeMap::new();
        for window in &self.windows {
            for fault in &window.faults {
                struck.entry(fault.fault).or_default().push((window, fault));
            }
        }
        text.push_str("## By kind of fault\n\n");
        text.push_str("Recovery is the time from the end of the fault until events arrive again at 0.95 of the rate of calm windows; alone: where no other\n");
        text.push_str("fault was in the window; with others: from the end of the last. Repeated: deliveries beyond the first in windows where it was alone, the most in one.\n\n");
        text.push_str("| fault | struck | recovery alone, median (most) | with others, most | takeover, most | repeated alone |\n| --- | --- | --- | --- | --- | --- |\n");
        for known in FAULTS {
            let Some(all) = struck.get(&known.fault) else { continue };
            let came: Vec<_> = all.iter().filter(|(_, fault)| fault.not_struck.is_none()).collect();
            let times = |alone: bool| -> Vec<f64> {
                let some = came.iter().filter(|(_, fault)| fault.alone == alone);
                some.filter_map(|(_, fault)| fault.recovery).collect()
            };
            let takes_over = matches!(
                known.fault,
                Fault::RelayKilled | Fault::RelayFrozen | Fault::RelayHandsOver | Fault::LeaderPartitioned
            );
            let takeover = came
                .iter()
                .filter_map(|(window, _)| window.takeover.filter(|_| takes_over));
            let repeated = came
                .iter()
                .filter(|(_, fault)| fault.alone)
                .filter_map(|(window, _)| window.repeated);
            _ = writeln!(
                text,
                "| {} | {} of {} | {} ({}) | {} | {} | {} |",
                known.name,
                came.len(),
                all.len(),
                seconds(median(times(true))),
                seconds(most(times(true))),
                seconds(most(times(false))),
                seconds(most(takeover.collect())),
                repeated.max().map_or("–".to_owned(), |most| most.to_string()),
            );
        }
        for skipped in &self.skipped {
            _ = writeln!(
                text,
                "| {} | not dealt: {} | | | | |",
                skipped.fault.name(),
                skipped.reason
            );
        }
        _ = writeln!(
            text,
            "\nA kill of a relay may repeat at most {IN_FLIGHT} events, which is what it may have in flight.\n"
        );
    }

    fn windows(&self, text: &mut String) {
        text.push_str("## The windows\n\n| window | seconds | what befell it | recovery | drained in | repeated | epoch | events so far |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n");
        for window in &self.windows {
            let names: Vec<String> = window.faults.iter().map(FaultReport::words).collect();
            let recovery = most(window.faults.iter().filter_map(|fault| fault.recovery).collect());
            _ = writeln!(
                text,
                "| {} | {:.0} | {} | {} | {} | {} | {} | {} |",
                window.number,
                window.seconds,
                if names.is_empty() {
                    "calm".to_owned()
                } else {
                    names.join(", ")
                },
                seconds(recovery),
                seconds(window.drained),
                window.repeated.map_or("–".to_owned(), |repeated| repeated.to_string()),
                window.epoch,
                window.committed,
            );
        }
    }
}

impl FaultReport {
    /// Of a fault that was to begin.
    pub fn new(fault: Fault, window: usize, not_struck: Option<&String>) -> Self {
        Self {
            fault,
            window,
            not_struck: not_struck.cloned(),
            complaint: None,
            alone: false,
            recovery: None,
        }
    }

    fn words(&self) -> String {
        let name = self.fault.name();
        match (&self.not_struck, &self.complaint) {
            (Some(reason), _) => format!("{name} (did not come about: {reason})"),
            (None, Some(complaint)) => format!("{name} ({complaint})"),
            (None, None) => name.to_owned(),
        }
    }
}

impl fmt::Display for WindowReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.faults.iter().map(FaultReport::words).collect();
        let recovery = most(self.faults.iter().filter_map(|fault| fault.recovery).collect());
        write!(
            formatter,
            "{:>2.0} s {}: back after {}, drained in {}, repeated {}, events {}, parked {}, epoch {}",
            self.seconds,
            if names.is_empty() {
                "calm".to_owned()
            } else {
                names.join(" + ")
            },
            seconds(recovery),
            seconds(self.drained),
            self.repeated.map_or("–".to_owned(), |repeated| repeated.to_string()),
            self.committed,
            self.parked,
            self.epoch,
        )
    }
}

fn most(values: Vec<f64>) -> Option<f64> {
    values.into_iter().reduce(f64::max)
}

fn seconds(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |seconds| format!("{seconds:.1} s"))
}

fn or_dash(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:.0}"))
}
