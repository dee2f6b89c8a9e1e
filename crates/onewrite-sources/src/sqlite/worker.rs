//! SQLite's calls block, so each connection has a thread of its own, which does one piece of work after the other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use onewrite_core::{Lease, StoreError, StoreFailure};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use super::error::is_busy;
use super::place::Place;

/// It gets an error in place of the connection when that works on another file than it should.
type Work = Box<dyn FnOnce(Result<&mut Connection, StoreError>) + Send>;

/// A connection on its thread; the thread ends when this is dropped.
pub(super) struct Worker {
    place: Place,
    /// The file's identity when it was opened.
    identity: Option<(u64, u64)>,
    work: mpsc::Sender<Work>,
    broken: AtomicBool,
}

impl Worker {
    /// Opens a connection.
    pub async fn open(place: &Place) -> Result<Self, StoreError> {
        // Before the file is opened: if it is replaced in between, that is noticed.
        let identity = place.identity();
        let (work, received) = mpsc::channel::<Work>();
        let (opened, opening) = oneshot::channel();
        let thread_place = place.clone();
        std::thread::Builder::new()
            .name("onewrite-sqlite".to_owned())
            .spawn(move || match thread_place.open() {
                Ok(mut connection) => {
                    let _nobody_may_wait_any_more = opened.send(Ok(()));
                    for work in received {
                        // A backup knows the lease by its epoch, and a feed that has nothing to do hears of no other change: what goes
                        // on with a file that has no name any more would wait for ever.
                        work(thread_place.must_be(identity).map(|()| &mut connection));
                    }
                }
                Err(error) => {
                    let _nobody_may_wait_any_more = opened.send(Err(error));
                }
            })
            .map_err(|error| StoreError::new(StoreFailure::Unavailable, "no thread could be started").because(error))?;
        opening.await.unwrap_or_else(|_| Err(ended()))?;
        Ok(Self {
            place: place.clone(),
            identity,
            work,
            broken: AtomicBool::new(false),
        })
    }

    /// Whether something failed that a new connection may not suffer from, or the file is another one by now.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed) || self.identity != self.place.identity()
    }

    /// Does a piece of work on the connection. When the future is dropped, work that has begun is done all the same.
    ///
    /// # Errors
    /// What SQLite says, and `Unavailable` where another file is in the place of the one that was opened.
    pub async fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (done, result) = oneshot::channel();
        let work: Work = Box::new(move |connection| {
            if !done.is_closed() {
                let _nobody_may_wait_any_more = done.send(connection.map(work));
            }
        });
        let result = match self.work.send(work) {
            Ok(()) => result.await.map_err(|_| ended()),
            Err(_) => Err(ended()),
        };
        let result = result
            .flatten()
            .inspect_err(|_| self.broken.store(true, Ordering::Relaxed))?;
        result.map_err(|error| {
            self.broken.fetch_or(!is_busy(&error), Ordering::Relaxed);
            self.place.failed(doing, error)
        })
    }

    /// Does a piece of work in one durable transaction that is rolled back when the lease is another's by now.
    pub async fn fenced<T: Send + 'static>(
        &self,
        doing: &'static str,
        lease: &Lease,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (relay, epoch) = (lease.relay.clone(), lease.epoch);
        let done = self.run(doing, move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if !fence(&transaction, &relay, epoch)? {
                return Ok(None);
            }
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(Some(value))
        });
        done.await?.ok_or_else(|| fenced_out(lease))
    }
}

/// Makes the transaction write something, so that its commit reaches the disk, and says whether the lease still holds.
pub(super) fn fence(transaction: &Transaction<'_>, relay: &str, epoch: i64) -> rusqlite::Result<bool> {
    // It counts, because an update that changes nothing writes nothing.
    const FENCE: &str = "UPDATE onewrite_relay SET fences = fences + 1 WHERE name = ?1 AND epoch = ?2";
    transaction
        .prepare_cached(FENCE)?
        .execute((relay, epoch))
        .map(|rows| rows == 1)
}

/// The error of a relay whose lease another holds.
pub(super) fn fenced_out(lease: &Lease) -> StoreError {
    let words = format!(
        "another process holds the lease of relay {:?} (this one had epoch {})",
        lease.relay, lease.epoch
    );
    StoreError::new(StoreFailure::Fenced, words)
}

fn ended() -> StoreError {
    StoreError::new(
        StoreFailure::Unavailable,
        "the thread of the SQLite connection ended; this is a bug",
    )
}
