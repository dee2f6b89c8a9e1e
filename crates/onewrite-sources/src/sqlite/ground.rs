//! An SQLite outbox as the proving ground of `onewrite verify`.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use onewrite_core::options::Options;
use onewrite_core::routing::Share;
use onewrite_core::verify::{ProvingGround, Run, TransactionEnd, TrialWriter, Written};
use onewrite_core::{StoreError, StoreFailure};
use rusqlite::{Connection, TransactionBehavior};
use uuid::Uuid;

use super::place::Place;
use super::worker::Worker;

/// Deliveries that one transaction of the inbox consumer takes: other writers wait meanwhile.
const RECEIVED_AT_ONCE: usize = 200;

/// [`ProvingGround`] for SQLite.
pub struct SqliteGround(Place);

impl SqliteGround {
    /// The ground that the options of a source of type `sqlite` name. It opens nothing yet.
    ///
    /// # Errors
    /// `Refused`, naming the option that nothing could be made of.
    pub fn from_options(options: &Options) -> Result<Self, StoreError> {
        Ok(Self(Place::from_options(options)?))
    }

    async fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        Worker::open(&self.0).await?.run(doing, work).await
    }
}

#[async_trait]
impl ProvingGround for SqliteGround {
    async fn obstacles(&self) -> Result<Vec<String>, StoreError> {
        // Whoever may write the file may write all of it.
        self.run("opening the file", |_| Ok(Vec::new())).await
    }

    async fn last_sequence(&self) -> Result<i64, StoreError> {
        const LAST: &str = "SELECT coalesce(max(sequence), 0) FROM onewrite_outbox";
        self.run("reading the outbox's sequence", |connection| {
            connection.query_row(LAST, [], |row| row.get(0))
        })
        .await
    }

    async fn begin(&self, share: &Share) -> Result<(), StoreError> {
        const RELAY: &str = "INSERT INTO onewrite_relay (name) VALUES (?1)";
        const ROUTE: &str = "INSERT INTO onewrite_route (relay, name, definition, sequence) \
                             SELECT ?1, ?2, ?3, coalesce(max(sequence), 0) FROM onewrite_outbox";
        let (relay, route, definition) = (share.relay.clone(), share.route.clone(), share.definition());
        self.run("recording where the run begins", move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute(RELAY, [&relay])?;
            transaction.execute(ROUTE, [&relay, &route, &definition])?;
            transaction.commit()
        })
        .await
    }

    async fn writer(&self) -> Result<Box<dyn TrialWriter>, StoreError> {
        Ok(Box::new(Writer(Worker::open(&self.0).await?)))
    }

    async fn committed(&self, run: &Run, _: &[String], ids: &[Uuid]) -> Result<HashSet<Uuid>, StoreError> {
        const LOOK: &str = "SELECT id FROM onewrite_outbox WHERE sequence > ?1 AND topic = ?2";
        let (after, topic) = (run.after, run.topic());
        let wanted: HashSet<Uuid> = ids.iter().copied().collect();
        self.run("looking up events whose COMMIT was not answered", move |connection| {
            let mut statement = connection.prepare(LOOK)?;
            let ids = statement.query_map((after, topic), |row| row.get::<_, String>(0))?;
            let ids: Vec<String> = ids.collect::<Result<_, _>>()?;
            let ids = ids.iter().filter_map(|id| id.parse().ok());
            Ok(ids.filter(|id| wanted.contains(id)).collect())
        })
        .await
    }

    async fn receive(&self, consumer: &str, deliveries: &[Uuid]) -> Result<HashMap<Uuid, u64>, StoreError> {
        let (worker, mut effects) = (Worker::open(&self.0).await?, HashMap::new());
        for chunk in deliveries.chunks(RECEIVED_AT_ONCE) {
            let (ids, consumer) = (chunk.to_vec(), consumer.to_owned());
            let received = worker.run("running the inbox consumer", move |connection| {
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                let first = ids
                    .iter()
                    .map(|id| onewrite::sqlite::receive(&transaction, &consumer, *id));
                match first.collect::<Result<Vec<bool>, _>>() {
                    Ok(first) => transaction.commit().map(|()| Ok(first)),
                    Err(error) => Ok(Err(error)),
                }
            });
            let first = received.await?.map_err(|error| {
                StoreError::new(StoreFailure::Unavailable, "running the inbox consumer").because(error)
            })?;
            for (id, first) in chunk.iter().zip(first) {
                *effects.entry(*id).or_default() += u64::from(first);
            }
        }
        Ok(effects)
    }

    async fn outbox_bytes(&self) -> Result<u64, StoreError> {
        const BYTES: &str = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()";
        self.run("measuring the file", |connection| {
            connection.query_row(BYTES, [], |row| row.get::<_, i64>(0))
        })
        .await
        .map(i64::unsigned_abs)
    }

    async fn remove(&self, run: &Run) -> Result<u64, StoreError> {
        let (after, topic) = (run.after, run.topic());
        self.run("removing what verify wrote", move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute("DELETE FROM onewrite_inbox WHERE consumer = ?1", [&topic])?;
            let written = "DELETE FROM onewrite_outbox WHERE sequence > ?1 AND topic = ?2";
            let written = transaction.execute(written, (after, &topic))?;
            transaction.commit().map(|()| written as u64)
        })
        .await
    }
}

/// Writes as an application does. There is no connection to lose between a transaction and the file, so a COMMIT is never without
/// an answer.
struct Writer(Worker);

#[async_trait]
impl TrialWriter for Writer {
    async fn write(&mut self, events: &[onewrite::Event], end: TransactionEnd) -> Written {
        let events = events.to_vec();
        let written = self.0.run("appending events", move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if let Err(error) = onewrite::sqlite::append_all(&transaction, &events) {
                return Ok(Err(error));
            }
            match end {
                TransactionEnd::RollBack => transaction.rollback().map(|()| Ok(Written::RolledBack)),
                TransactionEnd::Commit | TransactionEnd::Abandon => {
                    transaction.commit().map(|()| Ok(Written::Committed))
                }
            }
        });
        match written.await {
            Ok(Ok(written)) => written,
            Ok(Err(error)) => {
                Written::Failed(StoreError::new(StoreFailure::Unavailable, "appending events").because(error))
            }
            Err(error) => Written::Failed(error),
        }
    }
}
