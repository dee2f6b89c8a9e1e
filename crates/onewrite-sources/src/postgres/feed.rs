//! The feed of a route: the differences of snapshots, one after the other.
//!
//! What a difference holds is read from the table, or comes over the log where the feed follows it. Both ways end at the same
//! snapshots and hand out in the same order, so a feed changes from one to the other at any time.

mod following;
mod table;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::limits::MAINTENANCE_INTERVAL;
use onewrite_core::routing::Share;
use onewrite_core::windows::{CARRIED, Windows};
use onewrite_core::{BatchLimit, Parking, Position, Settlement, Source, Sourced, StoreError, StoreFailure};
use tokio::time::Instant;

use self::following::Following;
use super::log::Window;
use super::reading::is_cut;
use super::session::fenced;
use crate::pace::Pace;

pub use self::following::Log;
pub use self::table::{Chunk, Present, Table};
pub use super::log::{LogRow, Shared, Subscription, Tick};
pub use super::snapshot::Snapshot;

/// Shortest time between two moves past rows that concern other routes: each costs a commit and an update.
const PASS_INTERVAL: Duration = Duration::from_secs(1);

/// Rows of other routes after which to move past them at once: reading over them again takes milliseconds by then.
const PASS_ROWS: i64 = 10_000;

/// How many chunks are measured after a payload that is not light: such payloads come together.
const HEAVY_CHUNKS: u32 = 16;

/// Hands out a route's events.
pub struct Feed<T> {
    table: T,
    windows: Windows<Snapshot>,
    /// How many of the carried events were read again.
    carried_read: usize,
    carried: Vec<i64>,
    /// The last sequence value drawn before the last fence: transactions that have no xid by then draw later ones, and to
    /// every snapshot taken after it those are all at or above its xmax.
    low: i64,
    /// How many chunks are still to be measured.
    heavy: u32,
    pace: Pace,
    /// When progress was last recorded, and the bound of the floor that was.
    passed_at: Instant,
    passed_low: i64,
    /// The way over the log, unless the feed only polls.
    log: Option<Following>,
}

impl<T: Table> Feed<T> {
    /// Opens the feed of `share` from the recorded progress. With a `log` it follows that once it has caught up.
    ///
    /// # Errors
    /// What the table answers, or that the lease is another's.
    pub async fn open(mut table: T, share: &Share, log: Option<Arc<dyn Log>>) -> Result<Self, StoreError> {
        let (progress, low) = table.load().await?;
        let windows = Windows::new(progress);
        let carried = windows.carried().iter();
        Ok(Self {
            table,
            carried: carried.map(|sequence| sequence.cast_signed()).collect(),
            carried_read: 0,
            low,
            heavy: 0,
            pace: Pace::new(),
            passed_at: Instant::now(),
            passed_low: windows.base().low,
            windows,
            log: log.map(|log| Following::new(log, share)),
        })
    }

    /// Reads again what the last incarnation left pending.
    async fn read_carried(&mut self, limit: BatchLimit) -> Result<Vec<Sourced>, StoreError> {
        while self.carried_read < self.carried.len() {
            let wanted = self.carried[self.carried_read..]
                .chunks(limit.events.max(1))
                .next()
                .unwrap_or_default();
            let asked = wanted.len();
            let (mut events, low) = self.table.listed(wanted, limit).await?;
            self.low = low;
            place(&mut events, |sequence| Position::new(CARRIED, sequence))?;
            self.carried_read += match events.last() {
                // The bytes cut it short; what was asked for and is not there any more is passed over.
                Some(last) if is_cut(0, bytes(&events), limit) => {
                    wanted_through(&self.carried[self.carried_read..], last.position)
                }
                _ => asked,
            };
            if !events.is_empty() {
                return Ok(events);
            }
        }
        Ok(Vec::new())
    }

    /// Reads on in the open window.
    async fn read_on(&mut self, limit: BatchLimit) -> Result<Vec<Sourced>, StoreError> {
        if let Some(log) = self.log.as_mut().filter(|log| log.has_ready()) {
            return log.hand_out(&mut self.windows, limit);
        }
        while let Some(reading) = self.windows.reading() {
            let (base, upper, light) = (reading.base, reading.upper, self.heavy == 0);
            let read = self.table.fenced_window(base, upper, reading.cursor, limit, light);
            let (chunk, low) = read.await?;
            self.low = low;
            if !self.is_too_heavy(&chunk) {
                return self.hand_out(chunk);
            }
        }
        Ok(Vec::new())
    }

    /// Whether a light read met a payload that is not light before anything else, so that it has to be read otherwise.
    fn is_too_heavy(&mut self, chunk: &Chunk) -> bool {
        self.heavy = if chunk.is_heavy {
            HEAVY_CHUNKS
        } else {
            self.heavy.saturating_sub(1)
        };
        chunk.is_heavy && chunk.events.is_empty()
    }

    /// Goes on with what came over the log, if anything did.
    async fn read_log(&mut self, limit: BatchLimit) -> Result<Vec<Sourced>, StoreError> {
        while let Some((tick, window)) = self.log.as_mut().and_then(|log| log.next(self.windows.base(), limit)) {
            let snapshot = tick.snapshot.clone().bounded_like(self.windows.base());
            let events = match window {
                Window::Passed => continue,
                Window::Table => {
                    self.windows.open(snapshot);
                    self.read_on(limit).await?
                }
                Window::Events if self.log.as_ref().is_some_and(Following::has_ready) => {
                    self.windows.open(snapshot);
                    self.read_on(limit).await?
                }
                Window::Events => {
                    self.windows.open(snapshot);
                    self.windows.complete();
                    self.record_passed(tick.last_sequence).await?;
                    continue;
                }
            };
            if !events.is_empty() {
                return Ok(events);
            }
        }
        Ok(Vec::new())
    }

