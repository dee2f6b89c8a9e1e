//! `onewrite verify`: proves the promise on a person's own database and broker, and leaves no trace.

mod arguments;
mod book;
mod cleanup;
mod cut;
mod derived;
mod faults;
mod latency;
mod limits;
mod load;
mod progress;
mod relay;
mod report;
mod seen;
mod trial;

use std::process;
use std::sync::Arc;

use jiff::Timestamp;
use onewrite_core::Operations;
use onewrite_core::verify::{ProvingGround, ReadBack, Run};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub use self::arguments::Arguments;

use self::cleanup::Cleaner;
use self::derived::Derived;
use self::load::Plan;
use self::progress::Progress;
use self::report::Report;
use self::trial::Trial;
use super::Context;
use crate::configuration::Settings;
use crate::configuration::section::quoted;
use crate::configuration::settings::SinkSettings;
use crate::failure::{EXIT_FAILED, EXIT_INCOMPLETE, Failure};
use crate::{output, wiring};

pub async fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let (settings, opened) = context.open()?;
    let connectors = wiring::connectors(&settings, &context.file())?;
    let ground = settings.source.source_type.ground(&settings.source.section.options)?;
    let tried = tried(arguments, &settings, &connectors)?;
    refuse_obstacles(ground.as_ref()).await?;
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone())?);
    let mut verify = Verify {
        arguments,
        settings: &settings,
        ground,
        operations: opened.operations,
        place: opened.place,
        stop,
        progress: Progress::new(),
    };
    verify.remove_what_was_left(&tried).await?;
    let mut reports = Vec::new();
    for (sink, read_back) in &tried {
        let report = verify.sink(sink, read_back.as_ref()).await?;
        if !arguments.json {
            output::text(&report.text())?;
        }
        reports.push(report);
    }
    let holds = reports.iter().all(|report| report.holds);
    if arguments.json {
        output::json(&json!({"holds": holds, "runs": reports}))?;
    }
    match reports.iter().all(|report| report.left_behind.is_empty()) {
        _ if !holds => Err(Failure::told(EXIT_FAILED)),
        false => Err(Failure::told(EXIT_INCOMPLETE)),
        true => Ok(()),
    }
}

type Tried<'a> = Vec<(&'a SinkSettings, Box<dyn ReadBack>)>;

/// The sinks to try.
fn tried<'a>(
    arguments: &Arguments,
    settings: &'a Settings,
    connectors: &wiring::Connectors,
) -> Result<Tried<'a>, Failure> {
    let read_back = |sink: &SinkSettings| connectors.sinks[&sink.name].read_back();
    if let Some(name) = &arguments.sink {
        let names = || settings.sinks.iter().map(|sink| sink.name.as_str());
        let Some(sink) = settings.sink(name) else {
            return Err(Failure::usage(
                format!("there is no sink {name:?} in the configuration"),
                format!("the sinks are {}", quoted(names())),
            ));
        };
        return match read_back(sink) {
            Ok(destination) => Ok(vec![(sink, destination)]),
            Err(why) => {
                let kind = sink.sink_type.name;
                let words =
                    format!("what arrives at the sink {name:?} of type {kind:?} cannot be read back, since {why}");
                Err(Failure::usage(words, READABLE))
            }
        };
    }
    let mut tried: Tried<'_> = Vec::new();
    for sink in &settings.sinks {
        match read_back(sink) {
            Ok(destination) => tried.push((sink, destination)),
            Err(why) => {
                let (name, kind) = (&sink.name, sink.sink_type.name);
                eprintln!("not tried: the sink {name:?} of type {kind:?}, since {why}");
            }
        }
    }
    if tried.is_empty() {
        return Err(Failure::usage(
            "there is no sink whose events can be read back",
            READABLE,
        ));
    }
    Ok(tried)
}

const READABLE: &str = "verify needs a sink of type kafka, rabbitmq, nats, amqp1, redis, mqtt, sqs or file; `onewrite check` tries every type";

