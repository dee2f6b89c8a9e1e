//! What a seed stands for: how many of everything, and how often what goes wrong.

use std::time::Duration;

use onewrite_core::backoff::Backoff;
use onewrite_core::machine::{OnPoison, RouteBehaviour};
use onewrite_core::source::BatchLimit;

/// A run's shape.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Processes of the one relay.
    pub processes: usize,
    pub feed: Feed,
    /// How many sequences a segment of the outbox has; 0: nothing is emptied.
    pub segment: u64,
    /// Routes; each has a broker and topics of its own.
    pub routes: Vec<RoutePlan>,
    /// Rounds of writing and misfortune.
    pub rounds: usize,
    /// Keys of each topic.
    pub keys: u32,
    /// Of a hundred transactions, so many roll back, and so many stay open for several rounds.
    pub rolled_back: u32,
    pub long: u32,
    /// Of a thousand events, so many are poison.
    pub poison: u32,
    /// Of a hundred calls to the database, so many fail while faults are on.
    pub database_faults: u32,
    /// Of a hundred deliveries, so many suffer each fault of the network.
    pub network_faults: u32,
    /// Of a hundred rounds, so many bring a misfortune, and so many an operator.
    pub misfortunes: u32,
    pub operators: u32,
    pub lease: Duration,
}

/// How relays find new events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    /// By counting commits: the reference implementation.
    Counts,
    /// By PostgreSQL's snapshots.
    Polls,
    /// By PostgreSQL's log.
    FollowsLog,
}

/// A route's shape.
#[derive(Clone, Debug)]
pub struct RoutePlan {
    pub name: String,
    pub behaviour: RouteBehaviour,
    /// How long its broker takes over an event.
    pub pause: Duration,
}

impl Plan {
    /// The run of a seed.
    pub fn of(random: &mut fastrand::Rng) -> Self {
        let routes = random.usize(1..=3);
        Self {
            processes: random.usize(1..=3),
            segment: *pick(random, &[0, 4, 30]),
            feed: *pick(random, &[Feed::Counts, Feed::Polls, Feed::FollowsLog, Feed::FollowsLog]),
            routes: (0..routes).map(|number| RoutePlan::of(number, random)).collect(),
            rounds: random.usize(20..80),
            keys: *pick(random, &[1, 3, 12, 60]),
            rolled_back: random.u32(0..40),
            long: random.u32(0..30),
            poison: *pick(random, &[0, 0, 5, 30]),
            database_faults: *pick(random, &[0, 2, 10, 30]),
            network_faults: *pick(random, &[0, 1, 4, 10]),
            misfortunes: random.u32(0..50),
            operators: random.u32(0..15),
            lease: Duration::from_millis(*pick(random, &[400, 2_000, 10_000])),
        }
    }
}

impl RoutePlan {
    fn of(number: usize, random: &mut fastrand::Rng) -> Self {
        let batch = random.usize(1..30);
        Self {
            name: format!("route-{number}"),
            behaviour: RouteBehaviour {
                on_poison: *pick(random, &[OnPoison::Park, OnPoison::BlockKey, OnPoison::Halt]),
                in_flight: BatchLimit {
                    events: random.usize(batch..=batch * 10),
                    bytes: *pick(random, &[200, 1 << 20]),
                },
                batch: BatchLimit {
                    events: batch,
                    bytes: *pick(random, &[100, 1 << 20]),
                },
                concurrent_batches: random.usize(1..5),
                delivery_timeout: Duration::from_millis(random.u64(500..5_000)),
                backoff: Backoff {
                    first: Duration::from_millis(100),
                    max: Duration::from_secs(random.u64(1..30)),
                },
                breaker_threshold: random.u32(1..5),
            },
            pause: Duration::from_millis(*pick(random, &[0, 0, 3, 40])),
        }
    }
}

/// One of these.
pub fn pick<'a, T>(random: &mut fastrand::Rng, choices: &'a [T]) -> &'a T {
    &choices[random.usize(0..choices.len())]
}
