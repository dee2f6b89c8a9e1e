//! Ticks: tiny transactions of the relay's own that write the present snapshot into the log.
//!
//! All that a tick's snapshot sees has its commit before the tick's own, so whoever has read the log up to a tick has read all
//! that its snapshot sees. A tick commits with `synchronous_commit = on` and only under the lease: it is a fence as well.

use std::sync::Arc;

use onewrite_core::{Lease, StoreError, failpoint};
use postgres_protocol::escape::escape_literal;
use tokio::time::{Instant, sleep_until, timeout};

use super::super::session::{LAST_SEQUENCE, Session};
use super::super::snapshot::Snapshot;
use super::limits::{MARK_BYTES, MARK_INTERVAL, TICK_INTERVAL_MAX, TICK_INTERVAL_MIN};
use super::shared::Shared;

/// The prefix of all logical messages of Onewrite's own.
pub(super) const PREFIX: &[u8] = b"onewrite";

/// A whole tick in one message, so that the server need not be asked again between its statements, nor wait for anybody in the middle.
/// The sequence is read by a statement of its own, before the transaction has its id: transactions with later ids draw later values.
/// The last statement has a row where the lease is still held; the relay's name stands last, since it alone may hold anything.
fn statements(lease: &Lease, writer: i64, number: u64) -> String {
    let (relay, epoch) = (escape_literal(&lease.relay), lease.epoch);
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit = on; SET LOCAL statement_timeout = 0; \
         SELECT set_config('onewrite.low', ({LAST_SEQUENCE})::text, true); \
         SELECT pg_logical_emit_message(true, 'onewrite', concat_ws(' ', 'tick', epoch, {writer}, {number}, pg_current_snapshot(), \
         pg_current_xact_id(), current_setting('onewrite.low'), name)) \
         FROM onewrite.relay WHERE name = {relay} AND epoch = {epoch}; \
         COMMIT"
    )
}

/// What a tick says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    /// It counts from the start of the log feed.
    pub number: u64,
    /// What the database held when it began.
    pub snapshot: Snapshot,
    /// Its own transaction's id.
    pub xid: u64,
    /// The last sequence value drawn before it had that id.
    pub last_sequence: i64,
}

impl Tick {
    /// Reads a message; `None` for a tick of somebody else and for any other message. `low` bounds the sequences of later
    /// transactions, as a fence before this tick found it.
    pub fn read(content: &[u8], lease: &Lease, writer: i64, low: i64) -> Option<Self> {
        let text = std::str::from_utf8(content).ok()?.strip_prefix("tick ")?;
        let mut parts = text.splitn(7, ' ');
        let (epoch, from, number, snapshot) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let (xid, last_sequence, relay) = (parts.next()?, parts.next()?, parts.next()?);
        if relay != lease.relay || epoch.parse() != Ok(lease.epoch) || from.parse() != Ok(writer) {
            return None;
        }
        Some(Self {
            number: number.parse().ok()?,
            snapshot: Snapshot::parse(snapshot, low).ok()?,
            xid: xid.parse().ok()?,
            last_sequence: last_sequence.parse().ok()?,
        })
    }
}

/// Ticks whenever somebody wants one, and from time to time; ends with the first failure.
pub(super) async fn tick(session: Session, shared: Arc<Shared>) -> StoreError {
    let mut marks = match Marks::of(&session).await {
        Ok(marks) => marks,
        Err(error) => return error,
    };
    let (mut earliest, mut due) = (Instant::now(), Instant::now() + TICK_INTERVAL_MAX);
    loop {
        let wanted = timeout(MARK_INTERVAL, shared.wanted()).await.is_ok();
        if wanted || Instant::now() >= due {
            sleep_until(earliest).await;
            earliest = Instant::now() + TICK_INTERVAL_MIN;
            due = Instant::now() + TICK_INTERVAL_MAX;
            if let Err(error) = write(&session, shared.writer(), shared.begin_tick()).await {
                return error;
            }
        }
        if let Err(error) = marks.set(&session, shared.seen()).await {
            return error;
        }
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

async fn write(session: &Session, writer: i64, number: u64) -> Result<(), StoreError> {
    failpoint::reach("tick.before");
    let statements = statements(session.lease(), writer, number);
    let rows = session.statements("writing a tick", &statements).await?;
    failpoint::reach("tick.after");
    session.held(match rows[..] {
        [.., held, _committed] => held,
        _ => 0,
    })
}

#[cfg(test)]
mod tests {
    use onewrite_core::routing::Group;

    use super::*;

    #[test]
    fn a_tick_is_read_by_the_relay_that_wrote_it() {
        let lease = |epoch, relay: &str| Lease {
            relay: relay.to_owned(),
            group: Group::ALL,
            holder: String::new(),
            epoch,
        };
        let content = b"tick 7 -9 3 10:20:12,15 20 41 shop of mine";
        let tick = Tick::read(content, &lease(7, "shop of mine"), -9, 5).expect("a tick");
        assert_eq!((tick.number, tick.xid, tick.last_sequence), (3, 20, 41));
        assert_eq!((tick.snapshot.text(), tick.snapshot.low), ("10:20:12,15", 5));
        assert_eq!(Tick::read(content, &lease(8, "shop of mine"), -9, 5), None);
        assert_eq!(Tick::read(content, &lease(7, "shop of mine"), 9, 5), None);
        assert_eq!(Tick::read(content, &lease(7, "shop"), -9, 5), None);
        assert_eq!(Tick::read(b"", &lease(7, "shop"), -9, 5), None);
        assert_eq!(Tick::read(b"tick 7 -9 x 1:1: 1 1 shop", &lease(7, "shop"), -9, 5), None);
    }
}
