//! The feed of an SQLite outbox: a cursor on the sequence.
//!
//! On other databases a cursor on a sequence loses events: a value is drawn at the INSERT and becomes visible at the COMMIT,
//! so that a lower value can appear behind the cursor. SQLite lets one transaction write at a time and draws the value inside
//! it (and takes it back when the transaction is rolled back), so whoever sees a value sees every lower one that will ever
//! be: ascending sequences are the order of commits.

use std::ops::ControlFlow;
use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::routing::Share;
use onewrite_core::{BatchLimit, Lease, Parking, Settlement, Source, Sourced, StoreError};
use rusqlite::{Connection, Row};
use tokio::time::Instant;

use super::parking;
use super::place::Place;
use super::progress::{self, Book, CARRIED, FRESH};
use super::reading::{SCAN_ROWS, Stretch, read_listed, read_stretch};
use super::rows::is_taken;
use super::worker::Worker;
use crate::pace::Pace;

/// Shortest time between two records of having passed rows of other routes only: each costs a commit.
const PASS_INTERVAL: Duration = Duration::from_secs(1);

/// Rows of other routes after which to record at once that they were passed.
const PASS_ROWS: i64 = SCAN_ROWS;

/// Hands out a route's events.
pub(super) struct Feed {
    worker: Worker,
    lease: Lease,
    share: Share,
    book: Book,
    /// Whether the last look did not come to the end of the table.
    more: bool,
    /// What the file's version was before the last look.
    version: i64,
    pace: Pace,
    passed_at: Instant,
}

impl Feed {
    /// Opens the feed from the recorded progress.
    pub async fn open(place: &Place, lease: &Lease, share: &Share) -> Result<Self, StoreError> {
        let worker = Worker::open(place).await?;
        let recorded = progress::load(&worker, lease, &share.route).await?;
        Ok(Self {
            worker,
            lease: lease.clone(),
            share: share.clone(),
            book: Book::new(recorded),
            more: false,
            version: 0,
            pace: Pace::new(),
            passed_at: Instant::now(),
        })
    }

    /// Reads again what the last incarnation left pending.
    async fn read_carried(&mut self, limit: BatchLimit) -> Result<Vec<Sourced>, StoreError> {
        while !self.book.carried_unread().is_empty() {
            let asked: Vec<i64> = self
                .book
                .carried_unread()
                .iter()
                .copied()
                .take(limit.events.max(1))
                .collect();
            let share = self.share.clone();
            let read = self.worker.run("reading pending events", move |connection| {
                read_listed(connection, &asked, limit, CARRIED, &share)
            });
            let stretch = read.await?;
            self.fence(&stretch).await?;
            let events = events_of(stretch.events);
            self.book
                .read_carried(stretch.cursor, events.last().map(|sourced| sourced.position));
            if !events.is_empty() {
                return Ok(events);
            }
        }
        Ok(Vec::new())
    }

    /// Reads beyond the cursor.
    async fn read_on(&mut self, limit: BatchLimit) -> Result<Vec<Sourced>, StoreError> {
        let (share, cursor) = (self.share.clone(), self.book.cursor());
        let read = self.worker.run("reading the outbox", move |connection| {
            // Before the look, so that what is committed during it is a change.
            let version = data_version(connection)?;
            let wanted = |row: &Row<'_>, _| is_taken(row, &share).map(ControlFlow::Continue);
            read_stretch(connection, (cursor, i64::MAX), limit, FRESH, wanted).map(|stretch| (stretch, version))
        });
        let (stretch, version) = read.await?;
        self.fence(&stretch).await?;
        (self.more, self.version) = (stretch.more, version);
        let events = events_of(stretch.events);
        self.book
            .read_on(stretch.cursor, events.last().map(|sourced| sourced.position));
        Ok(events)
    }

    /// Commits the fence after reading, where there is something to hand out: applications may write with
    /// `synchronous = NORMAL`, and then a power cut takes commits back that could be read before.
    async fn fence(&self, stretch: &Stretch) -> Result<(), StoreError> {
        if stretch.events.is_empty() {
            return Ok(());
        }
        self.worker.fenced("fencing", &self.lease, |_| Ok(())).await
    }

    /// Records from time to time that rows of other routes were passed, so that a restart need not read over them again and
    /// they can be deleted.
    async fn pass(&mut self) -> Result<(), StoreError> {
        let progress = self.book.progress();
        let recorded = self.book.last_recorded();
        let is_due = progress.sequence - recorded.sequence >= PASS_ROWS || self.passed_at.elapsed() >= PASS_INTERVAL;
        if progress == *recorded || !is_due {
            return Ok(());
        }
        self.passed_at = Instant::now();
        progress::record(&self.worker, &self.lease, &self.share.route, &progress).await?;
        self.book.recorded(progress);
        Ok(())
    }
}

#[async_trait]
impl Source for Feed {
    async fn next_batch(&mut self, limit: BatchLimit) -> Result<Vec<Sourced>, StoreError> {
        let mut events = self.read_carried(limit).await?;
        if events.is_empty() {
            events = self.read_on(limit).await?;
        }
        self.pace.looked(!events.is_empty());
        if events.is_empty() {
            self.pass().await?;
        }
        Ok(events)
    }

    async fn wait(&mut self) {
        while !self.more {
            tokio::time::sleep(self.pace.wait()).await;
            // While nobody wrote to the file there is nothing to find. What fails here fails in the next look, and is told.
            let version = self
                .worker
                .run("looking for changes", |connection| data_version(connection))
                .await;
            if !version.is_ok_and(|version| version == self.version) {
                break;
            }
            self.pace.looked(false);
        }
    }

    async fn settle(&mut self, settlement: &Settlement) -> Result<(), StoreError> {
        self.book.settle(settlement);
        let progress = self.book.progress();
        progress::record(&self.worker, &self.lease, &self.share.route, &progress).await?;
        self.book.recorded(progress);
        Ok(())
    }

    async fn park(&mut self, events: &[Parking]) -> Result<(), StoreError> {
        let (share, events) = (self.share.clone(), events.to_vec());
        let park = self.worker.fenced("parking events", &self.lease, move |transaction| {
            events.iter().try_for_each(|parking| {
                let sequence = parking.position.sequence.cast_signed();
                parking::park(transaction, &share, sequence, parking)
            })
        });
        park.await
    }
}

/// A number that changes when another connection, of any process, commits to the file.
fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("PRAGMA data_version")?
        .query_row([], |row| row.get(0))
}

fn events_of(found: Vec<(i64, Sourced)>) -> Vec<Sourced> {
    found.into_iter().map(|(_, sourced)| sourced).collect()
}
