//! A relay in miniature that goes on through whatever befalls the database, as the engine does.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use onewrite_core::routing::Share;
use onewrite_core::{Lease, Outbox, StoreError, StoreFailure};
use onewrite_testkit::servers::{Database, Postgres};
use tokio_postgres::NoTls;

use super::fixture::{LIMIT, RELAY, Reader, TTL, append, everything, open, payloads, run};

/// How long anything may take that must come to pass.
const PATIENCE: Duration = Duration::from_secs(120);

/// Routes of one relay. Everything that comes is settled at once.
pub struct Relay {
    pub database: Database,
    texts: Vec<(&'static str, String)>,
    outbox: Arc<dyn Outbox>,
    lease: Option<Lease>,
    pub routes: Vec<Route>,
}

/// A route and what came under it.
pub struct Route {
    share: Share,
    reader: Option<Reader>,
    /// Whether it reads at all.
    pub reads: bool,
    /// Payloads, in the order in which they came first.
    pub came: Vec<String>,
    seen: HashSet<String>,
}

/// What the database says of the relay.
#[derive(Debug, Default)]
pub struct Told {
    /// `wal` or `poll`.
    pub feed: String,
    pub reason: String,
    /// The slot, while a walsender reads from it: one that is being made has a process as well.
    pub slot: Option<String>,
}

impl Relay {
    /// A relay with one route in a new outbox on this server.
    pub async fn new(server: &Postgres, feed: &str) -> Self {
        Self::of(migrated(server).await, feed, everything())
    }

    /// A relay of these routes on an outbox that is there.
    pub fn of(database: Database, feed: &str, shares: Vec<Share>) -> Self {
        let url = database.url.clone();
        Self::under(database, &url, feed, shares)
    }

    /// The same for a relay that has an address of its own.
    pub fn under(database: Database, url: &str, feed: &str, shares: Vec<Share>) -> Self {
        let route = |share| Route {
            share,
            reader: None,
            reads: true,
            came: Vec::new(),
            seen: HashSet::new(),
        };
        let texts = vec![("url", url.to_owned()), ("feed", feed.to_owned())];
        Self {
            database,
            outbox: outbox(&texts),
            texts,
            lease: None,
            routes: shares.into_iter().map(route).collect(),
        }
    }

    /// One round: the lease is renewed, and every route reads and settles what there is.
    ///
    /// # Errors
    /// What a person must mend; what passes by itself is left for the next round.
    pub async fn step(&mut self) -> Result<(), StoreError> {
        let failure = match self.round().await {
            Ok(()) => return Ok(()),
            Err(error) if error.failure == StoreFailure::Refused => return Err(error),
            Err(error) => error.failure,
        };
        self.routes.iter_mut().for_each(|route| route.reader = None);
        if failure == StoreFailure::Fenced {
            self.lease = None;
        }
        Ok(())
    }

    async fn round(&mut self) -> Result<(), StoreError> {
        let lease = self.lead().await?;
        self.outbox.renew(&lease, TTL, &[]).await?;
        self.read().await
    }

    /// Reads and settles what there is, under the lease that is held.
    ///
    /// # Errors
    /// Whatever keeps it from that.
    pub async fn read(&mut self) -> Result<(), StoreError> {
        let lease = self.lead().await?;
        for route in self.routes.iter_mut().filter(|route| route.reads) {
            let reader = match &mut route.reader {
                Some(reader) => reader,
                empty => empty.insert(Reader::new(self.outbox.feed(&lease, &route.share).await?)),
            };
            loop {
                let events = reader.next(LIMIT).await?;
                if events.is_empty() {
                    break;
                }
                for payload in payloads(&events) {
                    if route.seen.insert(payload.clone()) {
                        route.came.push(payload);
                    }
                }
                events.iter().for_each(|event| reader.ledger.settle(event.position));
                reader.record().await?;
            }
        }
        Ok(())
    }

    async fn lead(&mut self) -> Result<Lease, StoreError> {
        if let Some(lease) = &self.lease {
            return Ok(lease.clone());
        }
        let held = || StoreError::new(StoreFailure::Unavailable, "another holds the lease");
        let lease = self.outbox.acquire(RELAY, "test", TTL).await?.ok_or_else(held)?;
        let shares: Vec<Share> = self.routes.iter().map(|route| route.share.clone()).collect();
        self.outbox.adopt(&lease, &shares).await?;
        Ok(self.lease.insert(lease).clone())
    }

