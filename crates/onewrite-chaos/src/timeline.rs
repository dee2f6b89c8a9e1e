//! What was seen while a campaign ran: how many events had arrived when, and how large everything was.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use onewrite_testkit::servers::Database;
use serde::Serialize;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::broker::Broker;
use crate::limits::{BUCKET, LEAST_OF_RATE, RECOVERED, SPAN};
use crate::world::{TOPIC, connect};

/// The most that was seen of what must stay bounded, in bytes (I6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// What the relay's slot made the server keep of its log.
    pub retained: i64,
    /// The outbox with its indexes.
    pub outbox: i64,
}

/// A time as seconds since the beginning, and how many events had come to pass by then.
type Sample = (f64, u64);

/// What was seen.
pub struct Timeline {
    began: Instant,
    seen: Arc<Mutex<Seen>>,
    stop: CancellationToken,
    watching: [AbortOnDropHandle<()>; 2],
}

#[derive(Default)]
struct Seen {
    arrived: Vec<Sample>,
    committed: Vec<Sample>,
    sizes: Sizes,
}

impl Timeline {
    /// Begins to look.
    pub fn start(broker: Arc<dyn Broker>, database: &Database, committed: Arc<AtomicU64>) -> Self {
        let (began, seen) = (Instant::now(), Arc::<Mutex<Seen>>::default());
        let stop = CancellationToken::new();
        let arrivals = watch_arrivals(broker, database.url.clone(), committed, stop.clone(), Arc::clone(&seen));
        let sizes = watch_sizes(database.url.clone(), Arc::clone(&seen));
        Self {
            began,
            seen,
            stop,
            watching: [
                AbortOnDropHandle::new(tokio::spawn(arrivals)),
                AbortOnDropHandle::new(tokio::spawn(sizes)),
            ],
        }
    }

    /// Ends looking, before the broker ends.
    pub async fn stop(self) {
        self.stop.cancel();
        let [arrivals, _sizes] = self.watching;
        // It has ended by itself or by a panic that was told.
        let _ = arrivals.await;
    }

    /// Seconds since the beginning.
    pub fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// The most that was seen so far.
    pub fn sizes(&self) -> Sizes {
        lock(&self.seen).sizes
    }

    /// The rates of a stretch of time, one for each bucket: arrivals a second, each over a second.
    pub fn rates(&self, from: f64, to: f64) -> Vec<f64> {
        rates(&lock(&self.seen).arrived, from, to)
            .map(|(_, rate)| rate)
            .collect()
    }

    /// How many seconds after `since` arrivals were back at the rate, or at that of commits where a busy machine lets writers
    /// do less; `None` as long as they are not.
    pub fn recovered(&self, since: f64, rate: f64) -> Option<f64> {
        let now = self.now();
        let seen = lock(&self.seen);
        let back = rates(&seen.arrived, since, now).find(|(at, arriving)| {
            let committing = rate_at(&seen.committed, *at).max(rate * LEAST_OF_RATE);
            *arriving >= rate.min(committing) * RECOVERED
        });
        back.map(|(at, _)| at - since)
    }
}

/// The middle one of these; `None` of none.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The beginning of each bucket, and the rate over the second that begins there.
fn rates(samples: &[Sample], from: f64, to: f64) -> impl Iterator<Item = (f64, f64)> + '_ {
    let bucket = BUCKET.as_secs_f64();
    let known = samples.last().map_or(from, |last| last.0).min(to);
    let buckets = ((known - SPAN - from) / bucket).floor().max(-1.0) as i64 + 1;
    (0..buckets).map(move |number| {
        let at = from + number as f64 * bucket;
        (at, rate_at(samples, at))
    })
}

/// The rate over the second that begins there.
fn rate_at(samples: &[Sample], at: f64) -> f64 {
    (count_at(samples, at + SPAN) - count_at(samples, at)) / SPAN
}

/// How many there were by then: between two looks, as if they came evenly.
fn count_at(samples: &[Sample], at: f64) -> f64 {
    let after = samples.partition_point(|sample| sample.0 < at);
    let Some(&(later, high)) = samples.get(after) else {
        return samples.last().map_or(0.0, |last| last.1 as f64);
    };
    let (earlier, low) = after.checked_sub(1).map_or((0.0, 0), |before| samples[before]);
    low as f64 + (high - low) as f64 * (at - earlier) / (later - earlier)
}

async fn watch_arrivals(
    broker: Arc<dyn Broker>,
    url: String,
    committed: Arc<AtomicU64>,
    stop: CancellationToken,
    seen: Arc<Mutex<Seen>>,
) {
    let began = Instant::now();
    let mut looks = tokio::time::interval(BUCKET);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The look that is under way comes to its end: what it asks must not be gone before.
    while !stop.is_cancelled() {
        looks.tick().await;
        let count = match broker.counts() {
            true => broker.count(TOPIC).await,
            // What the relay has reported stands for it.
            false => reported(&url).await,
        };
        let (at, committed) = (began.elapsed().as_secs_f64(), committed.load(Ordering::SeqCst));
        let mut seen = lock(&seen);
        seen.committed.push((at, committed));
        if let Some(count) = count {
            // A queue that comes back after a crash may not know its length yet.
            let most = seen.arrived.last().map_or(0, |last| last.1).max(count);
            seen.arrived.push((at, most));
        }
    }
}

async fn reported(url: &str) -> Option<u64> {
    let client = connect(url).await?;
    let row = client.query_one("SELECT coalesce(sum(delivered), 0)::bigint FROM onewrite.route", &[]);
    u64::try_from(row.await.ok()?.get::<_, i64>(0)).ok()
}

async fn watch_sizes(url: String, seen: Arc<Mutex<Seen>>) {
    const SIZES: &str = "SELECT (SELECT coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)), 0)::bigint \
                                 FROM pg_replication_slots WHERE slot_type = 'logical' AND wal_status <> 'lost'), \
                                (SELECT sum(pg_total_relation_size(inhrelid))::bigint \
                                 FROM pg_inherits WHERE inhparent = 'onewrite.outbox'::regclass)";
    let mut looks = tokio::time::interval(Duration::from_secs(1));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let Some(client) = connect(&url).await else { continue };
        let Ok(row) = client.query_one(SIZES, &[]).await else {
            continue;
        };
        let mut seen = lock(&seen);
        seen.sizes.retained = seen.sizes.retained.max(row.get(0));
        seen.sizes.outbox = seen.sizes.outbox.max(row.get(1));
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hundred a second, but for the seconds 10 to 12.
    fn samples() -> Vec<Sample> {
        (0..80)
            .map(|number| {
                let at = f64::from(number) * 0.25;
                let working = at.min(10.0) + (at - 12.0).max(0.0);
                (at, (working * 100.0) as u64)
            })
            .collect()
    }

    #[test]
    fn a_rate_is_taken_over_a_second() {
        let all: Vec<_> = rates(&samples(), 2.0, 6.0).collect();
        assert_eq!(all.len(), 13);
        assert!(all.iter().all(|(_, rate)| (99.0..101.0).contains(rate)), "{all:?}");
    }

    #[test]
    fn recovery_is_when_the_rate_is_back() {
        let back = rates(&samples(), 10.0, 19.0).find(|(_, rate)| *rate >= 95.0);
        assert_eq!(back.map(|(at, _)| at), Some(12.0));
    }

    #[test]
    fn nothing_is_known_of_what_was_not_seen() {
        assert_eq!(rates(&[], 0.0, 10.0).count(), 0);
        assert_eq!(rates(&samples(), 19.5, 30.0).count(), 0);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(Vec::new()), None);
    }
}