async fn refuse_obstacles(ground: &dyn ProvingGround) -> Result<(), Failure> {
    let obstacles = ground.obstacles().await?;
    if obstacles.is_empty() {
        return Ok(());
    }
    let words = format!(
        "the source's user lacks what verify needs; nothing was written\n  {}",
        obstacles.join("\n  ")
    );
    Err(Failure::failed(anyhow::Error::msg(words)).help(
        "run these as the owner of the schema, or run verify as another user: ONEWRITE__SOURCE__URL=postgres://owner@… onewrite verify",
    ))
}

/// What all runs of a call share.
struct Verify<'a> {
    arguments: &'a Arguments,
    settings: &'a Settings,
    ground: Arc<dyn ProvingGround>,
    operations: Arc<dyn Operations>,
    place: String,
    stop: CancellationToken,
    progress: Progress,
}

impl Verify<'_> {
    /// Removes what runs left behind that were killed.
    async fn remove_what_was_left(&mut self, tried: &Tried<'_>) -> Result<(), Failure> {
        let cleaner = self.cleaner(tried.iter().map(|(_, destination)| destination.as_ref()).collect());
        let mut said = Vec::new();
        for left in cleaner.left_behind().await? {
            let still_there = cleaner.remove(&left.run, &left.relay).await;
            said.push(match still_there.is_empty() {
                true => format!("removed what the run {} had left behind", left.run.name()),
                false => format!(
                    "the run {} had left behind, and still does: {}",
                    left.run.name(),
                    still_there.join("; ")
                ),
            });
        }
        said.iter().for_each(|words| self.progress.say(words));
        Ok(())
    }

    fn cleaner<'b>(&'b self, destinations: Vec<&'b dyn ReadBack>) -> Cleaner<'b> {
        Cleaner {
            ground: self.ground.as_ref(),
            operations: &self.operations,
            destinations,
        }
    }

    /// Tries one sink.
    async fn sink(&mut self, sink: &SinkSettings, read_back: &dyn ReadBack) -> Result<Report, Failure> {
        let run = Run::new(Timestamp::now(), fastrand::u16(..), self.ground.last_sequence().await?);
        let relay_name = run.relay(&self.settings.name);
        let derived = Derived {
            settings: self.settings,
            sink,
            run: &run,
            relay: &relay_name,
            source_differs: self.ground.named(&relay_name),
            sink_differs: read_back.apart(&run.topic()),
        };
        let trial = Trial {
            arguments: self.arguments,
            plan: Plan::of(self.arguments),
            unordered: read_back.unordered(),
            configuration: derived.text(),
            relay_name: relay_name.clone(),
            ground: Arc::clone(&self.ground),
            operations: Arc::clone(&self.operations),
            stop: self.stop.clone(),
            run: run.clone(),
        };
        self.progress.say(&format!(
            "{} → {} ({}), topic {}",
            self.place,
            sink.name,
            sink.sink_type.name,
            run.topic()
        ));
        let found = self.go(&trial, read_back).await;
        let left = if self.arguments.keep {
            self.progress
                .say(&format!("kept: the topic {} and the relay {relay_name}", run.topic()));
            Vec::new()
        } else {
            self.cleaner(vec![read_back]).remove(&run, &relay_name).await
        };
        let found = found.map_err(|error| {
            let failure = Failure::failed(error);
            match left.is_empty() {
                true if self.arguments.keep => failure,
                true => failure.help("there is no verdict; everything that verify made is removed"),
                false => failure.help(format!("there is no verdict; not removed: {}", left.join("; "))),
            }
        })?;
        let mut report = Report::new(&trial, (&sink.name, sink.sink_type.name), &self.place, found);
        report.left_behind = left;
        Ok(report)
    }

    async fn go(&mut self, trial: &Trial<'_>, read_back: &dyn ReadBack) -> anyhow::Result<trial::Outcome> {
        self.ground.begin(&trial.run.share(&trial.relay_name)).await?;
        let reading = read_back.open(&trial.run.topic()).await?;
        trial.run(reading, &mut self.progress).await
    }
}

/// Cancels `stop` on the first signal, so that everything is removed, and ends the process on the second.
fn stop_on_signal(stop: CancellationToken) -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        for already_asked in [false, true] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if already_asked {
                eprintln!("\naborted; the next run an hour from now removes what this one leaves behind");
                process::exit(EXIT_FAILED.into());
            }
            eprintln!("\nstopping, and removing what was made; a second signal aborts");
            stop.cancel();
        }
    })
}
