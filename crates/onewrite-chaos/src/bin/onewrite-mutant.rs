//! The relay `onewrite run` with a planted bug between the engine and one of its adapters. The program itself knows nothing of bugs:
//! this puts the same parts together, and wraps one of them.

use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use onewrite_chaos::mutants::Mutant;
use onewrite_cli::configuration::{DEFAULT_FILE, Environment, load};
use onewrite_cli::{logging, wiring};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("onewrite-mutant: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    // Two TLS providers may be linked; whoever asks first without this one installed would panic.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let name = std::env::args()
        .nth(1)
        .context("onewrite-mutant takes the name of a bug")?;
    let mutant = Mutant::named(&name).with_context(|| format!("no bug is called {name:?}"))?;
    let settings = load(None, &Environment::of_process()).map_err(|error| anyhow!("{error}"))?;
    logging::start(&settings.log, None, None).map_err(|failure| anyhow!(failure.text()))?;
    let mut opened = wiring::open(&settings, DEFAULT_FILE).map_err(|failure| anyhow!(failure.text()))?;
    let mut connectors = wiring::connectors(&settings, DEFAULT_FILE).map_err(|failure| anyhow!(failure.text()))?;
    opened.outbox = mutant.outbox(opened.outbox);
    for connector in connectors.routes.values_mut() {
        *connector = mutant.connector(connector.clone());
    }
    let relay = wiring::relay(&settings, &opened, &connectors);
    let stop = CancellationToken::new();
    let (mut terminate, stopped) = (signal(SignalKind::terminate())?, stop.clone());
    tokio::spawn(async move {
        terminate.recv().await;
        stopped.cancel();
    });
    relay.run(stop).await?;
    Ok(())
}
