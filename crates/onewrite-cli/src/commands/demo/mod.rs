//! `onewrite demo`: the whole promise with nothing installed.
//!
//! An SQLite database with a few accounts; writers that change an account and append an event in one transaction, a tenth of
//! which roll back; a relay; and a subscriber behind HTTP that applies each event through the inbox. On the way the
//! subscriber fails for a while, loses replies, and the relay is killed. At the end the checker compares what was committed
//! with what arrived.

mod shop;
mod subscriber;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};

use onewrite_core::machine::RouteBehaviour;
use onewrite_core::options::Options;
use onewrite_core::promise::{Found, Verdict};
use onewrite_core::relay::{Relay, Route};
use onewrite_core::routing::{Match, Pattern};
use onewrite_core::store::Outbox;
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::shop::{Shop, Tally};
use self::subscriber::{Mood, Subscriber};

/// Shows the whole promise with nothing installed: an SQLite outbox, writers that also roll back, a subscriber that fails for a
/// while, a relay that is killed, and the checker's verdict. Exits with 0 only if everything holds.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  onewrite demo\n  onewrite demo --seconds 30 --writers 8\n  onewrite demo --json")]
pub struct Arguments {
    /// How long the writers write, in seconds.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(4..=3600))]
    seconds: u64,
    /// How many writers there are.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=64))]
    writers: u64,
    /// Print the verdict as JSON on standard output; progress goes to standard error.
    #[arg(long)]
    json: bool,
}

/// How long the backlog may take to drain after the writers have stopped.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);
/// Short, so that the killed relay's successor need not wait long.
const LEASE_TTL: Duration = Duration::from_secs(1);
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

/// Runs the demo.
///
/// # Errors
/// When something could not be set up, the backlog does not drain, or the promise is broken.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("no temporary folder could be made")?;
    let shop = Shop::open(folder.path()).context("the demo's shop could not be set up")?;
    let subscriber = Subscriber::start(folder.path())
        .await
        .context("the demo's subscriber could not be started")?;
    eprintln!(
        "An SQLite outbox, {} writers, a tenth of the transactions rolled back; a subscriber behind",
        arguments.writers
    );
    eprintln!(
        "{}. Watch it fail for a while, lose replies, and see the relay killed.\n",
        subscriber.url()
    );
    let started = Instant::now();
    let writers = shop.start_writers(arguments.writers);
    let relay = play(arguments, &shop, &subscriber, started).await?;
    writers.stop().context("a writer failed")?;
    drain(&shop, &subscriber, started).await?;
    relay.finish().await?;
    let verdict = judge(&shop, &subscriber)?;
    report(arguments, &verdict, &shop.tally(), started.elapsed())?;
    if !verdict.holds() {
        bail!("the promise is broken; this is a bug in Onewrite, please report it with the output above");
    }
    Ok(())
}

/// A relay in this process.
struct Running {
    task: JoinHandle<anyhow::Result<()>>,
    stop: CancellationToken,
}

impl Running {
    fn start(shop: &Shop, subscriber: &Subscriber) -> anyhow::Result<Self> {
        let relay = relay(shop.outbox()?, subscriber)?;
        let stop = CancellationToken::new();
        let token = stop.clone();
        Ok(Self {
            task: tokio::spawn(async move { Ok(relay.run(token).await?) }),
            stop,
        })
    }

    /// Ends it as a crash would: nothing is finished, nothing recorded, the lease not given up.
    async fn kill(self) {
        self.task.abort();
        let _ended_by_the_abort = self.task.await;
    }

    async fn finish(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.task.await.context("the relay panicked")?
    }
}

fn relay(outbox: Arc<dyn Outbox>, subscriber: &Subscriber) -> anyhow::Result<Relay> {
    let http = onewrite_sinks::registry::sink_type("http")?;
    let options = Options::from_texts(
        "sinks.subscriber",
        http.fields,
        &[("url", subscriber.url()), ("timeout", "2s")],
    )
    .map_err(anyhow::Error::msg)?;
    let behaviour = RouteBehaviour::default();
    let backoff = onewrite_core::backoff::Backoff {
        max: Duration::from_secs(1),
        ..behaviour.backoff
    };
    let route = Route {
        name: "orders".to_owned(),
        wanted: Match {
            topic: Some(Pattern::new("shop.*")),
            event_type: None,
        },
        connector: http.build(&options)?,
        behaviour: RouteBehaviour { backoff, ..behaviour },
    };
    let holder = format!("demo, process {}", std::process::id());
    Ok(Relay {
        lease_ttl: LEASE_TTL,
        ..Relay::new("demo", holder, vec![route], outbox)
    })
}