    /// Looks whether there is anything beyond what was read, and if so opens a window.
    async fn read_new(&mut self, limit: BatchLimit) -> Result<Vec<Sourced>, StoreError> {
        let present = self.table.present(self.low).await?;
        let base = self.windows.base();
        if present.snapshot.text() == base.text() {
            self.caught_up();
            return Ok(Vec::new());
        }
        if present.snapshot.xmax() < base.xmax() {
            return Err(restored(base, &present.snapshot));
        }
        let light = self.heavy == 0;
        let chunk = self.table.window(base, &present.snapshot, 0, limit, light).await?;
        if chunk.events.is_empty() && !chunk.is_cut {
            self.caught_up();
            self.pass(present).await?;
            return Ok(Vec::new());
        }
        self.low = self.table.fence().await?;
        self.windows.open(present.snapshot);
        if self.is_too_heavy(&chunk) {
            return self.read_on(limit).await;
        }
        self.hand_out(chunk)
    }

    /// Moves past a window that holds nothing for this route, from time to time: a snapshot may be built upon only after a
    /// fence, since after a crash the server gives out again the transaction ids that had not reached its disk.
    async fn pass(&mut self, present: Present) -> Result<(), StoreError> {
        if !self.is_due(present.last_sequence) {
            return Ok(());
        }
        self.low = self.table.fence().await?;
        self.windows.open(present.snapshot);
        self.windows.complete();
        self.record().await
    }

    /// The same for windows that ticks have fenced.
    async fn record_passed(&mut self, last_sequence: i64) -> Result<(), StoreError> {
        if self.is_due(last_sequence) {
            self.record().await
        } else {
            Ok(())
        }
    }

    fn is_due(&self, last_sequence: i64) -> bool {
        let due = match last_sequence - self.passed_low {
            PASS_ROWS.. => Duration::ZERO,
            1.. => PASS_INTERVAL,
            _ => MAINTENANCE_INTERVAL,
        };
        self.passed_at.elapsed() >= due
    }

    async fn record(&mut self) -> Result<(), StoreError> {
        let progress = self.windows.progress();
        self.passed_at = Instant::now();
        self.passed_low = progress.floor.low;
        self.table.record(&progress).await
    }

    /// Everything there is was read: from here the log can take over.
    fn caught_up(&mut self) {
        if let Some(log) = &mut self.log {
            log.begin();
        }
    }

    fn hand_out(&mut self, chunk: Chunk) -> Result<Vec<Sourced>, StoreError> {
        let (windows, mut events) = (&mut self.windows, chunk.events);
        place(&mut events, |sequence| windows.hand_out(sequence))?;
        if !chunk.is_cut {
            self.windows.complete();
            self.caught_up();
        }
        Ok(events)
    }
}

#[async_trait]
impl<T: Table> Source for Feed<T> {
    async fn next_batch(&mut self, limit: BatchLimit) -> Result<Vec<Sourced>, StoreError> {
        if self.log.as_ref().is_some_and(Following::is_fenced) {
            return Err(fenced(self.table.lease()));
        }
        let mut events = self.read_carried(limit).await?;
        if events.is_empty() && self.windows.reading().is_some() {
            events = self.read_on(limit).await?;
        }
        if events.is_empty() {
            events = self.read_log(limit).await?;
        }
        if events.is_empty() && !self.log.as_ref().is_some_and(Following::is_followed) {
            events = self.read_new(limit).await?;
        }
        self.pace.looked(!events.is_empty());
        Ok(events)
    }

    async fn wait(&mut self) {
        match &self.log {
            Some(log) => log.wait(self.pace.wait()).await,
            None => tokio::time::sleep(self.pace.wait()).await,
        }
    }

    async fn settle(&mut self, settlement: &Settlement) -> Result<(), StoreError> {
        self.windows.settle(settlement);
        self.record().await
    }

    async fn park(&mut self, events: &[Parking]) -> Result<(), StoreError> {
        self.table.park(events).await
    }
}

/// Gives events that come in the order of their sequences their positions.
fn place(events: &mut [Sourced], mut position: impl FnMut(u64) -> Position) -> Result<(), StoreError> {
    let mut last = 0;
    for sourced in events {
        let sequence = sourced.position.sequence;
        if sequence <= last {
            return Err(repeated(sequence.cast_signed()));
        }
        last = sequence;
        sourced.position = position(sequence);
    }
    Ok(())
}

/// Sequences ascend in every window; whoever wrote one by hand broke that.
fn repeated(sequence: i64) -> StoreError {
    let words = format!("two rows of onewrite.outbox have the sequence {sequence}; it must be left to its default");
    StoreError::new(StoreFailure::Refused, words)
}

fn bytes(events: &[Sourced]) -> usize {
    events.iter().map(|sourced| sourced.event.payload.len()).sum()
}

/// How many of the wanted sequences lie at or below a position.
fn wanted_through(wanted: &[i64], last: Position) -> usize {
    wanted.partition_point(|sequence| sequence.cast_unsigned() <= last.sequence)
}

fn restored(base: &Snapshot, present: &Snapshot) -> StoreError {
    StoreError::new(
        StoreFailure::Refused,
        format!(
            "the recorded progress ({}) is ahead of the server's transactions ({}): the database was restored from a logical dump. \
             With the relays stopped run: UPDATE onewrite.outbox SET xid = '1'; DELETE FROM onewrite.route; \
             every event that is still in the table is then delivered again",
            base.text(),
            present.text()
        ),
    )
}
