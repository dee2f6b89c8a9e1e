//! The commands: what each takes on the command line, and what it does.

mod check;
mod confirm;
mod demo;
mod forget;
pub(crate) mod import_debezium;
mod init;
mod migrate;
mod moment;
mod parked;
mod pause;
mod replay;
mod run;
mod status;
mod verify;

use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use onewrite_sources::registry::Opened;

use crate::configuration::{DEFAULT_FILE, Environment, Settings, load};
use crate::failure::Failure;
use crate::{logging, wiring};

/// Carries events from an outbox in your database to a broker: nothing lost, nothing invented, in the order of each key.
#[derive(Debug, Parser)]
#[command(name = "onewrite", version, max_term_width = 120)]
#[command(after_help = "\
A first look:
  onewrite demo                                 the whole promise, with nothing installed
  onewrite init --source sqlite --sink stdout   write a commented onewrite.toml
  onewrite migrate                              create the outbox
  onewrite check                                try everything that the file names
  onewrite run                                  relay until stopped
  onewrite verify                               prove the promise on your own database and broker

Exit codes: 0 all is well, 1 something failed or is broken, 2 the command line or the configuration is wrong.")]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Global {
    /// The configuration [default: ./onewrite.toml]
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What is logged to standard error: a level, or levels by module such as `warn,onewrite_core=debug`
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Arguments),
    Init(init::Arguments),
    Migrate(migrate::Arguments),
    Check(check::Arguments),
    Verify(verify::Arguments),
    Run(run::Arguments),
    Status(status::Arguments),
    Parked(parked::Arguments),
    Replay(replay::Arguments),
    Pause(pause::PauseArguments),
    Resume(pause::ResumeArguments),
    ImportDebezium(import_debezium::Arguments),
    Forget(forget::Arguments),
}

/// Runs a command.
///
/// # Errors
/// What went wrong, with the exit code.
pub fn run(cli: Cli) -> Result<(), Failure> {
    let context = Context {
        environment: Environment::of_process(),
        global: cli.global,
    };
    match cli.command {
        Command::Init(arguments) => init::run(&arguments, &context),
        Command::Run(arguments) => run::run(&arguments, &context),
        Command::ImportDebezium(arguments) => import_debezium::run(&arguments),
        Command::Demo(arguments) => {
            logging::start(&logging::silent(), context.log(), context.log_variable())?;
            runtime()?.block_on(demo::run(&arguments)).map_err(Failure::failed)
        }
        other => {
            logging::start(&logging::quiet(), context.log(), context.log_variable())?;
            runtime()?.block_on(operate(other, &context))
        }
    }
}

async fn operate(command: Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Migrate(arguments) => migrate::run(&arguments, context).await,
        Command::Check(arguments) => check::run(&arguments, context).await,
        Command::Verify(arguments) => verify::run(&arguments, context).await,
        Command::Status(arguments) => status::run(&arguments, context).await,
        Command::Parked(arguments) => parked::run(&arguments, context).await,
        Command::Replay(arguments) => replay::run(&arguments, context).await,
        Command::Pause(arguments) => pause::pause(&arguments, context).await,
        Command::Resume(arguments) => pause::resume(&arguments, context).await,
        Command::Demo(_) | Command::Init(_) | Command::Run(_) | Command::ImportDebezium(_) => {
            unreachable!("these set themselves up")
        }
        Command::Forget(arguments) => forget::run(&arguments, context).await,
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::failed)
}

/// Opens a file for writing that is not there yet, or with `force` is replaced. `help` says what else to do.
fn new_file(file: &str, force: bool, help: &str) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(force).create_new(!force);
    options.open(file).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::usage(format!("{file} is there already"), help),
        _ => Failure::failed(anyhow::Error::new(error).context(format!("{file} cannot be written"))),
    })
}

/// What every command works in.
struct Context {
    environment: Environment,
    global: Global,
}

impl Context {
    /// The configuration's file as the person named it.
    fn file(&self) -> String {
        self.global
            .config
            .as_ref()
            .map_or(DEFAULT_FILE.to_owned(), |path| path.display().to_string())
    }

    fn log(&self) -> Option<&str> {
        self.global.log.as_deref()
    }

    fn log_variable(&self) -> Option<&str> {
        self.environment.get("RUST_LOG")
    }

    fn settings(&self) -> Result<Settings, Failure> {
        Ok(load(self.global.config.as_deref(), &self.environment)?)
    }

    /// The settings, and the database for operators.
    fn open(&self) -> Result<(Settings, Opened), Failure> {
        let settings = self.settings()?;
        let opened = wiring::open(&settings, &self.file())?;
        Ok((settings, opened))
    }
}

/// A route that a person named, checked against the configuration.
fn known_route(settings: &Settings, name: &str) -> Result<(), Failure> {
    let names = || {
        settings
            .routes
            .iter()
            .map(|route| route.name.as_str())
            .chain([onewrite_core::routing::UNROUTED])
    };
    if names().any(|known| known == name) {
        return Ok(());
    }
    let help = match onewrite_core::options::nearest(name, names()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("the routes are {}", crate::configuration::section::quoted(names())),
    };
    Err(Failure::usage(
        format!("there is no route {name:?} in the configuration"),
        help,
    ))
}
