//! The reader of the log, as PostgreSQL's source has one: it writes ticks, reads what was logged, and brings it to the routes.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use onewrite_core::routing::Share;
use onewrite_core::{Lease, Position, StoreError, StoreFailure};
use onewrite_sources::postgres::feed::{Log, LogRow, Shared, Snapshot, Subscription, Tick};
use onewrite_testkit::memory::{Logged, MemoryDatabase, PlainRow, Row, Session, State};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::SnapshotOutbox;
use super::registry::Registry;
use crate::mutant::FeedBug;
use crate::process::Window;

/// The longest time without a tick, and the pause after the log could not be read.
const TICK_INTERVAL: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(200);

/// Reads the log as long as it lives.
pub struct Tail {
    shared: Arc<Shared>,
    _reading: AbortOnDropHandle<()>,
}

impl Tail {
    pub fn start(outbox: &SnapshotOutbox, lease: &Lease) -> Self {
        let shared = Arc::new(Shared::default());
        let reader = Reader {
            database: outbox.database.clone(),
            window: outbox.window.clone(),
            registry: outbox.registry.clone(),
            bug: outbox.bug,
            lease: lease.clone(),
            shared: shared.clone(),
        };
        Self {
            shared,
            _reading: AbortOnDropHandle::new(tokio::spawn(reader.run())),
        }
    }
}

impl Log for Tail {
    fn subscribe(&self, share: &Share) -> Option<Subscription> {
        Subscription::new(&self.shared, share)
    }

    fn is_fenced(&self) -> bool {
        self.shared.is_fenced()
    }
}

struct Reader {
    database: MemoryDatabase,
    window: Window,
    registry: Registry,
    bug: Option<FeedBug>,
    lease: Lease,
    shared: Arc<Shared>,
}

impl Reader {
    async fn run(self) {
        loop {
            let Err(error) = self.follow().await;
            if self.bug != Some(FeedBug::KeepsBrokenQueue) {
                self.shared.stream_ended();
            }
            if error.failure == StoreFailure::Fenced {
                return self.shared.fence();
            }
            sleep(self.window.clock().lasts(RETRY)).await;
        }
    }

    /// Follows the log until that fails.
    async fn follow(&self) -> Result<std::convert::Infallible, StoreError> {
        self.window.thaw().await;
        // A slot that is not there is made where the log ends now.
        let (begin, session) = self
            .database
            .call(|state| {
                state.fence(&self.lease)?;
                let end = state.server.log.len();
                let begin = *state.server.slots.entry(self.slot()).or_insert(end);
                Ok((begin, state.session()))
            })
            .await?;
        self.shared.stream_began();
        self.shared.want();
        tokio::select! {
            biased;
            failed = self.tick(session) => failed,
            failed = self.read(begin, session) => failed,
        }
    }

    /// Ticks whenever somebody wants one and from time to time. Where all log is flushed, a tick writes nothing: here by chance.
    async fn tick(&self, session: Session) -> Result<std::convert::Infallible, StoreError> {
        let mut low = None;
        loop {
            let _nobody_wants_one = timeout(self.window.clock().lasts(TICK_INTERVAL), self.shared.wanted()).await;
            self.window.thaw().await;
            let number = self.shared.begin_tick();
            let last_sequence = self.last_sequence().await?;
            let snapshot = self.snapshot(session, low.unwrap_or_default()).await?;
            pause().await;
            let end = |state: &mut State| Ok((state.server.log.len() as u64, state.server.next()));
            let (end, xid) = self.database.call_unflushed(end).await?;
            if low.is_none() || fastrand::bool() {
                self.write(session).await?;
                low = Some(last_sequence);
            }
            let tick = Tick {
                number,
                snapshot,
                xid,
                last_sequence,
            };
            let position = match self.bug {
                Some(FeedBug::AheadOfTheLog) => 0,
                _ => end,
            };
            self.shared.tick(position, tick);
        }
    }

    /// Commits a transaction of no rows, as a tick does that has to flush the log.
    async fn write(&self, session: Session) -> Result<(), StoreError> {
        let mut transaction = self.database.begin();
        pause().await;
        self.window.thaw().await;
        self.database.call_unflushed(|state| state.serve(session)).await?;
        transaction.log();
        pause().await;
        transaction.commit();
        Ok(())
    }

    async fn last_sequence(&self) -> Result<i64, StoreError> {
        let last = |state: &mut State| Ok(state.last_sequence.cast_signed());
        self.database.call_unflushed(last).await
    }

    /// Takes a snapshot with this bound, and sees in it whether the lease is still held.
    async fn snapshot(&self, session: Session, low: i64) -> Result<Snapshot, StoreError> {
        let taken = |state: &mut State| {
            state.serve(session)?;
            state.fence(&self.lease)?;
            Ok(self.registry.take(state, low))
        };
        self.database.call_unflushed(taken).await
    }

    /// Reads on from a place in the log.
    async fn read(&self, mut place: usize, session: Session) -> Result<std::convert::Infallible, StoreError> {
        let mut changes = self.database.changes();
        loop {
            self.window.thaw().await;
            changes.see();
            let confirms = fastrand::bool();
            let next = self
                .database
                .call_unflushed(|state| {
                    state.serve(session)?;
                    let Some(slot) = state.server.slots.get_mut(&self.slot()) else {
                        return Err(StoreError::new(StoreFailure::Unavailable, "the slot is gone"));
                    };
                    if confirms {
                        *slot = place;
                    }
                    Ok(state.server.log.get(place).cloned())
                })
                .await?;
            let Some(logged) = next else {
                changes.changed().await;
                continue;
            };
            place += 1;
            pause().await;
            self.take(logged).await;
            self.shared.saw(place as u64);
        }
    }

    fn slot(&self) -> String {
        format!("{} {}", self.lease.relay, self.lease.group)
    }

    async fn take(&self, logged: Logged) {
        self.shared.transaction(true);
        let heard = self.shared.is_heard();
        for (sequence, plain) in logged.rows.into_iter().filter(|_| heard) {
            if plain.is_in(self.lease.group)
                && let Some(receiver) = self.shared.receiver(&plain.topic, plain.event_type.as_deref())
            {
                self.shared.push(receiver, row(logged.xid, sequence, plain));
            }
            // A route may subscribe in the middle of a transaction.
            tokio::task::yield_now().await;
        }
        self.shared.transaction(false);
    }
}

/// For a moment others act, mostly.
async fn pause() {
    match fastrand::u64(0..4) {
        0 => {}
        1 => tokio::task::yield_now().await,
        _ => sleep(Duration::from_millis(fastrand::u64(0..30))).await,
    }
}

fn row(xid: u64, sequence: u64, plain: PlainRow) -> LogRow {
    let row = Row {
        commit: 0,
        xid,
        plain,
        occurred_at: Timestamp::now(),
    };
    let sourced = row.sourced(Position::new(0, sequence));
    LogRow {
        xid,
        sequence,
        event: sourced.event,
        defect: sourced.defect,
    }
}
