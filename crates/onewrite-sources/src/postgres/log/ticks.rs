//! Ticks: the snapshots that routes go on to, each with a position in the log before which all that it sees has its commit.
//!
//! Whoever has read the log up to that position has read all that the snapshot sees. As the server sends no log that is not on its
//! disk, all of it is durable, with the ids of all transactions below the snapshot's xmax: each that ended has left its commit or its
//! abort in the log before a snapshot could see its end. So a tick is a fence as well: its snapshot has seen the lease.
//!
//! A tick is a transaction of the relay's own. Where all log is flushed at that moment it writes nothing and costs no flush. Otherwise it
//! writes a message, so that its commit, with `synchronous_commit = on`, flushes what is before it and, where there is a synchronous
//! standby, waits until that has it. A tick counts only once that has answered.

use std::sync::Arc;

use onewrite_core::{Lease, StoreError, StoreFailure, failpoint};
use postgres_protocol::escape::escape_literal;
use tokio::time::{Instant, sleep_until, timeout};

use super::super::session::{LAST_SEQUENCE, Session};
use super::super::snapshot::Snapshot;
use super::limits::{BOUND_ROWS, MARK_BYTES, MARK_INTERVAL, TICK_INTERVAL_MAX, TICK_INTERVAL_MIN};
use super::shared::Shared;
use super::stream::SERVER;

/// A whole tick in one message, so that the server need not be asked again between its statements, nor wait for anybody in the middle.
/// The sequence is read by a statement of its own, before the transaction has its id: transactions with later ids draw later values.
/// The last statement has a row where the lease is still held. Its last column has a value where the transaction writes to the log: it
/// does where not all log is flushed or a synchronous standby has to have it, and from `written_from` on, the last sequence drawn.
fn statements(lease: &Lease, written_from: i64) -> String {
    let (relay, epoch) = (escape_literal(&lease.relay), lease.epoch);
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit = on; SET LOCAL statement_timeout = 0; \
         SELECT set_config('onewrite.low', ({LAST_SEQUENCE})::text, true); \
         SELECT ({SERVER}), pg_current_snapshot(), current_setting('onewrite.low'), \
         age(pg_snapshot_xmax(pg_current_snapshot())::xid), pg_current_wal_insert_lsn() - '0/0', \
         CASE WHEN pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn() \
                OR current_setting('synchronous_standby_names') <> '' \
                OR current_setting('onewrite.low')::bigint >= {written_from} \
         THEN pg_logical_emit_message(true, 'onewrite', '') END \
         FROM onewrite.relay WHERE name = {relay} AND epoch = {epoch}; \
         COMMIT"
    )
}

/// A snapshot to go on to, once all that it sees was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    /// It counts from the start of the log feed.
    pub number: u64,
    /// What the database held when it began.
    pub snapshot: Snapshot,
    /// Transactions with ids from this one on had none when it began.
    pub xid: u64,
    /// The last sequence value drawn before such a transaction had its id.
    pub last_sequence: i64,
}

/// Ticks whenever somebody wants one, and from time to time; ends with the first failure. `server` is the one that sends the log.
pub(super) async fn tick(session: Session, server: &str, shared: Arc<Shared>) -> StoreError {
    let mut marks = match Marks::of(&session).await {
        Ok(marks) => marks,
        Err(error) => return error,
    };
    let (mut earliest, mut due) = (Instant::now(), Instant::now() + TICK_INTERVAL_MAX);
    let mut low = None;
    loop {
        let wanted = timeout(MARK_INTERVAL, shared.wanted()).await.is_ok();
        if wanted || Instant::now() >= due {
            sleep_until(earliest).await;
            earliest = Instant::now() + TICK_INTERVAL_MIN;
            due = Instant::now() + TICK_INTERVAL_MAX;
            if let Err(error) = take(&session, server, &shared, &mut low).await {
                return error;
            }
        }
        if let Err(error) = marks.set(&session, shared.seen()).await {
            return error;
        }
    }
}

