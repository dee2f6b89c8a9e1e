//! How much a sink has under way at once, over all deliveries.

use std::time::Duration;

use onewrite_core::error::SinkError;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use crate::limits::START_WINDOW;

/// Room for so many requests or messages. It is closed with the sink.
pub struct Room {
    size: usize,
    permits: Semaphore,
    /// What there is room at, for people.
    server: String,
    /// What a person can do where it is too slow; may be empty.
    advice: &'static str,
}

impl Room {
    /// Room for `size` at `server`.
    pub fn new(size: usize, server: impl Into<String>, advice: &'static str) -> Self {
        Self {
            size,
            permits: Semaphore::new(size),
            server: server.into(),
            advice,
        }
    }

    /// How much there is, taken or not.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Waits for room for one more, which it takes until the permit is dropped. `begun`: when the delivery began.
    ///
    /// # Errors
    /// That it is [too late](Self::in_time) to begin, or that the sink was closed.
    pub async fn enter(&self, begun: Instant) -> Result<SemaphorePermit<'_>, SinkError> {
        let permit = self.permits.acquire().await;
        let permit = permit.map_err(|_| SinkError::reconnect(format!("the sink to {} was closed", self.server)))?;
        self.in_time(begun).map(|()| permit)
    }

    /// Whether a delivery that was begun then may still begin something.
    ///
    /// # Errors
    /// To leave the rest for the next delivery: [`START_WINDOW`] is over.
    pub fn in_time(&self, begun: Instant) -> Result<(), SinkError> {
        if begun.elapsed() < START_WINDOW {
            return Ok(());
        }
        Err(SinkError::retry(format!(
            "{} is too slow for the whole delivery: after {START_WINDOW:?} the rest was left for the next{}",
            self.server, self.advice
        )))
    }

    /// Waits for so long until nothing is under way, and lets nothing more begin. Closing it twice is harmless.
    pub async fn close(&self, patience: Duration) {
        let all = u32::try_from(self.size).unwrap_or(u32::MAX);
        // Holding all permits means that nothing is under way. Closed already: nothing is, either.
        let resting = timeout(patience, self.permits.acquire_many(all)).await;
        self.permits.close();
        drop(resting);
    }
}
