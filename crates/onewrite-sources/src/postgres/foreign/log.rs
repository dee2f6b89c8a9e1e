//! The log as the truth: one slot and one reader for all routes of a relay, each of which records how far it is.
//!
//! An event's place is where its transaction's commit lies in the log, and its number in the transaction: the same in every run.
//! What is recorded as settled is skipped, exactly; the slot stays behind what is not ([`hub`]). Before anything is handed out the
//! lease is checked, by a commit of the relay's own: so what was read is also durable wherever the database waits for a standby.

mod hub;
mod relation;
mod setup;
mod tail;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use onewrite_core::routing::Share;
use onewrite_core::{BatchLimit, Lease, Parking, Position, Settlement, Source, Sourced, StoreError};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use self::hub::{Hub, Standing, Subscription};
use super::super::connection::Connector;
use super::super::error::failed;
use super::super::session::Session;
use super::limits::{CATCHING_UP, IDLE, OPENING};
use super::parking::{self, Numbers};
use super::progress::Progress;
use super::settings::Foreign;

pub(super) use setup::{Lack, Log};

/// To know whether there is anything.
const LEAST: BatchLimit = BatchLimit { events: 1, bytes: 1 };

/// The reader of the log under one lease, and whom it reads for.
pub(super) struct LogReader {
    pub epoch: i64,
    hub: Arc<Hub>,
    task: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl LogReader {
    /// For the routes of a lease; it reads once one of them is there.
    pub fn new(lease: &Lease, shares: &[Share]) -> Self {
        Self {
            epoch: lease.epoch,
            hub: Arc::new(Hub::new(shares)),
            task: Mutex::default(),
        }
    }

    /// Ends it: another holder of the lease takes its place.
    pub fn end(&self) {
        self.hub.end();
    }

    /// Makes sure that somebody reads.
    fn wake(&self, connector: &Connector, lease: &Lease, foreign: &Arc<Foreign>) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if self.hub.claim() || task.as_ref().is_none_or(AbortOnDropHandle::is_finished) {
            let reading = tail::read(connector.clone(), lease.clone(), foreign.clone(), self.hub.clone());
            *task = Some(AbortOnDropHandle::new(tokio::spawn(reading)));
        }
    }
}

/// Hands out what came over the log for one route.
pub(super) struct LogFeed {
    session: Session,
    route: String,
    subscription: Subscription,
    /// What is recorded.
    progress: Progress,
    /// What was pending when this source began.
    carried: BTreeSet<Position>,
    numbers: Arc<Numbers>,
    /// The numbers under which events were handed out that are not settled.
    out: BTreeMap<Position, u64>,
}

impl LogFeed {
    /// Opens a route, and waits until the log is read up to the present, but not for long.
    ///
    /// # Errors
    /// `Refused` where the log cannot be read and a person must change something.
    pub async fn open(
        connector: &Connector,
        lease: &Lease,
        share: &Share,
        (reader, foreign): (&LogReader, &Arc<Foreign>),
        numbers: Arc<Numbers>,
    ) -> Result<Self, StoreError> {
        let session = Session::open(connector, lease).await?;
        let progress = Progress::load(&session, &share.route).await?;
        let subscription = reader.hub.subscribe(share, progress.clone());
        reader.wake(connector, lease, foreign);
        let feed = Self {
            session,
            route: share.route.clone(),
            subscription,
            carried: progress.pending.clone(),
            progress,
            numbers,
            out: BTreeMap::new(),
        };
        let present = feed.present().await?;
        let deadline = Instant::now() + OPENING;
        feed.until(deadline, || !feed.subscription.is_behind(present)).await;
        match feed.subscription.standing(LEAST) {
            Standing::Failed(failure, words) => Err(StoreError::new(failure, words)),
            _ => Ok(feed),
        }
    }

    /// What is there; where nothing is, waits a moment until everything has been looked at that was committed by now.
    async fn look(&self, limit: BatchLimit) -> Result<Standing, StoreError> {
        if let Standing::Empty = self.subscription.standing(limit) {
            let present = self.present().await?;
            let is_behind =
                || matches!(self.subscription.standing(LEAST), Standing::Empty) && self.subscription.is_behind(present);
            self.until(Instant::now() + CATCHING_UP, || !is_behind()).await;
        }
        Ok(self.subscription.standing(limit))
    }

    /// Waits for something of the reader's doing, but not for long.
    async fn until(&self, deadline: Instant, holds: impl Fn() -> bool) {
        loop {
            let (passed, came) = (self.subscription.passed(), self.subscription.came());
            if holds() || Instant::now() >= deadline {
                return;
            }
            let something = async {
                tokio::select! {
                    () = passed => {}
                    () = came => {}
                }
            };
            let _in_vain = timeout_at(deadline, something).await;
        }
    }

    /// Up to where the log is on disk.
    async fn present(&self) -> Result<u64, StoreError> {
        const PRESENT: &str = "SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint";
        let rows = self
            .session
            .query("asking for the end of the log", PRESENT, &Vec::new())
            .await?;
        let row = rows.first().map(|row| row.try_get::<_, i64>(0)).transpose();
        let end = row.map_err(|error| failed("asking for the end of the log", error))?;
        Ok(end.unwrap_or_default().cast_unsigned())
    }
}

#[async_trait]
impl Source for LogFeed {
    async fn next_batch(&mut self, limit: BatchLimit) -> Result<Vec<Sourced>, StoreError> {
        match self.look(limit).await? {
            Standing::Empty => Ok(Vec::new()),
            Standing::Failed(failure, words) => {
                // Fenced, if that is why.
                self.session.fence().await?;
                Err(StoreError::new(failure, words))
            }
            Standing::Ready(count) => {
                self.session.fence().await?;
                let events = self.subscription.take(count);
                let first = self.numbers.draw(self.session.lease(), events.len());
                self.out
                    .extend(events.iter().map(|sourced| sourced.position).zip(first..));
                Ok(events)
            }
        }
    }

    async fn wait(&mut self) {
        let came = self.subscription.came();
        if matches!(self.subscription.standing(LEAST), Standing::Empty) {
            let _nothing = timeout(IDLE, came).await;
        }
    }

    async fn settle(&mut self, settlement: &Settlement) -> Result<(), StoreError> {
        let progress = self.progress.settled(&self.carried, settlement);
        progress.record(&self.session, &self.route).await?;
        self.subscription.recorded(&progress);
        self.out.retain(|position, _| !progress.is_settled(*position));
        self.progress = progress;
        Ok(())
    }

    async fn park(&mut self, events: &[Parking]) -> Result<(), StoreError> {
        let number = |parking: &Parking| self.out.get(&parking.position).copied().unwrap_or_default();
        parking::park(&self.session, &self.route, events, number).await
    }
}
