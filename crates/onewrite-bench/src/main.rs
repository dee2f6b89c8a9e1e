//! `./x bench`: measures the program, as it is released, against the raw limits of the machine it runs on. The method is told
//! in docs/benchmarks.md.

mod beside;
mod broker;
mod docs;
mod drain;
mod held;
mod idle;
mod latency;
mod machine;
mod options;
mod peers;
mod process;
mod progress;
mod relay;
mod report;
mod servers;
mod sinks;
mod slots;
mod spread;
mod tax;
mod workload;

use anyhow::{Context, Result};
use clap::Parser;

use machine::Machine;
use options::{Options, Part};
use progress::say;
use report::Report;
use servers::Servers;

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    if options.list_peers {
        options.peers().iter().for_each(|peer| println!("peer {}", peer.word()));
        return Ok(());
    }
    // reqwest asks for one, also where no TLS is spoken; a second call finds it there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let program = options.program()?;
    // What is told about the program is asked first: a wrong one should not cost minutes.
    let machine = Machine::look(&program)?;
    let receiver = options.wants(Part::Drain).then(drain::receiver).transpose()?;
    say("starting PostgreSQL and Kafka");
    let servers = Servers::start(program).await;
    let plan = options.plan();
    let mut report = Report::new(machine, &plan);
    if options.wants(Part::Idle) {
        report.idle = Some(
            idle::measure(&servers, &plan)
                .await
                .context("measuring the idle relay")?,
        );
    }
    if options.wants(Part::Latency) {
        report.latency = Some(latency::measure(&servers, &plan).await.context("measuring latency")?);
    }
    if options.wants(Part::Tax) {
        report.tax = Some(
            tax::measure(&servers, &plan)
                .await
                .context("measuring the producer's tax")?,
        );
    }
    if let Some(receiver) = receiver {
        let runs = drain::measure(&servers, &plan, receiver).await;
        report.drain = Some(runs.context("measuring the drain")?);
    }
    if options.wants(Part::Held) {
        let runs = held::measure(&servers, &plan).await;
        report.held = Some(runs.context("measuring beside a transaction that stays open")?);
    }
    if options.wants(Part::Beside) {
        let runs = beside::measure(&servers, &plan).await;
        report.beside = Some(runs.context("measuring a route beside one whose broker is down")?);
    }
    if options.wants(Part::Sinks) {
        let runs = sinks::measure(&servers, &plan, &options.sink).await;
        report.sinks = Some(runs.context("measuring the sinks")?);
    }
    if options.wants(Part::Peers) {
        let runs = peers::measure(&servers, &plan, options.peers()).await;
        report.peers = Some(runs.context("measuring other products")?);
    }
    say("stopping the servers");
    drop(servers);
    let text = report::markdown(&report);
    println!("{text}");
    if let Some(path) = &options.json {
        let json = serde_json::to_vec_pretty(&report)?;
        std::fs::write(path, json).with_context(|| format!("writing {}", path.display()))?;
    }
    if options.write_docs {
        docs::write(&text)?;
    }
    Ok(())
}