    /// Goes on until there is an answer.
    pub async fn until<T>(&mut self, what: &str, mut ask: impl AsyncFnMut(&Self) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut round = tokio::time::interval(Duration::from_millis(5));
        loop {
            self.step().await.unwrap_or_else(|error| panic!("{what}: {error}"));
            if let Some(answer) = ask(self).await {
                return answer;
            }
            assert!(
                Instant::now() < deadline,
                "{what}: not within {PATIENCE:?}; {:?}, came {:?}",
                self.told().await,
                self.routes.iter().map(|route| route.came.len()).collect::<Vec<_>>()
            );
            round.tick().await;
        }
    }

    /// Goes on until the relay reads from its slot, and returns the slot's name.
    pub async fn follow(&mut self) -> String {
        self.until("the relay follows the log", async |relay| {
            let told = relay.told().await;
            told.slot.filter(|_| told.feed == "wal")
        })
        .await
    }

    /// Goes on until the relay polls, and returns why.
    pub async fn poll(&mut self) -> String {
        self.until("the relay polls", async |relay| {
            let told = relay.told().await;
            (told.feed == "poll").then_some(told.reason)
        })
        .await
    }

    /// Forgets what came, because the database has.
    pub fn forget(&mut self) {
        for route in &mut self.routes {
            route.came.clear();
            route.seen.clear();
        }
    }

    /// Goes on until exactly these came, in this order, under the first route.
    pub async fn expect(&mut self, expected: &[&str]) {
        self.until(&format!("{expected:?} come"), async |relay| {
            (relay.routes[0].came.len() >= expected.len()).then_some(())
        })
        .await;
        assert_eq!(self.routes[0].came, expected);
    }

    /// Goes on until the relay has to be mended by a person, and returns what it says.
    pub async fn refusal(&mut self) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut round = tokio::time::interval(Duration::from_millis(5));
        loop {
            if let Err(error) = self.step().await {
                return onewrite_core::error::chain(&error);
            }
            assert!(Instant::now() < deadline, "it is not refused: {:?}", self.told().await);
            round.tick().await;
        }
    }

    /// What the database says of the relay; nothing while it does not answer.
    pub async fn told(&self) -> Told {
        const TOLD: &str = "SELECT coalesce(feed, ''), coalesce(feed_reason, ''), \
                            (SELECT slot_name::text FROM pg_replication_slots JOIN pg_stat_replication ON pid = active_pid \
                             WHERE slot_name = slot) \
                            FROM onewrite.relay WHERE name = $1";
        let Ok((client, connection)) = self.database.config().connect(NoTls).await else {
            return Told::default();
        };
        let connection = tokio::spawn(connection);
        let row = client.query_opt(TOLD, &[&RELAY]).await.ok().flatten();
        connection.abort();
        row.map_or_else(Told::default, |row| Told {
            feed: row.get(0),
            reason: row.get(1),
            slot: row.get(2),
        })
    }

    /// Appends events with these payloads, each in a transaction of its own.
    pub async fn append(&self, appended: &[&str]) {
        let client = self.database.connect().await;
        for payload in appended {
            append(&client, "t", None, payload).await;
        }
    }

    /// Stops as a killed process does: nothing is released, connections end. The next step is that of a new process.
    pub async fn crash(&mut self) {
        self.routes.iter_mut().for_each(|route| route.reader = None);
        self.lease = None;
        self.outbox = outbox(&self.texts);
        self.expire().await;
    }

    /// Lets the lease run out, whoever holds it.
    pub async fn expire(&self) {
        sql(
            &self.database,
            "UPDATE onewrite.relay SET expires_at = clock_timestamp()",
        )
        .await;
    }
}

fn outbox(texts: &[(&'static str, String)]) -> Arc<dyn Outbox> {
    let texts: Vec<_> = texts.iter().map(|(name, text)| (*name, text.as_str())).collect();
    open(&texts).expect("an outbox")
}

/// A new database with an empty outbox.
pub async fn migrated(server: &Postgres) -> Database {
    let database = server.database().await;
    let mut client = database.connect().await;
    let options = onewrite::postgres::MigrateOptions::default();
    onewrite::postgres::migrate(&mut client, &options)
        .await
        .expect("the schema");
    database
}

/// Runs a statement on a connection of its own.
pub async fn sql(database: &Database, statement: &str) {
    run(&database.connect().await, statement).await;
}
