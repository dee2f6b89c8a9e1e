//! An outbox in a database of the test's own, and a source with the engine's own bookkeeping.

use std::sync::Arc;
use std::time::{Duration, Instant};

use onewrite_core::ledger::Ledger;
use onewrite_core::options::Options;
use onewrite_core::routing::{Match, Pattern, Share, shares};
use onewrite_core::source::ParkReason;
use onewrite_core::{BatchLimit, Lease, Outbox, Parking, Position, Source, Sourced, StoreError};
use onewrite_sources::registry::source_type;
use onewrite_testkit::servers::{Database, Postgres};
use tokio_postgres::Client;

pub const RELAY: &str = "shop";
pub const LIMIT: BatchLimit = BatchLimit {
    events: 1_000,
    bytes: 1 << 20,
};
pub const TTL: Duration = Duration::from_secs(600);

/// A migrated database and the outbox in it.
pub struct Fixture {
    pub database: Database,
    pub outbox: Arc<dyn Outbox>,
    /// The application.
    pub application: Client,
}

impl Fixture {
    /// On a server that tests share.
    pub async fn new() -> Self {
        Self::of(Postgres::shared(17).await.database().await).await
    }

    pub async fn of(database: Database) -> Self {
        let mut application = database.connect().await;
        let options = onewrite::postgres::MigrateOptions::default();
        onewrite::postgres::migrate(&mut application, &options)
            .await
            .expect("the schema");
        let outbox = open(&[("url", &database.url)]).expect("an outbox");
        Self {
            database,
            outbox,
            application,
        }
    }

    /// Takes the lease and adopts the routes.
    pub async fn begin(&self, shares: &[Share]) -> Lease {
        // Whoever held it is gone.
        self.sql("UPDATE onewrite.relay SET expires_at = clock_timestamp()")
            .await;
        let lease = self
            .outbox
            .acquire(RELAY, "test", TTL)
            .await
            .expect("an answer")
            .expect("the lease");
        self.outbox.adopt(&lease, shares).await.expect("adopted routes");
        lease
    }

    /// The feed of a single route that takes everything.
    pub async fn feed(&self) -> Reader {
        let lease = self.begin(&everything()).await;
        self.feed_of(&lease, &everything()[0]).await
    }

    pub async fn feed_of(&self, lease: &Lease, share: &Share) -> Reader {
        Reader::new(self.outbox.feed(lease, share).await.expect("a feed"))
    }

    pub async fn redeliveries(&self, lease: &Lease, share: &Share) -> Reader {
        Reader::new(self.outbox.redeliveries(lease, share).await.expect("redeliveries"))
    }

    pub async fn sql(&self, sql: &str) {
        run(&self.application, sql).await;
    }

    /// A number from the database.
    pub async fn number(&self, sql: &str) -> i64 {
        self.application
            .query_one(sql, &[])
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
            .get(0)
    }

    pub async fn append(&self, topic: &str, key: Option<&str>, payload: &str) {
        append(&self.application, topic, key, payload).await;
    }

    /// Appends events with these payloads, each in a transaction of its own.
    pub async fn append_all(&self, payloads: &[&str]) {
        for payload in payloads {
            self.append("t", None, payload).await;
        }
    }
}

/// A PostgreSQL outbox of these options.
pub fn open(texts: &[(&str, &str)]) -> Result<Arc<dyn Outbox>, StoreError> {
    let source = source_type("postgres").expect("it is built in");
    let options = Options::from_texts("source", source.fields, texts).expect("texts that fit");
    source.open(&options).map(|opened| opened.outbox)
}

pub async fn run(client: &Client, sql: &str) {
    client
        .batch_execute(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

pub async fn append(client: &Client, topic: &str, key: Option<&str>, payload: &str) {
    const APPEND: &str = "INSERT INTO onewrite.outbox (topic, key, payload) VALUES ($1, $2, convert_to($3, 'UTF8'))";
    client
        .execute(APPEND, &[&topic, &key, &payload])
        .await
        .expect("an appended event");
}

/// One route, `all`, that takes everything.
pub fn everything() -> Vec<Share> {
    shares(RELAY, &[("all".to_owned(), Match::default())])
}

/// Routes by name and topic pattern.
pub fn routes(routes: &[(&str, &str)]) -> Vec<Share> {
    let topic = |text: &str| Match {
        topic: Some(Pattern::new(text)),
        event_type: None,
    };
    let routes: Vec<_> = routes
        .iter()
        .map(|(name, pattern)| ((*name).to_owned(), topic(pattern)))
        .collect();
    shares(RELAY, &routes)
}

/// A source with its ledger.
pub struct Reader {
    pub source: Box<dyn Source>,
    pub ledger: Ledger,
}

impl Reader {
    pub fn new(source: Box<dyn Source>) -> Self {
        Self {
            source,
            ledger: Ledger::default(),
        }
    }

    pub async fn next(&mut self, limit: BatchLimit) -> Result<Vec<Sourced>, StoreError> {
        let events = self.source.next_batch(limit).await?;
        events.iter().for_each(|event| self.ledger.hand_out(event.position));
        Ok(events)
    }

    /// What is there now, in one batch.
    pub async fn batch(&mut self) -> Vec<Sourced> {
        self.next(LIMIT).await.expect("a batch")
    }

    /// Everything that is there now, in batches of these limits.
    pub async fn drain(&mut self, limit: BatchLimit) -> Vec<Sourced> {
        let mut all = Vec::new();
        loop {
            let events = self.next(limit).await.expect("a batch");
            if events.is_empty() {
                return all;
            }
            all.extend(events);
        }
    }

    /// Looks again and again until so many events came.
    pub async fn wait_for(&mut self, count: usize) -> Vec<Sourced> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut all = self.drain(LIMIT).await;
        while all.len() < count {
            assert!(
                Instant::now() < deadline,
                "{} of {count} events came: {:?}",
                all.len(),
                payloads(&all)
            );
            self.source.wait().await;
            all.extend(self.drain(LIMIT).await);
        }
        all
    }

    /// Settles these events and records it.
    pub async fn settle(&mut self, events: &[Sourced]) {
        events.iter().for_each(|event| self.ledger.settle(event.position));
        self.record().await.expect("recorded progress");
    }

    /// Leaves these events to be tried again.
    pub fn retry(&mut self, events: &[Sourced]) {
        events.iter().for_each(|event| self.ledger.retry(event.position));
    }

    pub async fn record(&mut self) -> Result<(), StoreError> {
        if let Some(settlement) = self.ledger.settlement() {
            self.source.settle(&settlement).await?;
            self.ledger.recorded();
        }
        Ok(())
    }

    pub async fn park(&mut self, event: &Sourced, reason: ParkReason) {
        self.source
            .park(&[parking(event, reason)])
            .await
            .expect("a parked event");
    }
}

pub fn parking(event: &Sourced, reason: ParkReason) -> Parking {
    Parking {
        position: event.position,
        event: event.event.clone(),
        reason,
        attempts: 3,
    }
}

pub fn poison(words: &str) -> ParkReason {
    ParkReason::Poison(words.to_owned())
}

pub fn payloads(events: &[Sourced]) -> Vec<String> {
    events
        .iter()
        .map(|event| String::from_utf8_lossy(&event.event.payload).into_owned())
        .collect()
}

pub fn positions(events: &[Sourced]) -> Vec<Position> {
    events.iter().map(|event| event.position).collect()
}
