//! The native outbox, as a feed reads it.

use async_trait::async_trait;
use onewrite_core::routing::Share;
use onewrite_core::windows::Progress;
use onewrite_core::{BatchLimit, Lease, Parking, Position, Sourced, StoreError, StoreFailure};
use tokio_postgres::Row;

use super::connection::Connector;
use super::error::failed;
use super::feed::{Chunk, Present, Table};
use super::reading::{Reader, Rows};
use super::rows::Decoder;
use super::session::{BEGIN_READING, LAST_SEQUENCE, Session};
use super::snapshot::Snapshot;
use super::{parking, progress};

const READING: &str = "reading the outbox";

/// The outbox over a connection of the route's own.
pub(super) struct NativeTable {
    session: Session,
    route: String,
    reader: Reader,
    decoder: Decoder,
}

impl NativeTable {
    /// Connects for the holder of `lease`.
    pub async fn open(connector: &Connector, lease: &Lease, share: &Share) -> Result<Self, StoreError> {
        Ok(Self {
            session: Session::open(connector, lease).await?,
            route: share.route.clone(),
            reader: Reader::new(share),
            decoder: Decoder::default(),
        })
    }

    fn decode(&mut self, rows: &[Row]) -> Result<Vec<Sourced>, StoreError> {
        let mut events = Vec::with_capacity(rows.len());
        for row in rows {
            let sequence: i64 = row.try_get(0).map_err(|error| failed(READING, error))?;
            let position = Position::new(0, sequence.cast_unsigned());
            let event = self.decoder.event(row, 1, position);
            events.push(event.map_err(|error| failed(READING, error))?);
        }
        Ok(events)
    }

    fn chunk(&mut self, rows: &Rows) -> Result<Chunk, StoreError> {
        Ok(Chunk {
            events: self.decode(&rows.rows)?,
            is_cut: rows.is_cut,
            is_heavy: rows.is_heavy,
        })
    }
}

#[async_trait]
impl Table for NativeTable {
    fn lease(&self) -> &Lease {
        self.session.lease()
    }

    async fn load(&mut self) -> Result<(Progress<Snapshot>, i64), StoreError> {
        progress::load(&self.session, &self.route).await
    }

    async fn listed(&mut self, sequences: &[i64], limit: BatchLimit) -> Result<(Vec<Sourced>, i64), StoreError> {
        let read = self.reader.listed(self.session.client(), sequences, limit);
        let (rows, low) = self.session.fenced(READING, BEGIN_READING, read).await?;
        Ok((self.decode(&rows)?, low))
    }

    async fn window(
        &mut self,
        base: &Snapshot,
        upper: &Snapshot,
        cursor: u64,
        limit: BatchLimit,
        light: bool,
    ) -> Result<Chunk, StoreError> {
        let client = self.session.client();
        let read = self.reader.window(client, base, upper, cursor, limit, light);
        let rows = self.session.transaction(READING, BEGIN_READING, read).await?;
        self.chunk(&rows)
    }

    async fn fenced_window(
        &mut self,
        base: &Snapshot,
        upper: &Snapshot,
        cursor: u64,
        limit: BatchLimit,
        light: bool,
    ) -> Result<(Chunk, i64), StoreError> {
        let client = self.session.client();
        let read = self.reader.window(client, base, upper, cursor, limit, light);
        let (rows, low) = self.session.fenced(READING, BEGIN_READING, read).await?;
        Ok((self.chunk(&rows)?, low))
    }

    async fn present(&mut self, low: i64) -> Result<Present, StoreError> {
        let sql = format!("SELECT pg_current_snapshot()::text, ({LAST_SEQUENCE})");
        let rows = self.session.query("taking a snapshot", &sql, &Vec::new()).await?;
        let row = rows
            .first()
            .ok_or_else(|| StoreError::new(StoreFailure::Unavailable, "a snapshot did not come"))?;
        Ok(Present {
            snapshot: Snapshot::parse(row.get(0), low)?,
            last_sequence: row.get(1),
        })
    }

    async fn fence(&mut self) -> Result<i64, StoreError> {
        self.session.fence().await
    }

    async fn record(&mut self, progress: &Progress<Snapshot>) -> Result<(), StoreError> {
        progress::record(&self.session, &self.route, progress).await
    }

    async fn park(&mut self, events: &[Parking]) -> Result<(), StoreError> {
        let sequence = |parking: &Parking| parking.position.sequence;
        parking::park(&self.session, &self.route, events, sequence).await
    }
}
