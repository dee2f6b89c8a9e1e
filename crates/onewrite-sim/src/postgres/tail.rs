//! The reader of the log, as PostgreSQL's source has one: it writes ticks, reads what was logged, and brings it to the routes.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use onewrite_core::routing::Share;
use onewrite_core::{Lease, Position, StoreError, StoreFailure};
use onewrite_sources::postgres::feed::{Log, LogRow, Shared, Subscription, Tick};
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
        let shared = Arc::new(Shared::new());
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

    /// Writes ticks, whenever somebody wants one and from time to time.
    async fn tick(&self, session: Session) -> Result<std::convert::Infallible, StoreError> {
        loop {
            let _nobody_wants_one = timeout(self.window.clock().lasts(TICK_INTERVAL), self.shared.wanted()).await;
            self.window.thaw().await;
            let number = self.shared.begin_tick();
            let low = self.database.call_unflushed(|state| Ok(state.last_sequence)).await?;
            let snapshot = self
                .database
                .call_unflushed(|state| Ok(self.registry.take(state, 0)))
                .await?;
            let mut transaction = self.database.begin();
            pause().await;
            self.window.thaw().await;
            let held = |state: &mut State| state.serve(session).and_then(|()| state.fence(&self.lease));
            self.database.call_unflushed(held).await?;
            let (Lease { epoch, relay, .. }, writer) = (&self.lease, self.shared.writer());
            let (snapshot, xid) = (snapshot.text(), transaction.xid());
            transaction.emit(format!("tick {epoch} {writer} {number} {snapshot} {xid} {low} {relay}"));
            transaction.log();
            pause().await;
            transaction.commit();
        }
    }

    /// Reads on from a place in the log.
    async fn read(&self, mut place: usize, session: Session) -> Result<std::convert::Infallible, StoreError> {
        let (mut changes, mut low) = (self.database.changes(), 0);
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
            self.take(logged, &mut low).await;
        }
    }

    fn slot(&self) -> String {
        format!("{} {}", self.lease.relay, self.lease.group)
    }

    async fn take(&self, logged: Logged, low: &mut i64) {
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
        let tick = |content: String| Tick::read(content.as_bytes(), &self.lease, self.shared.writer(), *low);
        if let Some(tick) = logged.message.and_then(tick) {
            *low = tick.last_sequence;
            self.shared.tick(tick);
        }
        self.shared.transaction(false);
    }
}

/// For a moment others act, mostly.
pub async fn pause() {
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
