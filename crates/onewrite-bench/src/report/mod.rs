//! What is told at the end.

mod figures;
mod peers;
mod table;

use std::fmt::Write as _;

use serde::Serialize;

use crate::latency;
use crate::machine::Machine;
use crate::options::Plan;
use crate::progress::thousands;
use crate::workload::{PARTITIONS, PAYLOAD_BYTES};
use crate::{beside, drain, held, idle, sinks, tax};
use table::Table;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    machine: Machine,
    plan: Plan,
    /// The drains.
    pub drain: Option<Vec<drain::Run>>,
    /// The latencies.
    pub latency: Option<Vec<latency::Run>>,
    /// The idle relay.
    pub idle: Option<Vec<idle::Run>>,
    /// The producer's tax.
    pub tax: Option<Vec<tax::Round>>,
    /// Throughput beside a transaction that stays open.
    pub held: Option<Vec<held::Run>>,
    /// A route beside one whose broker is down.
    pub beside: Option<Vec<beside::Run>>,
    /// The sinks beside their client libraries.
    pub sinks: Option<Vec<sinks::Run>>,
    /// Other products.
    pub peers: Option<Vec<crate::peers::Run>>,
}

impl Report {
    /// Nothing measured yet.
    pub fn new(machine: Machine, plan: &Plan) -> Self {
        Self {
            machine,
            plan: plan.clone(),
            drain: None,
            latency: None,
            idle: None,
            tax: None,
            held: None,
            beside: None,
            sinks: None,
            peers: None,
        }
    }
}

/// The report as Markdown: the figures with their goals, then every run.
pub fn markdown(report: &Report) -> String {
    let mut text = String::new();
    write_machine(&mut text, &report.machine);
    let _ = writeln!(text, "{}", figures::figures(report));
    if let Some(runs) = &report.drain {
        let events = thousands(report.plan.events as f64);
        let _ = writeln!(
            text,
            "Each drain of {events} events of {PAYLOAD_BYTES} bytes to {PARTITIONS} partitions:\n\n{}",
            drains(runs)
        );
    }
    if let Some(runs) = &report.latency {
        let seconds = report.plan.latency.as_secs();
        let _ = writeln!(
            text,
            "Each latency run, {seconds} s, in milliseconds:\n\n{}",
            latencies(runs)
        );
    }
    if let Some(runs) = &report.sinks {
        let _ = writeln!(
            text,
            "Each sink, events of {PAYLOAD_BYTES} bytes, feed poll:\n\n{}",
            sinks_table(runs)
        );
    }
    if let Some(runs) = &report.peers {
        let seconds = report.plan.latency.as_secs();
        let _ = writeln!(
            text,
            "Each peer's drain of events of {PAYLOAD_BYTES} bytes to {PARTITIONS} partitions, CPU for a million, and latency at {}/s for \
             {seconds} s:\n\n{}",
            thousands(crate::peers::RATE.into()),
            peers::table(runs)
        );
    }
    if let Some(rounds) = &report.tax {
        let seconds = report.plan.tax.as_secs();
        let clients = tax::CLIENTS;
        let _ = writeln!(
            text,
            "Each round of the tax, {clients} clients, {seconds} s a variant, in transactions/s:\n\n{}",
            taxes(rounds)
        );
    }
    text
}

fn write_machine(text: &mut String, machine: &Machine) {
    let Machine {
        date,
        processor,
        cores,
        memory_bytes,
        kernel,
        program,
        revision,
        librdkafka,
        command,
    } = machine;
    let gigabytes = *memory_bytes as f64 / 1e9;
    let _ = writeln!(
        text,
        "Measured on {date} by `{command}`: {program}, revision {revision}, librdkafka {librdkafka}.\n\n\
         Machine: {cores} cores ({processor}), {gigabytes:.0} GB of memory, {kernel}. PostgreSQL 15, Apache Kafka, the relay and the \
         measuring program share it.\n",
    );
}

fn drains(runs: &[drain::Run]) -> Table {
    let columns = [
        "feed",
        "COPY/s",
        "pg_recvlogical/s",
        "librdkafka/s",
        "relay/s",
        "ratio",
        "peak memory",
        "CPU: relay",
        "PostgreSQL",
        "Kafka",
    ];
    let mut table = Table::new(&columns);
    for run in runs {
        table.row([
            run.feed.to_string(),
            thousands(run.limits.copy),
            thousands(run.limits.receive),
            thousands(run.limits.produce),
            thousands(run.relay),
            format!("{:.2}", run.ratio()),
            format!("{:.1} MB", run.peak_bytes as f64 / 1e6),
            format!("{:.2} s", run.cpu_seconds),
            format!("{:.2} s", run.database_cpu_seconds),
            format!("{:.2} s", run.broker_cpu_seconds),
        ]);
    }
    table
}

fn latencies(runs: &[latency::Run]) -> Table {
    let columns = [
        "from … to",
        "feed",
        "wanted/s",
        "committed/s",
        "p50",
        "p99",
        "p99.9",
        "max",
    ];
    let mut table = Table::new(&columns);
    for run in runs {
        let spans = [
            ("commit sent → consumer", run.spans.delivery),
            ("commit sent → commit returned", run.spans.commit),
            ("schedule → consumer", run.spans.schedule),
        ];
        for (name, found) in spans {
            let values = found.named().map(|(_, value)| format!("{value:.2}"));
            let words = [
                name.to_owned(),
                run.feed.to_string(),
                thousands(run.rate.into()),
                thousands(run.spans.committed),
            ];
            table.row(words.into_iter().chain(values));
        }
    }
    table
}

fn sinks_table(runs: &[sinks::Run]) -> Table {
    let columns = [
        "sink",
        "events",
        "library alone/s",
        "relay/s",
        "ratio",
        "peak memory",
        "CPU of the relay",
    ];
    let mut table = Table::new(&columns);
    for run in runs {
        table.row([
            run.sink.to_owned(),
            thousands(run.events as f64),
            thousands(run.alone),
            thousands(run.relay),
            format!("{:.2}", run.relay / run.alone),
            format!("{:.1} MB", run.peak_bytes as f64 / 1e6),
            format!("{:.2} s", run.cpu_seconds),
        ]);
    }
    table
}

fn taxes(rounds: &[tax::Round]) -> Table {
    let mut table = Table::new(&["round", "without", "INSERT", "append()"]);
    for (number, round) in rounds.iter().enumerate() {
        let rates = [round.without, round.insert, round.append].map(thousands);
        table.row([(number + 1).to_string()].into_iter().chain(rates));
    }
    table
}
