//! The load: writers that append as applications do, some of whose transactions are rolled back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::try_join_all;
use onewrite::Event;
use onewrite_core::StoreError;
use onewrite_core::verify::{ProvingGround, Run, TransactionEnd, TrialWriter, Written};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::arguments::{Arguments, Percent, Rate};
use super::book::{Book, Fate};
use super::limits::{ABANDONED_ONE_IN, WRITER_FAILURES, WRITER_PAUSE, WRITERS};

/// How much is written, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Events in all; `None` where time counts.
    pub events: Option<u64>,
    /// How long to write where no number of events was asked for.
    pub duration: Duration,
    rate: Rate,
    /// How many keys there are.
    pub keys: u32,
    payload_bytes: u32,
    transaction: u32,
    rollbacks: Percent,
    abandons: bool,
    /// Where all randomness begins.
    pub seed: u64,
}

impl Plan {
    /// The plan that a command line asks for.
    pub fn of(arguments: &Arguments) -> Self {
        Self {
            events: arguments.events,
            duration: arguments.duration,
            rate: arguments.rate,
            keys: arguments.keys,
            payload_bytes: arguments.payload_bytes,
            transaction: arguments.transaction,
            rollbacks: arguments.rollbacks,
            abandons: arguments.faults.cuts(),
            seed: arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000)),
        }
    }

    /// How long it will take, as far as that can be told.
    pub fn expected(&self) -> Duration {
        match (self.events, self.rate) {
            (None, _) => self.duration,
            (Some(events), Rate::Of(rate)) => Duration::from_secs(events / rate),
            (Some(_), Rate::Max) => Duration::ZERO,
        }
    }

    /// Which share of it is done.
    pub fn done(&self, written: u64, elapsed: Duration) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a share for the timing of faults")]
        match self.events {
            Some(events) => written as f64 / events as f64,
            None => elapsed.as_secs_f64() / self.duration.as_secs_f64(),
        }
    }
}

/// The body of an event.
#[derive(Debug, Serialize, Deserialize)]
pub struct Body {
    /// The event's id: a body under another id has been mixed up on its way.
    pub id: Uuid,
    /// Its key.
    pub key: String,
    /// Its number among those of its key.
    pub number: u64,
    /// When the writer made it.
    pub written_at: jiff::Timestamp,
    /// What makes it as long as was asked.
    pub filling: String,
}

/// Writes all of a plan, or until `stop`.
///
/// # Errors
/// When the database goes on refusing.
pub async fn write(
    ground: Arc<dyn ProvingGround>,
    run: Run,
    plan: Plan,
    book: Arc<Book>,
    stop: CancellationToken,
) -> Result<(), StoreError> {
    let writers = WRITERS.min(plan.keys);
    let left = Arc::new(AtomicU64::new(plan.events.unwrap_or(u64::MAX)));
    let until = plan.events.is_none().then(|| Instant::now() + plan.duration);
    let tasks = (0..writers).map(|number| {
        let writer = Writer {
            keys: Keys::of(&run, number, writers, plan.keys),
            random: fastrand::Rng::with_seed(plan.seed.wrapping_add(number.into())),
            topic: run.topic(),
            plan: plan.clone(),
            book: Arc::clone(&book),
        };
        let (ground, left, stop) = (Arc::clone(&ground), Arc::clone(&left), stop.clone());
        async move { writer.run(ground.writer().await?, writers, &left, until, &stop).await }
    });
    try_join_all(tasks).await.map(|_| ())
}

