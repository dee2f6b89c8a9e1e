//! A source's own connection under a lease: transactions in one round trip, and the fence before anything is handed out.
//!
//! Every transaction is sent as a whole, from BEGIN to COMMIT, before the first answer is read. That saves round trips, it
//! works behind a transaction pooler, and a caller that drops the future leaves no transaction open.

use std::sync::atomic::{AtomicBool, Ordering};

use onewrite_core::{Lease, StoreError, StoreFailure, failpoint};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row, SimpleQueryMessage, SimpleQueryRow};

use super::connection::Connector;
use super::error::failed;

/// A statement's parameters.
pub(super) type Parameters<'a> = Vec<(&'a (dyn ToSql + Sync), Type)>;

/// Begins a transaction whose commit is on disk (and on the synchronous standby, where there is one) when it returns,
/// whatever the database's or the role's defaults are. A relay that is held up before its COMMIT reaches the server holds locks;
/// the server ends its session, so that another can take over.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit = on; \
                                SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = '5s'";

/// The same for what a crash of the server may take back: the commit does not wait for the disk. It gets there with whatever is
/// flushed after it, and by itself within three times `wal_writer_delay` (200 ms unless changed); what was committed before it is
/// never taken back without it.
/// Source: PostgreSQL, documentation, "Asynchronous Commit".
pub(super) const BEGIN_UNFLUSHED: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit = off; \
                                          SET LOCAL statement_timeout = 0; \
                                          SET LOCAL idle_in_transaction_session_timeout = '5s'";

/// The same as [`BEGIN`] for reading the outbox. A plan that follows an index costs the same whatever the backlog; the statistics of a
/// table that empties and fills must not talk the planner out of it.
pub(super) const BEGIN_READING: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit = on; SET LOCAL statement_timeout = 0; \
     SET LOCAL idle_in_transaction_session_timeout = '5s'; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off; \
     SET LOCAL enable_mergejoin = off; SET LOCAL enable_hashjoin = off; SET LOCAL jit = off; \
     SET LOCAL max_parallel_workers_per_gather = 0";

/// The last sequence value that was drawn, or less. Whatever is drawn after it was read is higher. The function is the one behind the view
/// `pg_sequences` and waits for who is drawing; a plain read of the sequence's row does not, and finds there, for the moment in which
/// the server logs the next 32 values, the last of those.
/// Source: PostgreSQL 17.7, `nextval_internal` and `pg_sequence_last_value` in `commands/sequence.c`.
pub const LAST_SEQUENCE: &str = "SELECT coalesce(pg_sequence_last_value('onewrite.outbox_sequence'), 0)";

/// Makes the transaction write to the log, so that its commit flushes the log and with it every commit read before; without
/// a row where the lease is another's by now. A transaction that has only an xid would not be flushed. A logical message
/// leaves no dead row behind.
const FENCE: &str =
    "SELECT pg_logical_emit_message(true, 'onewrite', '') FROM onewrite.relay WHERE name = $1 AND epoch = $2";

/// A connection that serves one source for as long as it lives: after the first failure nothing works any more.
pub(super) struct Session {
    client: Client,
    lease: Lease,
    broken: AtomicBool,
}

impl Session {
    /// Connects for the holder of `lease`.
    pub async fn open(connector: &Connector, lease: &Lease) -> Result<Self, StoreError> {
        let client = connector.connect().await?;
        Ok(Self {
            client,
            lease: lease.clone(),
            broken: AtomicBool::new(false),
        })
    }

    /// The lease that it works under.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// The connection.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Runs the statements that `body` sends as one transaction. They must all be sent when `body` is polled first.
    pub async fn transaction<T>(
        &self,
        doing: &str,
        begin: &str,
        body: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, StoreError> {
        self.guarded(doing, async { transaction(&self.client, begin, body).await })
            .await
    }

    /// Runs one statement by itself.
    pub async fn query(&self, doing: &str, sql: &str, parameters: &Parameters<'_>) -> Result<Vec<Row>, StoreError> {
        self.guarded(doing, self.client.query_typed(sql, parameters)).await
    }

    /// Runs statements that are sent as one message, and returns all their rows.
    pub async fn statements(&self, doing: &str, sql: &str) -> Result<Vec<SimpleQueryRow>, StoreError> {
        let answers = self.guarded(doing, self.client.simple_query(sql)).await?;
        let row = |answer| match answer {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        };
        Ok(answers.into_iter().filter_map(row).collect())
    }

    /// Commits a fence by itself and returns the last sequence value drawn before it.
    pub async fn fence(&self) -> Result<i64, StoreError> {
        self.fenced("fencing", BEGIN, async { Ok(()) })
            .await
            .map(|(_, low)| low)
    }

    /// Runs a statement and the fence after it as one transaction. What the statement read may be handed out when this
    /// returns. Also returns the last sequence value drawn before the fence's own transaction id was.
    pub async fn fenced<T>(
        &self,
        doing: &str,
        begin: &str,
        body: impl Future<Output = Result<T, Error>>,
    ) -> Result<(T, i64), StoreError> {
        failpoint::reach("fence.before");
        let (relay, epoch) = (&self.lease.relay, &self.lease.epoch);
        let (value, low, held) = self
            .transaction(doing, begin, async {
                let parameters: Parameters<'_> = vec![(relay, Type::TEXT), (epoch, Type::INT8)];
                let (low, value, held) = futures::join!(
                    self.client.query_typed_one(LAST_SEQUENCE, &[]),
                    body,
                    self.client.execute_typed(FENCE, &parameters)
                );
                let low = low?.get(0);
                Ok((value?, low, held?))
            })
            .await?;
        failpoint::reach("fence.after");
        self.held(held)?;
        Ok((value, low))
    }

    /// Says that the lease is another's when a fenced statement found no row.
    pub fn held(&self, rows: u64) -> Result<(), StoreError> {
        if rows > 0 {
            return Ok(());
        }
        self.broken.store(true, Ordering::Relaxed);
        Err(fenced(&self.lease))
    }

    async fn guarded<T>(&self, doing: &str, work: impl Future<Output = Result<T, Error>>) -> Result<T, StoreError> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(StoreError::new(
                StoreFailure::Unavailable,
                format!("{doing}: the connection failed before"),
            ));
        }
        work.await.map_err(|error| {
            self.broken.store(true, Ordering::Relaxed);
            failed(doing, error)
        })
    }
}

/// Runs the statements that `body` sends when it is polled first as one transaction, in one round trip.
pub(super) async fn transaction<T>(
    client: &Client,
    begin: &str,
    body: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let (begun, value, committed) = futures::join!(client.batch_execute(begin), body, client.batch_execute("COMMIT"));
    begun?;
    let value = value?;
    committed?;
    Ok(value)
}

/// The error of a relay whose lease another holds.
pub(super) fn fenced(lease: &Lease) -> StoreError {
    let words = format!(
        "another process holds the lease of relay {:?} (this one had epoch {})",
        lease.relay, lease.epoch
    );
    StoreError::new(StoreFailure::Fenced, words)
}
