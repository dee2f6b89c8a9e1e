//! `onewrite run`: the relay.

use clap::Args;
use onewrite_formats::registry::NATIVE;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Context, runtime};
use crate::configuration::{Settings, supervised};
use crate::failure::{EXIT_FAILED, Failure};
use crate::{logging, wiring};

/// Relays events until it is stopped
///
/// On SIGTERM or SIGINT it takes no more events, lets deliveries under way come to rest, records them, gives its leases up and
/// exits with 0. A second signal aborts at once; nothing is lost by that, but some events are delivered twice.
///
/// Start it twice under one name for a standby: the second process takes over when the first is gone. With `groups` in the
/// configuration the processes of one name share the work, and take over from each other in the same way.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onewrite run                              with ./onewrite.toml
  onewrite run -c /etc/onewrite/shop.toml
  onewrite run --log debug
  ONEWRITE__SOURCE__URL=postgres://onewrite@db/shop onewrite run

Exit codes: 0 stopped as asked, 1 failed, 2 the command line or the configuration is wrong.")]
pub struct Arguments {
    /// Takes the configuration from standard input, and stops when that ends: how `onewrite verify` runs its own relay, with no
    /// secret on the disk, and none that outlives it
    #[arg(long, hide = true)]
    supervised: bool,
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let settings = match arguments.supervised {
        true => supervised::receive()?,
        false => context.settings()?,
    };
    logging::start(&settings.log, context.log(), context.log_variable())?;
    runtime()?.block_on(relay(&settings, &context.file(), arguments.supervised))
}

async fn relay(settings: &Settings, file: &str, is_supervised: bool) -> Result<(), Failure> {
    let opened = wiring::open(settings, file)?;
    let connectors = wiring::connectors(settings, file)?;
    let relay = wiring::relay(settings, &opened, &connectors);
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone())?);
    if is_supervised {
        let stop = stop.clone();
        supervised::when_alone(move || stop.cancel());
    }
    for warning in &settings.warnings {
        tracing::warn!("{}", warning.line(file));
    }
    tracing::info!(
        relay = %settings.name,
        source = %format!("{}: {}", settings.source.source_type.name, opened.place),
        routes = %routes(settings),
        "onewrite {} starts",
        env!("CARGO_PKG_VERSION")
    );
    relay.run(stop).await?;
    tracing::info!(relay = %settings.name, "onewrite has stopped");
    Ok(())
}

/// The routes in one line: `orders (shop.*) → events (kafka, avro)`.
fn routes(settings: &Settings) -> String {
    let route = |route: &crate::configuration::route::RouteSettings| {
        let sink_type = settings.sink(&route.sink).map_or("", |sink| sink.sink_type.name);
        let topic = route.wanted.topic.as_ref().map_or("*", |topic| topic.as_str());
        let format = match route.format.as_str() {
            NATIVE => String::new(),
            format => format!(", {format}"),
        };
        format!("{} ({topic}) → {} ({sink_type}{format})", route.name, route.sink)
    };
    settings.routes.iter().map(route).collect::<Vec<_>>().join(", ")
}

/// Cancels `stop` on the first signal and ends the process on the second.
fn stop_on_signal(stop: CancellationToken) -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        for already_asked in [false, true] {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if already_asked {
                tracing::error!(
                    signal = name,
                    "aborted by a second signal; some events will be delivered twice"
                );
                std::process::exit(EXIT_FAILED.into());
            }
            tracing::info!(
                signal = name,
                "stopping: finishing what is under way; a second signal aborts"
            );
            stop.cancel();
        }
    })
}
