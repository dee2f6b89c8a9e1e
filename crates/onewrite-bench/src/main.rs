//! `./x bench`: measures the program, as it is released, against the raw limits of the machine it runs on. The method is told
//! in docs/benchmarks.md.

mod away;
mod beside;
mod broker;
mod drain;
mod figures;
mod held;
mod idle;
mod latency;
mod machine;
mod options;
mod peers;
mod plan;
mod process;
mod progress;
mod relay;
mod report;
mod scenario;
mod servers;
mod settled;
mod shapes;
mod sinks;
mod slots;
mod spread;
mod sqlite;
mod start;
mod tax;
mod workload;

use std::path::Path;

use anyhow::{Context, Result};
use clap::Parser;

use figures::Figures;
use machine::Machine;
use options::Options;
use plan::Plan;
use progress::{say, took};
use report::Report;
use scenario::{Measure, Scenario};
use servers::Servers;

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    if options.list {
        print!("{}", scenario::list());
        return Ok(());
    }
    if options.list_peers {
        options.peers().iter().for_each(|peer| println!("peer {}", peer.word()));
        return Ok(());
    }
    // reqwest asks for one, also where no TLS is spoken; a second call finds it there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let program = options.program()?;
    // What is told about the program is asked first: a wrong one should not cost minutes.
    let mut machine = Machine::look(&program)?;
    let scenarios = options.picked();
    if scenarios
        .iter()
        .any(|scenario| matches!(scenario.measure, Measure::Drain))
    {
        drain::receiver()?;
    }
    say(format!("this takes about {}", took(options.seconds())));
    let mut report = Report::default();
    let measured = measure_all(&options, &program, &scenarios, &mut machine, &mut report).await;
    // What was measured before something failed is told all the same.
    println!("{}", report.markdown(false));
    if let Some(path) = &options.json {
        report.write_json(path)?;
    }
    measured?;
    if options.write_docs {
        report.write_docs()?;
    }
    Ok(())
}

async fn measure_all(
    options: &Options,
    program: &Path,
    scenarios: &[&Scenario],
    machine: &mut Machine,
    report: &mut Report,
) -> Result<()> {
    say("starting PostgreSQL and Kafka");
    let servers = Servers::start(program.to_owned()).await?;
    machine.servers = Some(servers.versions().await?);
    for scenario in scenarios {
        say(format!("{}: {}", scenario.name, scenario.about));
        let (plan, mut figures) = (options.plan(scenario), Figures::default());
        measure(&servers, &plan, options, scenario, &mut figures)
            .await
            .with_context(|| format!("measuring {}", scenario.name))?;
        // What could not be measured leaves what is known of it from before.
        if !figures.is_empty() {
            report.add(scenario, machine, &plan, figures);
        }
        // What little there is of --quick takes less room than the clearing takes time.
        if !options.quick {
            servers.clear().await.context("clearing away what is over")?;
        }
    }
    say("stopping the servers");
    Ok(())
}

async fn measure(
    servers: &Servers,
    plan: &Plan,
    options: &Options,
    scenario: &Scenario,
    figures: &mut Figures,
) -> Result<()> {
    match scenario.measure {
        Measure::Idle => idle::measure(servers, plan, figures).await,
        Measure::Latency { load, twice } => latency::measure(servers, plan, load, twice, figures).await,
        Measure::Most { transaction } => latency::most::measure(servers, plan, transaction, figures).await,
        Measure::Tax => tax::measure(servers, plan, figures).await,
        Measure::Start => start::measure(servers, plan, figures).await,
        Measure::Size => start::size(&servers.program, figures),
        Measure::Drain => drain::measure(servers, plan, figures).await,
        Measure::Shape { shape, fewer } => shapes::measure(servers, plan, shape, fewer, figures).await,
        Measure::Sqlite => sqlite::measure(servers, plan, figures).await,
        Measure::Backlog => shapes::backlogs(servers, plan, figures).await,
        Measure::Held => held::measure(servers, plan, figures).await,
        Measure::Beside => beside::measure(servers, plan, figures).await,
        Measure::Away => away::measure(servers, plan, figures).await,
        Measure::Sinks => sinks::measure(servers, plan, &options.sink, figures).await,
        Measure::Peers => peers::measure(servers, plan, options.peers(), figures).await,
    }
}
