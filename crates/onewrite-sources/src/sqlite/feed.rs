//! The feed of an SQLite outbox: a cursor on the sequence.
//!
//! On other databases a cursor on a sequence loses events, because a value is drawn before it becomes visible. SQLite lets one
//! transaction write at a time and draws the value inside it, so ascending sequences are the order of commits.

use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::routing::Share;
use onewrite_core::{BatchLimit, Lease, Parking, Position, Settlement, Source, Sourced, StoreError};
use rusqlite::{Connection, TransactionBehavior};
use tokio::time::Instant;

use super::place::Place;
use super::rows::{EVENT_COLUMNS, park, sourced};
use super::worker::{Worker, fence, fenced_out};
use crate::pace::Pace;

/// The generation of events that the last incarnation left pending.
const CARRIED: u64 = 0;
/// The generation of everything else.
const FRESH: u64 = 1;

/// Rows of other routes that one call reads over at the most.
const SCAN_MAX: usize = 50_000;

/// Shortest time between two records of having passed rows of other routes only.
const PASS_INTERVAL: Duration = Duration::from_secs(1);

/// Hands out a route's events.
pub(super) struct Feed {
    worker: Worker,
    lease: Lease,
    share: Share,
    /// Left pending by the last incarnation, ascending; those before `carried_read` were handed out again.
    carried: Vec<i64>,
    carried_read: usize,
    /// Everything up to here was read.
    cursor: i64,
    last_handed_out: Option<Position>,
    /// What is settled, as it was recorded last.
    settled: i64,
    pending: Vec<i64>,
    pace: Pace,
    passed_at: Instant,
}

/// What one look found.
struct Look {
    events: Vec<Sourced>,
    cursor: i64,
    /// Whether the fence held; it is committed only where there is something to hand out.
    held: bool,
}

impl Feed {
    /// Opens the feed from the recorded progress.
    pub async fn open(place: &Place, lease: &Lease, share: &Share) -> Result<Self, StoreError> {
        const LOAD: &str = "SELECT sequence, pending FROM onewrite_route WHERE relay = ?1 AND name = ?2";
        let worker = Worker::open(place).await?;
        let (relay, route) = (share.relay.clone(), share.route.clone());
        let load = worker.fenced("reading the recorded progress", lease, move |transaction| {
            transaction.query_row(LOAD, (relay, route), |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
            })
        });
        let (settled, pending) = load.await?;
        let carried: Vec<i64> = serde_json::from_str(&pending).unwrap_or_default();
        Ok(Self {
            worker,
            lease: lease.clone(),
            share: share.clone(),
            pending: carried.clone(),
            carried,
            carried_read: 0,
            cursor: settled,
            last_handed_out: None,
            settled,
            pace: Pace::new(),
            passed_at: Instant::now(),
        })
    }

    async fn read_carried(&mut self, limit: BatchLimit) -> Result<Vec<Sourced>, StoreError> {
        while self.carried_read < self.carried.len() {
            let end = self.carried.len().min(self.carried_read + limit.events.max(1));
            let wanted = self.carried[self.carried_read..end].to_vec();
            let (share, lease) = (self.share.clone(), self.lease.clone());
            let look = self.worker.run("reading pending events", move |connection| {
                listed(connection, &share, &wanted, limit, &lease)
            });
            let look = look.await?;
            self.check(&look)?;
            self.carried_read += self.carried[self.carried_read..end].partition_point(|wanted| *wanted <= look.cursor);
            if !look.events.is_empty() {
                return Ok(look.events);
            }
        }
        Ok(Vec::new())
    }

    async fn read_on(&mut self, limit: BatchLimit) -> Result<Vec<Sourced>, StoreError> {
        let (share, lease, cursor) = (self.share.clone(), self.lease.clone(), self.cursor);
        let look = self.worker.run("reading the outbox", move |connection| {
            beyond(connection, &share, cursor, limit, &lease)
        });
        let look = look.await?;
        self.check(&look)?;
        self.cursor = look.cursor;
        if look.events.is_empty() {
            self.pass().await?;
        }
        Ok(look.events)
    }

    /// Records from time to time that rows of other routes were passed, while nothing of this route is unsettled.
    async fn pass(&mut self) -> Result<(), StoreError> {
        let at_rest = self.last_handed_out.is_none() && self.carried.is_empty();
        if self.cursor == self.settled || !at_rest || self.passed_at.elapsed() < PASS_INTERVAL {
            return Ok(());
        }
        self.passed_at = Instant::now();
        self.settled = self.cursor;
        self.record().await
    }

    fn check(&self, look: &Look) -> Result<(), StoreError> {
        if look.held {
            Ok(())
        } else {
            Err(fenced_out(&self.lease))
        }
    }

    async fn record(&self) -> Result<(), StoreError> {
        const RECORD: &str = "UPDATE onewrite_route SET sequence = ?3, pending = ?4, \
                              updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE relay = ?1 AND name = ?2";
        let (relay, route) = (self.share.relay.clone(), self.share.route.clone());
        let (settled, pending) = (self.settled, serde_json::json!(self.pending).to_string());
        let record = self
            .worker
            .fenced("recording progress", &self.lease, move |transaction| {
                transaction
                    .prepare_cached(RECORD)?
                    .execute((relay, route, settled, pending))
            });
        record.await.map(|_| ())
    }
}