/// The plot: each entry is a share of the whole time in percent, and what happens then.
enum Scene {
    Subscriber(Mood),
    RelayIsKilled,
}

const PLOT: [(u32, Scene, &str); 5] = [
    (
        20,
        Scene::Subscriber(Mood::Refusing),
        "the subscriber now answers 503 to everything",
    ),
    (
        45,
        Scene::Subscriber(Mood::LosingReplies),
        "the subscriber now takes events, but every third reply is lost",
    ),
    (
        65,
        Scene::RelayIsKilled,
        "the relay is killed; another takes over when its lease runs out",
    ),
    (75, Scene::Subscriber(Mood::Well), "the subscriber is well again"),
    (
        100,
        Scene::Subscriber(Mood::Well),
        "the writers stop; the backlog drains",
    ),
];

async fn play(
    arguments: &Arguments,
    shop: &Shop,
    subscriber: &Subscriber,
    started: Instant,
) -> anyhow::Result<Running> {
    let length = Duration::from_secs(arguments.seconds);
    let mut relay = Running::start(shop, subscriber)?;
    for (percent, scene, words) in PLOT {
        let at = started + length * percent / 100;
        while Instant::now() < at {
            tokio::time::sleep_until(at.min(Instant::now() + PROGRESS_INTERVAL)).await;
            progress(shop, subscriber, started);
        }
        if relay.task.is_finished() {
            relay.finish().await?;
            bail!("the relay ended by itself");
        }
        eprintln!("  ---- {words}");
        match scene {
            Scene::Subscriber(mood) => subscriber.set_mood(mood),
            Scene::RelayIsKilled => {
                relay.kill().await;
                relay = Running::start(shop, subscriber)?;
            }
        }
    }
    Ok(relay)
}

async fn drain(shop: &Shop, subscriber: &Subscriber, started: Instant) -> anyhow::Result<()> {
    let deadline = Instant::now() + DRAIN_LIMIT;
    let mut shown = Instant::now();
    while subscriber.distinct() < shop.tally().committed {
        if Instant::now() >= deadline {
            bail!("the backlog did not drain within {DRAIN_LIMIT:?}");
        }
        tokio::time::sleep_until(Instant::now() + Duration::from_millis(20)).await;
        if shown.elapsed() >= PROGRESS_INTERVAL {
            shown = Instant::now();
            progress(shop, subscriber, started);
        }
    }
    progress(shop, subscriber, started);
    Ok(())
}

fn progress(shop: &Shop, subscriber: &Subscriber, started: Instant) {
    let Tally { committed, rolled_back } = shop.tally();
    let (arrived, mood) = (subscriber.distinct(), subscriber.mood());
    let behind = committed.saturating_sub(arrived);
    let seconds = started.elapsed().as_secs_f64();
    eprintln!(
        "  {seconds:5.1} s  committed {committed:>6}  rolled back {rolled_back:>5}  arrived {arrived:>6}  behind {behind:>6}  subscriber {mood}"
    );
}

fn judge(shop: &Shop, subscriber: &Subscriber) -> anyhow::Result<Verdict> {
    let found = Found {
        deliveries: subscriber.deliveries(),
        effects: Some(
            subscriber
                .effects()
                .context("the subscriber's effects could not be read")?,
        ),
        ..Found::default()
    };
    Ok(shop
        .ledger()
        .context("the shop's ledger could not be read")?
        .judge(&found))
}

#[derive(Serialize)]
struct Report<'a> {
    holds: bool,
    seconds: f64,
    transactions: u64,
    #[serde(flatten)]
    verdict: &'a Verdict,
}

fn report(arguments: &Arguments, verdict: &Verdict, tally: &Tally, took: Duration) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    if arguments.json {
        let report = Report {
            holds: verdict.holds(),
            seconds: took.as_secs_f64(),
            transactions: tally.committed + tally.rolled_back,
            verdict,
        };
        serde_json::to_writer_pretty(&mut output, &report)?;
        writeln!(output)?;
    } else {
        let word = if verdict.holds() {
            "The promise holds."
        } else {
            "The promise is BROKEN."
        };
        write!(output, "\n{verdict}\n{word} ({:.1} s)\n", took.as_secs_f64())?;
    }
    Ok(())
}
