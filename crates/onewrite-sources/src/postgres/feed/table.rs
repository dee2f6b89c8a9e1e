//! What a feed asks of the database.

use async_trait::async_trait;
use onewrite_core::windows::Progress;
use onewrite_core::{BatchLimit, Lease, Parking, Sourced, StoreError};

use super::super::snapshot::Snapshot;

/// An outbox as the feed of one route reads it: a database, or a simulation of one.
///
/// What is **fenced** may be handed out when the call returns: it is on disk, and the lease is still held. Such a call also tells
/// the last sequence value drawn before its fence: to every snapshot taken later, transactions that had no id by then are at or
/// above its xmax, and draw later values.
#[async_trait]
pub trait Table: Send {
    /// The lease that it is read under.
    fn lease(&self) -> &Lease;

    /// The progress that is recorded, fenced.
    async fn load(&mut self) -> Result<(Progress<Snapshot>, i64), StoreError>;

    /// The rows of these sequences that the route takes, ascending and within `limit`, fenced.
    async fn listed(&mut self, sequences: &[i64], limit: BatchLimit) -> Result<(Vec<Sourced>, i64), StoreError>;

    /// What of the route's `upper` sees and `base` does not, with sequences above `cursor`, ascending and within `limit`. `light`
    /// may read faster, and end before the first payload that is not light; that one may be the very first.
    async fn window(
        &mut self,
        base: &Snapshot,
        upper: &Snapshot,
        cursor: u64,
        limit: BatchLimit,
        light: bool,
    ) -> Result<Chunk, StoreError>;

    /// The same, fenced.
    async fn fenced_window(
        &mut self,
        base: &Snapshot,
        upper: &Snapshot,
        cursor: u64,
        limit: BatchLimit,
        light: bool,
    ) -> Result<(Chunk, i64), StoreError>;

    /// A snapshot of now with the bound `low`, and the last sequence value that was drawn.
    async fn present(&mut self, low: i64) -> Result<Present, StoreError>;

    /// A fence by itself.
    async fn fence(&mut self) -> Result<i64, StoreError>;

    /// Records progress, unless the lease is another's by now; a crash of the database may take the last records back.
    async fn record(&mut self, progress: &Progress<Snapshot>) -> Result<(), StoreError>;

    /// Sets events aside durably, unless the lease is another's by now.
    async fn park(&mut self, events: &[Parking]) -> Result<(), StoreError>;
}

/// Rows of a window. Their positions hold nothing but their sequences.
#[derive(Debug)]
pub struct Chunk {
    /// In the order of their sequences.
    pub events: Vec<Sourced>,
    /// Whether there may be more.
    pub is_cut: bool,
    /// Whether it ends before a payload that is not light.
    pub is_heavy: bool,
}

/// What a look at the database's clock says.
#[derive(Debug)]
pub struct Present {
    /// What it sees.
    pub snapshot: Snapshot,
    /// The last sequence value that was drawn.
    pub last_sequence: i64,
}