#[async_trait]
impl Source for Feed {
    async fn next_batch(&mut self, limit: BatchLimit) -> Result<Vec<Sourced>, StoreError> {
        let mut events = self.read_carried(limit).await?;
        if events.is_empty() {
            events = self.read_on(limit).await?;
        }
        self.last_handed_out = events.last().map(|sourced| sourced.position).or(self.last_handed_out);
        self.pace.looked(!events.is_empty());
        Ok(events)
    }

    async fn wait(&mut self) {
        tokio::time::sleep(self.pace.wait()).await;
    }

    async fn settle(&mut self, settlement: &Settlement) -> Result<(), StoreError> {
        let Some(through) = settlement.through else {
            return Ok(());
        };
        let covered = self
            .carried
            .partition_point(|sequence| place(CARRIED, *sequence) <= through);
        self.carried.drain(..covered);
        self.carried_read -= covered;
        let pending = settlement
            .pending
            .iter()
            .map(|position| position.sequence.cast_signed());
        self.pending = pending.chain(self.carried.iter().copied()).collect();
        self.pending.sort_unstable();
        if through.generation == FRESH {
            let everything = self.last_handed_out == Some(through);
            self.settled = if everything {
                self.cursor
            } else {
                through.sequence.cast_signed()
            };
        }
        if self.last_handed_out == Some(through) && settlement.pending.is_empty() {
            self.last_handed_out = None;
        }
        self.record().await
    }

    async fn park(&mut self, events: &[Parking]) -> Result<(), StoreError> {
        let (share, events) = (self.share.clone(), events.to_vec());
        let parked = self.worker.fenced("parking events", &self.lease, move |transaction| {
            events.iter().try_for_each(|parking| {
                park(
                    transaction,
                    &share.relay,
                    &share.route,
                    parking.position.sequence.cast_signed(),
                    parking,
                )
            })
        });
        parked.await
    }
}

fn place(generation: u64, sequence: i64) -> Position {
    Position::new(generation, sequence.cast_unsigned())
}

/// The events with these sequences. The cursor is the last that need not be asked for again.
fn listed(
    connection: &mut Connection,
    share: &Share,
    wanted: &[i64],
    limit: BatchLimit,
    lease: &Lease,
) -> rusqlite::Result<Look> {
    let sql = format!("SELECT {EVENT_COLUMNS} FROM onewrite_outbox WHERE sequence = ?1");
    let (mut events, mut bytes, mut cursor) = (Vec::new(), 0, 0);
    {
        let mut statement = connection.prepare_cached(&sql)?;
        for sequence in wanted {
            cursor = *sequence;
            let mut rows = statement.query([sequence])?;
            let Some(row) = rows.next()? else { continue };
            let event = sourced(row, 0, place(CARRIED, *sequence))?;
            if share.takes(&event.event.topic, event.event.event_type.as_deref()) {
                bytes += event.event.payload.len();
                events.push(event);
            }
            if bytes >= limit.bytes {
                break;
            }
        }
    }
    fenced_look(connection, events, cursor, lease)
}

/// The events of the share beyond `cursor`, in order.
fn beyond(
    connection: &mut Connection,
    share: &Share,
    cursor: i64,
    limit: BatchLimit,
    lease: &Lease,
) -> rusqlite::Result<Look> {
    let sql =
        format!("SELECT {EVENT_COLUMNS}, sequence FROM onewrite_outbox WHERE sequence > ?1 ORDER BY sequence LIMIT ?2");
    let (mut events, mut bytes, mut cursor) = (Vec::new(), 0, cursor);
    {
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query((cursor, SCAN_MAX as i64))?;
        while events.len() < limit.events.max(1)
            && (bytes < limit.bytes || events.is_empty())
            && let Some(row) = rows.next()?
        {
            let (topic, event_type) = (row.get_ref(1)?, row.get_ref(3)?);
            let takes = share.takes_all() || share.takes(topic.as_str().unwrap_or_default(), event_type.as_str().ok());
            cursor = row.get(8)?;
            if takes {
                let event = sourced(row, 0, place(FRESH, cursor))?;
                bytes += event.event.payload.len();
                events.push(event);
            }
        }
    }
    fenced_look(connection, events, cursor, lease)
}

/// Commits the fence after reading, where there is something to hand out.
fn fenced_look(
    connection: &mut Connection,
    events: Vec<Sourced>,
    cursor: i64,
    lease: &Lease,
) -> rusqlite::Result<Look> {
    let mut held = true;
    if !events.is_empty() {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        held = fence(&transaction, &lease.relay, lease.epoch)?;
        transaction.commit()?;
    }
    Ok(Look { events, cursor, held })
}
