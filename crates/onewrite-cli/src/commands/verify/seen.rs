//! What arrived at the broker.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use onewrite_core::SinkError;
use onewrite_core::error::chain;
use onewrite_core::promise::Examples;
use onewrite_core::verify::{Arrived, Reading};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::limits::{QUIET, READ_FAILURES, READ_WAIT};
use super::load::Body;

/// Everything that arrived so far.
#[derive(Debug, Default)]
pub struct Seen(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    deliveries: Vec<Uuid>,
    first: HashMap<Uuid, Instant>,
    damaged: Examples,
    trouble: Option<String>,
}

impl Seen {
    /// How many different events they were.
    pub fn distinct(&self) -> u64 {
        self.lock().first.len() as u64
    }

    /// How many had arrived before.
    pub fn repeated(&self) -> u64 {
        let inner = self.lock();
        (inner.deliveries.len() - inner.first.len()) as u64
    }

    /// When an event arrived first.
    pub fn first(&self, id: &Uuid) -> Option<Instant> {
        self.lock().first.get(id).copied()
    }

    /// The ids of all messages in their order.
    pub fn ids(&self) -> Vec<Uuid> {
        self.lock().deliveries.clone()
    }

    /// Messages that are not what was written.
    pub fn damaged(&self) -> Examples {
        self.lock().damaged.clone()
    }

    /// Why nothing can be read back at the moment.
    pub fn trouble(&self) -> Option<String> {
        self.lock().trouble.clone()
    }

    /// Notes messages that arrived just now.
    pub fn note(&self, arrived: &[Arrived]) {
        let (now, mut inner) = (Instant::now(), self.lock());
        inner.trouble = None;
        for message in arrived {
            let body = serde_json::from_slice::<Body>(&message.payload);
            let id = match (&body, message.id) {
                (Ok(body), Some(id)) if body.id == id => id,
                (Ok(body), Some(id)) => {
                    inner.damaged.note(|| format!("{} arrived under the id {id}", body.id));
                    body.id
                }
                (Ok(body), None) => {
                    inner.damaged.note(|| format!("{} arrived without its id", body.id));
                    body.id
                }
                (Err(error), id) => {
                    let id = id.unwrap_or_default();
                    inner
                        .damaged
                        .note(|| format!("{id} arrived with another payload: {error}"));
                    id
                }
            };
            inner.deliveries.push(id);
            inner.first.entry(id).or_insert(now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads what arrives, until `stop` and then until nothing comes any more.
///
/// # Errors
/// When that cannot be told, since reading goes on failing.
pub async fn follow(mut reading: Box<dyn Reading>, seen: Arc<Seen>, stop: CancellationToken) -> Result<(), SinkError> {
    let mut failures = 0;
    loop {
        let last = stop.is_cancelled();
        match reading.read(if last { QUIET } else { READ_WAIT }).await {
            Ok(arrived) if arrived.is_empty() && last => return Ok(()),
            Ok(arrived) => {
                failures = 0;
                seen.note(&arrived);
            }
            Err(error) => {
                failures += 1;
                if last && failures >= READ_FAILURES {
                    return Err(error);
                }
                seen.lock().trouble = Some(chain(&error));
                sleep_until(Instant::now() + READ_WAIT).await;
            }
        }
    }
}