/// Takes one tick. `low` is the last sequence drawn before the last tick that wrote to the log: to every later snapshot, the transactions
/// that draw higher ones are at or above its xmax.
async fn take(session: &Session, server: &str, shared: &Shared, low: &mut Option<i64>) -> Result<(), StoreError> {
    failpoint::reach("tick.before");
    let number = shared.begin_tick();
    let written_from = low.map_or(i64::MIN, |low| low.saturating_add(BOUND_ROWS));
    let statements = statements(session.lease(), written_from);
    let rows = session.statements("taking a tick", &statements).await?;
    failpoint::reach("tick.after");
    // The first row is that of the sequence.
    session.held(rows.len().saturating_sub(1) as u64)?;
    let columns: Vec<_> = (0..rows[1].len()).map(|column| rows[1].get(column)).collect();
    let taken = Taken::read(&columns, number, low.unwrap_or_default());
    let taken = taken.ok_or_else(|| unavailable(format!("a tick came as {columns:?}")))?;
    if taken.server != server {
        // A position of one server's log says nothing of another's.
        return Err(unavailable(
            "the connections for statements and for the log lead to different servers".to_owned(),
        ));
    }
    if taken.is_written {
        *low = Some(taken.tick.last_sequence);
    }
    shared.tick(taken.position, taken.tick);
    Ok(())
}

fn unavailable(words: String) -> StoreError {
    StoreError::new(StoreFailure::Unavailable, words)
}

/// A tick as the server answers.
#[derive(Debug, PartialEq, Eq)]
struct Taken<'a> {
    server: &'a str,
    tick: Tick,
    /// Before this position of the log is the commit of all that its snapshot sees.
    position: u64,
    is_written: bool,
}

impl<'a> Taken<'a> {
    fn read(columns: &[Option<&'a str>], number: u64, low: i64) -> Option<Self> {
        let &[
            Some(server),
            Some(snapshot),
            Some(last_sequence),
            Some(ids_after),
            Some(position),
            written,
        ] = columns
        else {
            return None;
        };
        let snapshot = Snapshot::parse(snapshot, low).ok()?;
        let tick = Tick {
            number,
            xid: snapshot.xmax().checked_add(ids_after.parse().ok()?)?,
            snapshot,
            last_sequence: last_sequence.parse().ok()?,
        };
        Some(Self {
            server,
            tick,
            position: position.parse().ok()?,
            is_written: written.is_some(),
        })
    }
}

/// The server's marks in the log from which a slot can begin: what lies behind the last one it keeps, though it was seen.
struct Marks {
    /// From PostgreSQL 16 on, for superusers and whom they let.
    allowed: bool,
    /// How far the log was seen when the last was set.
    at: u64,
}

impl Marks {
    async fn of(session: &Session) -> Result<Self, StoreError> {
        const ALLOWED: &str = "SELECT coalesce(has_function_privilege(to_regprocedure('pg_catalog.pg_log_standby_snapshot()')::oid, \
                               'EXECUTE'), false)";
        let rows = session.query("asking for a privilege", ALLOWED, &Vec::new()).await?;
        let allowed = rows.first().is_some_and(|row| row.get(0));
        Ok(Self { allowed, at: 0 })
    }

    async fn set(&mut self, session: &Session, seen: u64) -> Result<(), StoreError> {
        const SET: &str = "SELECT pg_log_standby_snapshot() IS NOT NULL";
        if !self.allowed || seen.saturating_sub(self.at) < MARK_BYTES {
            return Ok(());
        }
        self.at = seen;
        session
            .query("marking where the slot can begin", SET, &Vec::new())
            .await
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_read_as_the_server_answers() {
        let mut columns = [Some("9"), Some("10:20:12,15"), Some("41"), Some("3"), Some("77"), None];
        let taken = Taken::read(&columns, 5, 30).expect("a tick");
        assert_eq!((taken.server, taken.position, taken.is_written), ("9", 77, false));
        assert_eq!(
            (taken.tick.number, taken.tick.xid, taken.tick.last_sequence),
            (5, 23, 41)
        );
        assert_eq!(
            (taken.tick.snapshot.text(), taken.tick.snapshot.low),
            ("10:20:12,15", 30)
        );
        columns[5] = Some("0/4D");
        assert!(Taken::read(&columns, 5, 30).is_some_and(|taken| taken.is_written));
        columns[3] = Some("-1");
        assert_eq!(Taken::read(&columns, 5, 30), None);
        assert_eq!(Taken::read(&columns[..5], 5, 30), None);
    }
}
