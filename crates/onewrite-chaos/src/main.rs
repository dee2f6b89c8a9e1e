//! `./x chaos`: the program between real servers while everything fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use onewrite_chaos::campaign::{self, all_faults};
use onewrite_chaos::fault::{FAULTS, Fault};
use onewrite_chaos::mutants::MUTANTS;
use onewrite_chaos::setting::{Feed, Setting, SinkType};

/// Windows of a mutant's campaign: every bug shows within few.
const MUTANT_WINDOWS: u32 = 5;

/// The program between real servers: everything fails, heals, and the promise is checked.
#[derive(Debug, Parser)]
#[command(name = "onewrite-chaos", max_term_width = 120)]
#[command(after_help = "\
Examples:
  ./x chaos --windows 40 --seed 7 --source wal --sink kafka
  ./x chaos --windows 12 --faults relay-killed,broker-down --sink rabbitmq
  ./x chaos --windows 40 --seed 7 --sink nats --write-report
  ./x chaos --list                     every fault, with what is expected
  ./x chaos --mutants                  whether planted bugs are noticed

The same seed deals the same faults to the same windows. What happens within a window is up to real processes.")]
struct Options {
    /// How many windows
    #[arg(long, default_value_t = 20)]
    windows: u32,
    /// Where the plan comes from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How the relay finds new events
    #[arg(long, value_enum, default_value_t = Feed::Wal)]
    source: Feed,
    /// The broker
    #[arg(long, value_enum, default_value_t = SinkType::Kafka)]
    sink: SinkType,
    /// These faults alone, by their names with commas
    #[arg(long, value_delimiter = ',', value_parser = fault)]
    faults: Option<Vec<Fault>>,
    /// The program
    #[arg(long, value_name = "FILE", default_value = "target/debug/onewrite")]
    program: PathBuf,
    /// Writes docs/reliability/runs/SEED-SOURCE-SINK.md and .json
    #[arg(long)]
    write_report: bool,
    /// Relays with planted bugs: each must be noticed
    #[arg(long, conflicts_with_all = ["write_report", "faults"])]
    mutants: bool,
    /// One of them alone
    #[arg(long, requires = "mutants", value_name = "NAME")]
    mutant: Option<String>,
    /// Lists the faults as a table
    #[arg(long)]
    list: bool,
}

fn fault(name: &str) -> Result<Fault> {
    Fault::named(name).with_context(|| format!("no fault is called {name:?}; `--list` shows them"))
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let options = Options::parse();
    if options.list {
        list();
        return Ok(ExitCode::SUCCESS);
    }
    let program = options.program.canonicalize();
    let program = program.with_context(|| format!("{}: `./x chaos` builds it", options.program.display()))?;
    if options.mutants {
        return mutants(&options, &program).await;
    }
    let setting = Setting::new(&program, options.source, options.sink);
    let faults = options.faults.clone().unwrap_or_else(all_faults);
    let mut report = campaign::run(setting, options.seed, options.windows, &faults, |line| {
        println!("{line}")
    })
    .await;
    if let Some(faults) = &options.faults {
        let names: Vec<_> = faults.iter().map(|fault| fault.name()).collect();
        report.command = format!("{} --faults {}", report.command, names.join(","));
    }
    println!("\n{}", report.markdown());
    if options.write_report {
        let name = format!(
            "docs/reliability/runs/{}-{}-{}",
            report.seed, report.source, report.sink
        );
        fs::create_dir_all("docs/reliability/runs")?;
        fs::write(format!("{name}.md"), report.markdown())?;
        fs::write(format!("{name}.json"), serde_json::to_string_pretty(&report)? + "\n")?;
    }
    Ok(if report.violations().is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn list() {
    println!("| fault | rows | what happens | expected |\n| --- | --- | --- | --- |");
    for known in FAULTS {
        let rows: Vec<String> = known.rows.iter().map(u8::to_string).collect();
        println!(
            "| `{}` | {} | {} | {} |",
            known.name,
            rows.join(", "),
            known.meaning,
            known.expected
        );
    }
}

async fn mutants(options: &Options, program: &Path) -> Result<ExitCode> {
    let executable = program.with_file_name("onewrite-mutant");
    let mut missed = 0;
    for mutant in MUTANTS {
        if options.mutant.as_ref().is_some_and(|name| name != mutant.name) {
            continue;
        }
        let setting = Setting {
            mutant: Some((executable.clone(), mutant.name.to_owned())),
            ..Setting::new(program, mutant.source, mutant.sink)
        };
        let report = campaign::run(setting, options.seed, MUTANT_WINDOWS, mutant.faults, |line| {
            println!("  {line}")
        })
        .await;
        let violations = report.violations();
        let words = violations
            .iter()
            .flat_map(|words| words.lines())
            .find(|line| line.contains("BROKEN") || line.starts_with('I'));
        match words {
            Some(words) => println!("noticed: a relay that {}: {}", mutant.meaning, words.trim()),
            None => {
                println!("NOT NOTICED: a relay that {}", mutant.meaning);
                missed += 1;
            }
        }
    }
    Ok(if missed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
