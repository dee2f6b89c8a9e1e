//! What operators ask to be delivered again: parked events, the held ones behind them, and replays.

mod aside;
mod replays;

use std::collections::BTreeMap;

use async_trait::async_trait;
use onewrite_core::limits::REDELIVERY_WAIT;
use onewrite_core::routing::Share;
use onewrite_core::source::ParkReason;
use onewrite_core::{BatchLimit, Lease, Parking, Position, Settlement, Source, Sourced, StoreError};
use tokio_postgres::types::Type;

use self::aside::Aside;
use self::replays::{ReplayProgress, Replays};
use super::connection::Connector;
use super::parking::{self, LOCK_ROUTE};
use super::session::{BEGIN, Parameters, Session};
use crate::runs::Look;

/// Hands out redeliveries under a route's share.
pub(super) struct Redeliveries {
    session: Session,
    route: String,
    aside: Aside,
    replays: Replays,
    /// The statement that records how far replays are.
    record_replays: String,
    generation: u64,
    /// What was handed out and is not settled.
    out: BTreeMap<Position, Item>,
}

/// What stands behind a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    /// A row of `parked_event`, by its number.
    Aside(i64),
    /// An event of a replay.
    Replayed { request: i64, sequence: i64 },
}

impl Redeliveries {
    /// Opens the redeliveries of `share`.
    pub async fn open(connector: &Connector, lease: &Lease, share: &Share) -> Result<Self, StoreError> {
        let session = Session::open(connector, lease).await?;
        session.fence().await?;
        Ok(Self {
            session,
            route: share.route.clone(),
            aside: Aside::new(share),
            replays: Replays::new(share),
            record_replays: replays::record(share.group),
            generation: 0,
            out: BTreeMap::new(),
        })
    }

    /// Commits the fence and gives the events their positions. `look` is the look at a replay that found them.
    async fn hand_out(&mut self, found: Vec<(Item, Sourced)>, look: Option<Look>) -> Result<Vec<Sourced>, StoreError> {
        // What was read is handed out only when it is sure to be on disk, as everywhere.
        self.session.fence().await?;
        self.generation += 1;
        if let Some(look) = look {
            self.replays.runs.looked(look);
        }
        let mut events = Vec::with_capacity(found.len());
        for (at, (item, mut sourced)) in found.into_iter().enumerate() {
            sourced.position = Position::new(self.generation, at as u64);
            self.out.insert(sourced.position, item);
            if let Item::Replayed { request, sequence } = item {
                self.replays.runs.handed_out(request, sequence);
            }
            events.push(sourced);
        }
        Ok(events)
    }

    /// Removes what was delivered and records how far the replays are, in one transaction.
    async fn record(&self, delivered: &[i64]) -> Result<(), StoreError> {
        const REMOVE: &str = concat!(
            "DELETE FROM onewrite.parked_event WHERE id = ANY($4) AND state IN ('retry', 'held') \
                              AND ",
            still_held!()
        );
        let lease = self.session.lease();
        let lock: Parameters<'_> = vec![
            (&lease.relay, Type::TEXT),
            (&self.route, Type::TEXT),
            (&lease.epoch, Type::INT8),
        ];
        let mut remove = lock.clone();
        remove.push((&delivered, Type::INT8_ARRAY));
        let progress = ReplayProgress::of(&self.replays.runs);
        let mut replays = lock.clone();
        replays.extend(progress.bind());
        let locked = self
            .session
            .transaction("recording redeliveries", BEGIN, async {
                let client = self.session.client();
                let (locked, removed, recorded) = futures::join!(
                    client.execute_typed(LOCK_ROUTE, &lock),
                    client.execute_typed(REMOVE, &remove),
                    client.execute_typed(&self.record_replays, &replays)
                );
                let locked = locked?;
                removed.and(recorded).map(|_| locked)
            })
            .await?;
        self.session.held(locked)
    }
}

#[async_trait]
impl Source for Redeliveries {
    async fn next_batch(&mut self, limit: BatchLimit) -> Result<Vec<Sourced>, StoreError> {
        let out = self.out.values().filter_map(|item| match item {
            Item::Aside(id) => Some(*id),
            Item::Replayed { .. } => None,
        });
        let out: Vec<i64> = out.collect();
        let mut found = self.aside.read(&self.session, &out, limit).await?;
        let mut look = None;
        if found.is_empty() {
            (found, look) = self.replays.read(&self.session, limit).await?;
        }
        if !found.is_empty() {
            return self.hand_out(found, look).await;
        }
        if self.replays.runs.any_to_finish() {
            self.record(&[]).await?;
            self.replays.runs.recorded();
        }
        Ok(Vec::new())
    }

    async fn wait(&mut self) {
        tokio::time::sleep(REDELIVERY_WAIT).await;
    }

    async fn settle(&mut self, settlement: &Settlement) -> Result<(), StoreError> {
        let Some(through) = settlement.through else {
            return Ok(());
        };
        let covered = self
            .out
            .range(..=through)
            .filter(|(at, _)| settlement.pending.binary_search(at).is_err());
        let settled: Vec<(Position, Item)> = covered.map(|(at, item)| (*at, *item)).collect();
        let mut delivered = Vec::new();
        for (_, item) in &settled {
            match item {
                Item::Aside(id) => delivered.push(*id),
                Item::Replayed { request, sequence } => self.replays.runs.settled(*request, *sequence),
            }
        }
        self.record(&delivered).await?;
        self.replays.runs.recorded();
        for (position, _) in settled {
            self.out.remove(&position);
        }
        Ok(())
    }

    async fn park(&mut self, events: &[Parking]) -> Result<(), StoreError> {
        let (mut again, mut anew) = (Vec::new(), BTreeMap::<i64, &Parking>::new());
        for parking in events {
            match self.out.get(&parking.position) {
                Some(Item::Aside(id)) => again.push((*id, parking)),
                // Two replays may hold the same event; it is set aside once, and what a sink said of it goes before what it waits for.
                Some(Item::Replayed { sequence, .. }) => {
                    let kept = anew.entry(*sequence).or_insert(parking);
                    if kept.reason == ParkReason::Held {
                        *kept = parking;
                    }
                }
                None => {}
            }
        }
        if !again.is_empty() {
            parking::park_again(&self.session, &self.route, &again).await?;
        }
        if !anew.is_empty() {
            let out = &self.out;
            let anew: Vec<Parking> = anew.into_values().cloned().collect();
            let sequence = |parking: &Parking| match out.get(&parking.position) {
                Some(Item::Replayed { sequence, .. }) => sequence.cast_unsigned(),
                _ => unreachable!("only replayed events are set aside anew"),
            };
            parking::park(&self.session, &self.route, &anew, sequence).await?;
        }
        // They stay, and their turns come again as soon as those of the others of their keys.
        for (_, parking) in again {
            self.out.remove(&parking.position);
        }
        Ok(())
    }
}