/// Writes one event alone, so that load begins on a way that is open.
///
/// # Errors
/// When the database refuses it.
pub async fn write_first(
    ground: &dyn ProvingGround,
    run: &Run,
    plan: &Plan,
    book: &Arc<Book>,
) -> Result<(), StoreError> {
    let mut writer = Writer {
        keys: Keys {
            names: vec![format!("{}-first", run.name())],
            numbers: vec![0],
        },
        random: fastrand::Rng::with_seed(plan.seed),
        topic: run.topic(),
        plan: Plan {
            rollbacks: Percent(0),
            abandons: false,
            ..plan.clone()
        },
        book: Arc::clone(book),
    };
    match writer.transaction(ground.writer().await?.as_mut(), 1).await {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// The keys of one writer. No two writers have one in common, so that a writer knows the order of its commits; it is the relay
/// that must not confuse it.
struct Keys {
    names: Vec<String>,
    numbers: Vec<u64>,
}

impl Keys {
    fn of(run: &Run, writer: u32, writers: u32, keys: u32) -> Self {
        let own = (0..keys).filter(|key| key % writers == writer);
        let names: Vec<String> = own.map(|key| format!("{}-{key}", run.name())).collect();
        Self {
            numbers: vec![0; names.len()],
            names,
        }
    }

    fn next(&mut self, random: &mut fastrand::Rng) -> (String, u64) {
        let at = random.usize(..self.names.len());
        self.numbers[at] += 1;
        (self.names[at].clone(), self.numbers[at])
    }
}

struct Writer {
    keys: Keys,
    random: fastrand::Rng,
    topic: String,
    plan: Plan,
    book: Arc<Book>,
}

impl Writer {
    async fn run(
        mut self,
        mut connection: Box<dyn TrialWriter>,
        writers: u32,
        left: &AtomicU64,
        until: Option<Instant>,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let (mut due, mut failures) = (Instant::now(), 0);
        loop {
            let end = until.is_some_and(|until| due.max(Instant::now()) >= until);
            let count = take(left, self.plan.transaction.into());
            if end || count == 0 || stop.is_cancelled() {
                return Ok(());
            }
            match self.transaction(connection.as_mut(), count).await {
                None => failures = 0,
                Some(error) if failures >= WRITER_FAILURES => return Err(error),
                Some(error) => {
                    failures += 1;
                    tracing::debug!(error = %onewrite_core::error::chain(&error), "a transaction failed");
                    left.fetch_add(count, Ordering::Relaxed);
                    due = due.max(Instant::now() + WRITER_PAUSE);
                }
            }
            if let Rate::Of(rate) = self.plan.rate {
                #[expect(clippy::cast_precision_loss, reason = "a pause between two transactions")]
                let pause = count as f64 * f64::from(writers) / rate as f64;
                due += Duration::from_secs_f64(pause);
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = sleep_until(due) => {}
            }
        }
    }

    /// Writes one transaction; returns why it failed, if it did.
    async fn transaction(&mut self, connection: &mut dyn TrialWriter, count: u64) -> Option<StoreError> {
        let places: Vec<(String, u64)> = (0..count).map(|_| self.keys.next(&mut self.random)).collect();
        let events: Vec<Event> = places.iter().map(|(key, number)| self.event(key, *number)).collect();
        let end = match () {
            () if self.random.u8(..100) < self.plan.rollbacks.0 => TransactionEnd::RollBack,
            () if self.plan.abandons && self.random.u32(..ABANDONED_ONE_IN) == 0 => TransactionEnd::Abandon,
            () => TransactionEnd::Commit,
        };
        let (fate, failed) = match connection.write(&events, end).await {
            Written::Committed => (Fate::Committed, None),
            Written::RolledBack => (Fate::RolledBack, None),
            Written::Unknown => (Fate::Unknown, None),
            Written::Failed(error) => (Fate::RolledBack, Some(error)),
        };
        let ids = events.iter().map(|event| event.id);
        let noted = ids.zip(places).map(|(id, (key, number))| (id, key, number));
        self.book.note(noted, fate);
        if failed.is_some() {
            self.book.note_failure();
        }
        failed
    }

    fn event(&self, key: &str, number: u64) -> Event {
        let id = Uuid::new_v4();
        let mut body = Body {
            id,
            key: key.to_owned(),
            number,
            written_at: jiff::Timestamp::now(),
            filling: String::new(),
        };
        let write = |body: &Body| serde_json::to_vec(body).expect("a body of texts and numbers is JSON");
        let bare = write(&body).len();
        body.filling = "x".repeat((self.plan.payload_bytes as usize).saturating_sub(bare));
        Event::new(self.topic.as_str(), write(&body))
            .id(id)
            .key(key)
            .event_type("Verify")
    }
}

/// Takes up to so many of what is left.
fn take(left: &AtomicU64, wanted: u64) -> u64 {
    let before = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
        Some(left - left.min(wanted))
    });
    before.unwrap_or_default().min(wanted)
}
