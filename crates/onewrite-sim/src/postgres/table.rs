//! The statements of a feed, carried out on the simulated database. Each does by itself what PostgreSQL does in one transaction,
//! so that others come in between.

use std::sync::OnceLock;
use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::routing::Share;
use onewrite_core::windows::Progress;
use onewrite_core::{BatchLimit, Lease, Parking, Position, Sourced, StoreError};
use onewrite_sources::postgres::feed::{Chunk, Present, Snapshot, Table};
use onewrite_testkit::memory::{MemoryDatabase, Row, Session, State};
use tokio::time::sleep;

use super::SnapshotOutbox;
use super::registry::Registry;
use crate::mutant::FeedBug;

/// Payloads above this many bytes are heavy here.
const LIGHT_BYTES: usize = 30;

/// The outbox as one route reads it.
pub struct SimulatedTable {
    database: MemoryDatabase,
    registry: Registry,
    lease: Lease,
    share: Share,
    session: OnceLock<Session>,
    bug: Option<FeedBug>,
}

impl SimulatedTable {
    pub fn new(outbox: &SnapshotOutbox, lease: &Lease, share: &Share) -> Self {
        Self {
            database: outbox.database.clone(),
            registry: outbox.registry.clone(),
            lease: lease.clone(),
            share: share.clone(),
            session: OnceLock::new(),
            bug: outbox.bug,
        }
    }

    /// Does what a session does, which begins with the first of it, and ends in a crash.
    async fn call<T>(&self, work: impl FnOnce(&mut State) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let work = |state: &mut State| {
            self.serve(state)?;
            work(state)
        };
        self.database.call_unflushed(work).await
    }

    fn serve(&self, state: &State) -> Result<(), StoreError> {
        state.serve(*self.session.get_or_init(|| state.session()))
    }

    /// Does `work` and fences it.
    async fn fenced<T>(&self, work: impl FnOnce(&mut State) -> T) -> Result<(T, i64), StoreError> {
        let low = self.last_sequence().await?;
        let done = self.call(|state| Ok(work(state))).await?;
        self.database
            .call(|state| {
                self.serve(state)?;
                state.fence(&self.lease)?;
                let xid = state.server.begin();
                state.server.end(xid);
                Ok(())
            })
            .await?;
        match self.bug {
            Some(FeedBug::BoundAfterFence) => {
                sleep(Duration::from_millis(fastrand::u64(0..300))).await;
                Ok((done, self.last_sequence().await?))
            }
            _ => Ok((done, low)),
        }
    }

    async fn last_sequence(&self) -> Result<i64, StoreError> {
        self.call(|state| Ok(state.last_sequence.cast_signed())).await
    }

    fn read(&self, state: &State, base: &Snapshot, upper: &Snapshot, cursor: u64, room: Room) -> Chunk {
        // What was under way in the base may lie anywhere; what came later lies behind its bound.
        let may_be = |sequence: u64, row: &Row| row.xid < base.xmax() || sequence.cast_signed() > base.low;
        let light = room.light && base.ended_until(upper).next().is_none();
        let mut chunk = Chunk {
            events: Vec::new(),
            is_cut: false,
            is_heavy: false,
        };
        let mut bytes = 0;
        for (sequence, row) in state.rows.range(cursor + 1..) {
            let wanted = row.is_taken_by(&self.share) && upper.sees(row.xid) && !base.sees(row.xid);
            if !wanted || !may_be(*sequence, row) {
                continue;
            }
            chunk.is_heavy = light && row.plain.payload.len() > LIGHT_BYTES;
            chunk.is_cut = chunk.is_heavy || chunk.events.len() >= room.events || bytes >= room.bytes;
            if chunk.is_cut {
                break;
            }
            bytes += row.plain.payload.len();
            chunk.events.push(row.sourced(Position::new(0, *sequence)));
        }
        // Whether there is more is not looked for where a limit was reached.
        chunk.is_cut |= chunk.events.len() >= room.events || bytes >= room.bytes;
        chunk
    }
}

/// How much a chunk may hold.
#[derive(Clone, Copy)]
struct Room {
    events: usize,
    bytes: usize,
    light: bool,
}

impl Room {
    fn of(limit: BatchLimit, light: bool) -> Self {
        Self {
            events: limit.events.max(1),
            bytes: limit.bytes.max(1),
            light,
        }
    }
}

#[async_trait]
impl Table for SimulatedTable {
    fn lease(&self) -> &Lease {
        &self.lease
    }

    async fn load(&mut self) -> Result<(Progress<Snapshot>, i64), StoreError> {
        let Share {
            relay, route, group, ..
        } = &self.share;
        let (progress, low) = self
            .fenced(|state| state.route(relay, route, *group).map(|row| row.progress.clone()))
            .await?;
        Ok((self.registry.restore(&self.share, progress?), low))
    }

    async fn listed(&mut self, sequences: &[i64], limit: BatchLimit) -> Result<(Vec<Sourced>, i64), StoreError> {
        let room = Room::of(limit, false);
        self.fenced(|state| {
            let (mut events, mut bytes) = (Vec::new(), 0);
            let rows = sequences.iter().map(|sequence| sequence.cast_unsigned());
            for (sequence, row) in rows.filter_map(|sequence| Some((sequence, state.rows.get(&sequence)?))) {
                if events.len() >= room.events || bytes >= room.bytes {
                    break;
                }
                if row.is_taken_by(&self.share) {
                    bytes += row.plain.payload.len();
                    events.push(row.sourced(Position::new(0, sequence)));
                }
            }
            events
        })
        .await
    }

    async fn window(
        &mut self,
        base: &Snapshot,
        upper: &Snapshot,
        cursor: u64,
        limit: BatchLimit,
        light: bool,
    ) -> Result<Chunk, StoreError> {
        let room = Room::of(limit, light);
        self.call(|state| Ok(self.read(state, base, upper, cursor, room))).await
    }

    async fn fenced_window(
        &mut self,
        base: &Snapshot,
        upper: &Snapshot,
        cursor: u64,
        limit: BatchLimit,
        light: bool,
    ) -> Result<(Chunk, i64), StoreError> {
        let room = Room::of(limit, light);
        self.fenced(|state| self.read(state, base, upper, cursor, room)).await
    }

    async fn present(&mut self, low: i64) -> Result<Present, StoreError> {
        self.call(|state| {
            Ok(Present {
                snapshot: self.registry.take(state, low),
                last_sequence: state.last_sequence.cast_signed(),
            })
        })
        .await
    }

    async fn fence(&mut self) -> Result<i64, StoreError> {
        self.fenced(|_| ()).await.map(|((), low)| low)
    }

    async fn record(&mut self, progress: &Progress<Snapshot>) -> Result<(), StoreError> {
        self.call(|state| {
            state.fence(&self.lease)?;
            state.record(&self.share, self.registry.record(&self.share, progress))
        })
        .await
    }

    async fn park(&mut self, events: &[Parking]) -> Result<(), StoreError> {
        self.database.set_aside(&self.lease, &self.share, events).await
    }
}
